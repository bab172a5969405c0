"""What was found in pictures, kept in a folder, one file a picture, so that nothing is looked for twice.

A file's name stands for the bytes of its picture and for how it was searched: it stays right when pictures are renamed,
and two processes that make one at the same time write the same. The folder is bounded (denselab.bounded): a file that
was removed is made again, the same.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from denselab.bounded import BoundedFolder
from denselab.errors import DataError, ResourceError

logger = logging.getLogger(__name__)

Found = TypeVar("Found")


class Kept(Generic[Found]):
    """Folders of files of one kind.

    what: their content in words, for a warning.
    suffix: of the files, with its dot.
    read: of a file; raises DataError for a damaged one.
    write: into a file; raises ResourceError.
    """

    def __init__(
        self, what: str, suffix: str, read: Callable[[Path], Found], write: Callable[[Found, Path], None]
    ) -> None:
        self.what, self.suffix, self.read, self.write = what, suffix, read, write
        self.bounded: dict[Path, BoundedFolder] = {}
        self._in_use: list[Path] = []
        self._unwritable: set[Path] = set()  # said once

    def get(self, folder: Path | None, name: str, make: Callable[[], Found]) -> Found:
        """What the file of this name holds; else what `make` finds, which is written there.

        folder: None makes it each time. A damaged file is made anew; a folder that cannot be written only costs time.
        """
        if folder is None:
            return make()
        path = folder / f"{name}{self.suffix}"
        files = self.bounded.setdefault(folder, BoundedFolder(folder, self.suffix))
        if path.is_file():
            try:
                found = self.read(path)
                files.use(path)
                return found
            except DataError as error:
                if path.is_file():  # else another process has just removed it
                    logger.warning(str(error))
        found = make()
        if folder not in self._unwritable:
            try:
                self.write(found, path)
                files.add(path)
            except ResourceError as error:
                self._unwritable.add(folder)
                logger.warning(f"{self.what} are not kept: {error}")
        return found

    @contextmanager
    def used(self, folder: Path) -> Iterator[None]:
        """While active, `folder` is the one in use."""
        self._in_use.append(folder)
        try:
            yield
        finally:
            self._in_use.remove(folder)

    @property
    def in_use(self) -> Path | None:
        """The folder of the innermost `used`; None outside of any."""
        return self._in_use[-1] if self._in_use else None
