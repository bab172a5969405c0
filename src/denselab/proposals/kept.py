"""Boxes kept in a folder, one file a picture, so that no picture is searched twice by the same source."""

import hashlib
from pathlib import Path

import numpy as np

from denselab.bounded import Kept
from denselab.errors import DataError, DenseLabError
from denselab.files import to_json, unpack_json, write_bytes
from denselab.proposals.boxes import Boxes, checked
from denselab.proposals.sources import decided_by, source_named
from denselab.types import Image

VERSION = 1  # of what the sources find on our edge maps; a change of their results makes the files of before unfit


def proposals_in(folder: Path | None, name: str, image: Image, most: int, shape: tuple[int, int]) -> Boxes:
    """The boxes that a source proposes in a picture: from its file in the folder, or searched for and written there.

    name: of the source. image, most, shape: as for a source (proposals.sources.Propose).
    folder: None searches each time. Windows follow from sizes alone and are not kept.
    """
    source = source_named(name)
    if name == "windows" or folder is None:
        return source(image, most, shape)
    return BOXES.get(folder, name_of(name, image, most), lambda: source(image, most, shape))


def name_of(source: str, image: Image, most: int) -> str:
    """32 hexadecimal digits that stand for a picture and a search. Raises MissingExtra."""
    digest = hashlib.sha256(repr((VERSION, source, decided_by(source), most, image.shape)).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:32]


def load_boxes(path: Path) -> Boxes:
    """Read what `save_boxes` wrote. Raises DataError naming the file where it is another or a damaged one."""
    try:
        return checked(np.array(unpack_json(path.read_bytes(), str(path))["boxes"]))
    except (OSError, KeyError, TypeError, ValueError, OverflowError, DenseLabError) as error:
        raise DataError(f"{path}: not a file of boxes ({error}); make it anew") from None


def save_boxes(boxes: Boxes, path: Path) -> None:
    """Write boxes, top, left, bottom, right in pixels, the best first. Raises ResourceError."""
    write_bytes(path, to_json({"boxes": boxes.tolist()}, indent=None).encode())


BOXES: Kept[Boxes] = Kept("proposals", ".json", load_boxes, save_boxes)
