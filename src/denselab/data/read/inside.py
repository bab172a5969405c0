"""Results never go into a data set: they would be read as data, and the data would no longer be what was trained on."""

from pathlib import Path

from denselab.data.read.tree import IMAGE_WORDS, LABEL_WORDS, SPLIT_WORDS, split_in_name, words
from denselab.errors import ConfigError

LABELS = LABEL_WORDS | {"class", "png"}  # SegmentationClassPNG
LEVELS = 3  # folders above the one that is asked about


def refuse_inside_data(out: Path | None) -> None:
    """Raise ConfigError where a folder for results is, or lies in, what looks like a data set; None passes.

    A data set has a data.yaml, or folders of pictures and of labels side by side, in itself or in its splits.
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
    below = _folders(folder)
    return _has_both(below) or any(_has_both(_folders(folder / name)) for name in below if split_in_name(name) == name)


def _has_both(names: list[str]) -> bool:
    return any(_is_named(name, IMAGE_WORDS) for name in names) and any(_is_named(name, LABELS) for name in names)


def _is_named(name: str, kind: frozenset[str]) -> bool:
    """Whether a folder is called by such words alone; `notes on images` is not."""
    tokens = [word for word in words(name) if word not in SPLIT_WORDS and not word.isdigit()]
    return name.lower() in kind or (bool(tokens) and set(tokens) <= kind)


def _folders(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []
