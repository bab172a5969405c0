"""Segments kept in a folder, one file a picture, so that no picture is searched twice with the same settings.

A file is named after the bytes of its picture and the settings of the search: it stays right when pictures are renamed,
and two processes that make one at the same time write the same. The folder is bounded (denselab.bounded): a file that
was removed is found again, the same.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from denselab.bounded import BoundedFolder
from denselab.errors import DataError, ResourceError
from denselab.regions.search import Search, find_segments
from denselab.regions.segments import Segments, load_segments, save_segments
from denselab.types import Image

logger = logging.getLogger(__name__)

VERSION = 1  # of what find_segments finds; a change of its results makes the files of before unfit

_folders: list[Path] = []
_unwritable: set[Path] = set()  # said once
_bounded: dict[Path, BoundedFolder] = {}


def segments_in(folder: Path | None, image: Image, search: Search) -> Segments:
    """The segments of a picture (H, W, 3) uint8: from its file in the folder, or searched for and written there.

    folder: None searches each time. A damaged file is made anew; a folder that cannot be written only costs the time.
    """
    if folder is None:
        return find_segments(image, search)
    path = folder / f"{name_of(image, search)}.npz"
    files = _bounded.setdefault(folder, BoundedFolder(folder, path.suffix))
    if path.is_file():
        try:
            found = load_segments(path)
            files.use(path)
            return found
        except DataError as error:
            if path.is_file():  # else another process has just removed it
                logger.warning(str(error))
    found = find_segments(image, search)
    if folder not in _unwritable:
        try:
            save_segments(found, path)
            files.add(path)
        except ResourceError as error:
            _unwritable.add(folder)
            logger.warning(f"segments are not kept: {error}")
    return found


def name_of(image: Image, search: Search) -> str:
    """32 hexadecimal digits that stand for a picture and a search."""
    digest = hashlib.sha256(repr((VERSION, image.shape, astuple(search))).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:32]


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """While active, networks of regions keep here the segments of the pictures that they see in evaluation mode."""
    _folders.append(folder)
    try:
        yield
    finally:
        _folders.remove(folder)


def folder_in_use() -> Path | None:
    """The folder of the innermost `kept_in`; None outside of any."""
    return _folders[-1] if _folders else None
