"""Segments kept in a folder, one file a picture, so that no picture is searched twice with the same settings."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import astuple
from pathlib import Path

from denselab.bounded import Kept
from denselab.regions.search import Search, find_segments
from denselab.regions.segments import Segments, load_segments, save_segments
from denselab.types import Image

VERSION = 1  # of what find_segments finds; a change of its results makes the files of before unfit

SEGMENTS: Kept[Segments] = Kept("segments", ".npz", load_segments, save_segments)


def segments_in(folder: Path | None, image: Image, search: Search) -> Segments:
    """The segments of a picture (H, W, 3) uint8: from its file in the folder, or searched for and written there.

    folder: None searches each time. A damaged file is made anew; a folder that cannot be written only costs the time.
    """
    return SEGMENTS.get(folder, name_of(image, search), lambda: find_segments(image, search))


def name_of(image: Image, search: Search) -> str:
    """32 hexadecimal digits that stand for a picture and a search."""
    digest = hashlib.sha256(repr((VERSION, image.shape, astuple(search))).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:32]


def kept_in(folder: Path) -> AbstractContextManager[None]:
    """While active, networks of regions keep here the segments of the pictures that they see in evaluation mode."""
    return SEGMENTS.used(folder)


def folder_in_use() -> Path | None:
    """The folder of the innermost `kept_in`; None outside of any."""
    return SEGMENTS.in_use
