"""List files, which say what belongs to which split: train.txt, splits/val.txt, ImageSets/Segmentation/train.txt."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from denselab.data.item import Item
from denselab.data.read.tree import SPLIT_WORDS, Tree, bare_stem, first_few, number_of
from denselab.errors import DataError

LIST_FOLDERS = (
    ".",
    "splits",
    "split",
    "lists",
    "list",
    "sets",
    "imagesets",
    "imagesets/segmentation",
    "imagesets/main",
    "image_sets",
)


def find_lists(tree: Tree) -> dict[str, Path]:
    """{split: list file}; the segmentation lists of VOC come before its others."""
    found: dict[str, Path] = {}
    for folder in LIST_FOLDERS:
        for file in tree.with_suffix(".txt", ".lst"):
            split = SPLIT_WORDS.get(file.stem.lower())
            if split and str(file.parent).lower() == folder and split not in found:
                found[split] = tree.path(file)
        if found and folder != ".":
            break
    return {split: path for split, path in found.items() if read_lines(path)}


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without empty ones and comments (#). Raises DataError where it is not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); correct the name of the list") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save the list as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def apply_lists(
    items: Iterable[Item], named: dict[str, list[str]], where: str
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items with their splits, and notes. named: {split: names}; a name may have folders and suffix, or be a bare stem.

    Pictures in no list are left out. Raises DataError where a name stands in two lists or no name is known.
    """
    items = tuple(items)
    by_key: dict[str, set[int]] = {}
    for position, item in enumerate(items):
        for key in _keys(item):
            by_key.setdefault(key, set()).add(position)
    split_of: dict[int, str] = {}
    missing: list[str] = []
    for split, names in named.items():
        for name in names:
            known = _find(name, by_key)
            if known is None:
                missing.append(name)
            elif split_of.setdefault(known, split) != split:
                raise DataError(
                    f"{where}: {name!r} stands in both {split_of[known]} and {split}; keep it in one of them"
                )
    if not split_of:
        raise DataError(
            f"{where}: none of its names ({first_few(missing)}) is a picture ({first_few(i.name for i in items)}); "
            "correct the lists"
        )
    notes = [f"split from {where}"]
    if missing:
        notes.append(f"{where}: {number_of(len(missing), 'name')} without a labelled picture: {first_few(missing)}")
    unlisted = [item.name for position, item in enumerate(items) if position not in split_of]
    if unlisted:
        notes.append(f"{number_of(len(unlisted), 'picture')} in no list, left out: {first_few(unlisted)}")
    listed = tuple(replace(items[position], split=split) for position, split in sorted(split_of.items()))
    return listed, tuple(notes)


def _keys(item: Item) -> set[str]:
    stem = PurePosixPath(item.name).name
    keys = {item.name, stem, bare_stem(stem)}
    parts = PurePosixPath(item.name).parts
    keys.update("/".join(parts[start:]) for start in range(len(parts)))
    return keys - {""}


def _find(name: str, by_key: dict[str, set[int]]) -> int | None:
    """The one item that a line means. Of several columns the first counts."""
    candidates = [name, name.split()[0], name.split(",")[0].strip()]
    for candidate in candidates:
        path = PurePosixPath(candidate.replace("\\", "/").lstrip("/"))
        for key in (str(path), str(path.with_suffix("")), path.name, path.stem):
            found = by_key.get(key, set())
            if len(found) == 1:
                return next(iter(found))
    return None
