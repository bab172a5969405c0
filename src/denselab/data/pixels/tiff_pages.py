"""The chain of a TIFF's pages, followed to its end before tifffile walks it: a damaged one may lead in a circle.

tifffile notices few of these circles and goes round the others until memory is full.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import tifffile

from denselab.errors import DataError

BIG = 43  # the version of BigTIFF; all others have numbers of 32 bits


@contextmanager
def opened_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """An open TIFF, closed at the end. Raises DataError where its pages lead in a circle, else what tifffile raises."""
    refuse_circle(path)
    with tifffile.TiffFile(path) as file:
        yield file


def refuse_circle(path: Path) -> None:
    """Raise DataError where a page of a TIFF is followed by an earlier one."""
    seen: set[int] = set()
    with path.open("rb") as file:
        for offset in _offsets(file):
            if offset in seen:
                raise DataError(f"{path}: damaged TIFF: its pages lead in a circle; save it again, or take it out")
            seen.add(offset)


def _offsets(file: BinaryIO) -> Iterator[int]:
    """Where each page begins, as far as that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        return
    try:
        (version,) = struct.unpack(f"{order}H", file.read(2))
        count_format, entry, offset_format = ("Q", 20, "Q") if version == BIG else ("H", 12, "I")
        file.seek(8 if version == BIG else 4)
        while offset := _number(file, order + offset_format):
            yield offset
            file.seek(offset)
            file.seek(_number(file, order + count_format) * entry, 1)
    except (struct.error, OSError, OverflowError, ValueError):  # beyond the end: tifffile says what is wrong
        return


def _number(file: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])
