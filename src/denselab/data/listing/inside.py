"""Results never go into a data set: they would be read as data, and the data would no longer be what was trained on."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from denselab.data.listing.tree import IMAGE_WORDS, LABEL_WORDS, SPLIT_WORDS, split_in_name, words
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.errors import ConfigError

LABELS = LABEL_WORDS | {"class", "png"}  # SegmentationClassPNG
FILM_TABLES = "frames"  # of ours, beside the label films in `labels`; data sets keep pictures in a folder of that name
CITYSCAPES, CAMVID = "leftImg8bit", "annot"  # a folder of Cityscapes; what SegNet's CamVid has behind train, val, test
ANNOTATED = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')  # COCO
HEAD = 4096  # bytes of a json that are looked at
LEVELS = 3  # folders above the one that is asked about
FEW = 8  # folders that tell whether each picture has its own


def refuse_inside_data(out: Path | None) -> None:
    """Raise ConfigError where a folder for results is, or lies in, what looks like a data set; None passes.

    A data set has a data.yaml, or pictures and labels side by side, in itself or in its splits: folders of both, or a
    folder of pictures and a json of annotations. Or each picture has a folder with both.
    """
    if out is None:
        return
    here = out.absolute()
    for folder in (here, *here.parents[:LEVELS]):
        if _looks_like_data(folder):
            raise ConfigError(f"{out} lies inside the data set {folder}, which stays untouched; give another `out`")


def _looks_like_data(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("data.yaml", "data.yml")):
        return True
    folders = _folders(folder)
    names = {path.name for path in folders}
    if CITYSCAPES in names or any(f"{name}{CAMVID}" in names for name in names):
        return True
    splits = [path for path in folders if split_in_name(path.name) == path.name]
    if any(map(_has_both, (folder, *splits))) or any(map(_is_annotated, splits)):
        return True
    return any(map(_has_one_for_each, (folder, *(path for path in folders if _is_part(path.name)))))


def _is_part(name: str) -> bool:
    """Whether a folder is called by a split alone, or as DSB2018's stage1_train; `test of scans` is not."""
    return split_in_name(name) is not None and all(
        word in SPLIT_WORDS or word == "stage" or word.isdigit() for word in words(name)
    )


def _has_one_for_each(place: Path) -> bool:
    """Whether most folders in it are of one picture: ID/images/ID.png beside ID/masks (DSB2018)."""
    first = list(islice((path for path in _entries(place) if path.is_dir()), FEW))
    return bool(first) and 2 * sum(_has_both(path) and _is_of_one(path) for path in first) > len(first)


def _is_of_one(folder: Path) -> bool:
    files = (file for path in _folders(folder) if _is_of_pictures(path) for file in _entries(path))
    return any(file.stem == folder.name and file.suffix.lower() in PICTURE_SUFFIXES for file in files)


def _has_both(place: Path) -> bool:
    folders = _folders(place)
    if not any(_is_of_pictures(path) for path in folders):
        return False
    return any(_is_named(path.name, LABELS) for path in folders) or _is_annotated(place)


def _is_annotated(folder: Path) -> bool:
    """Whether a json of annotations lies in a folder, by its beginning."""
    return any(path.suffix.lower() == ".json" and ANNOTATED.search(_head(path)) for path in _entries(folder))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _is_of_pictures(folder: Path) -> bool:
    if folder.name == FILM_TABLES:
        return any(path.suffix.lower() in PICTURE_SUFFIXES or path.is_dir() for path in _entries(folder))
    return _is_named(folder.name, IMAGE_WORDS)


def _is_named(name: str, kind: frozenset[str]) -> bool:
    """Whether a folder is called by such words alone; `notes on images` is not."""
    tokens = [word for word in words(name) if word not in SPLIT_WORDS and not word.isdigit()]
    return name.lower() in kind or (bool(tokens) and set(tokens) <= kind)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return
