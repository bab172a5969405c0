"""A folder of files that can be made again, held within a bound: those that were used longest ago are removed first.

Several processes may use one folder. Each looks through it when it starts and whenever it has added a part of the
bound, so that together they go beyond it by that part each at most.

What was found in pictures is kept in such folders (Kept), one file a picture, so that nothing is looked for twice. A
file's name stands for the bytes of its picture and for how it was searched: it stays right when pictures are renamed,
and two processes that make one at the same time write the same. A file that was removed is made again, the same.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from denselab.errors import DataError, ResourceError

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

BOUND = 16 * 2**30  # bytes
FREE_SHARE = 0.25  # of the disk's free space that a folder may take at most, so that it never fills a disk
LOOK = 1 / 16  # of the bound: after so much has been added the folder is looked through again
STALE = 24 * 3600.0  # seconds after which a file that is still being written was left by a killed process
UNFINISHED = ".part"


class BoundedFolder:
    """What lies in a folder and may be removed.

    suffix: of the files that are its own; all others stay.
    bound: bytes that they may take.
    """

    def __init__(self, folder: Path, suffix: str, bound: int = BOUND) -> None:
        self.folder, self.suffix, self.bound = folder, suffix, bound
        self._added: int | None = None  # bytes since the folder was last looked through; None: it never was
        self._lock = threading.Lock()

    def use(self, path: Path) -> None:
        """Note that a file is used now, so that it is removed after those that are not."""
        with suppress(OSError):  # removed by another process, or not ours to change
            os.utime(path)

    def add(self, path: Path) -> None:
        """Note that a file was added, and remove others where they are too many; the newest stays."""
        with self._lock, suppress(OSError):  # removed by another process
            allowed = self.allowed()
            self._added = None if self._added is None else self._added + path.stat().st_size
            if self._added is None or self._added > allowed * LOOK:
                self._added = 0
                self._remove_down_to(allowed)

    def allowed(self) -> int:
        """Bytes that the folder may take now: less than its bound where the disk has little room."""
        return min(self.bound, int(shutil.disk_usage(self.folder).free * FREE_SHARE))

    def _remove_down_to(self, allowed: int) -> None:
        found = sorted(self._files(), key=lambda file: file[1].st_mtime)
        size = sum(status.st_size for _, status in found)
        for path, status in [file for file in found if file[0].suffix == self.suffix][:-1]:
            if size <= allowed:
                return
            with suppress(OSError):  # removed by another process
                path.unlink()
            size -= status.st_size

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """Its files, and those that are being written; what another machine's killed process left is removed."""
        found = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # removed by another process
                status = path.stat()
                if path.suffix == UNFINISHED and time.time() - status.st_mtime > STALE:
                    path.unlink()
                elif path.suffix in (self.suffix, UNFINISHED):
                    found.append((path, status))
        return found


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
