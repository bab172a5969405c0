"""Several data sets in one folder: whether they are parts of one, and what is said of them where they are not."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import Path
from typing import Any

from denselab.data.folders.folder import find_folder
from denselab.data.folders.placing import has_number
from denselab.data.item import FileLabels, Found
from denselab.data.listing.tree import SPLITS, Tree, folder_role, split_in_name, words
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few

BEGINNING = 2**16  # bytes of a picture that are compared
COMPARED = 8  # names that several data sets have, of whose pictures the beginnings are compared
VERSION_WORDS = frozenset(("v", "version", "fold", "split", "aug", "augmented", "copy", "release"))


def parts_of_one(tree: Tree, fits: Sequence[tuple[Tree, Found]]) -> tuple[Tree, Found] | None:
    """The data set whose parts were found: its splits, or three numbered folders or more (videos); else None.

    Versions, folds and copies are numbered, too: the first pictures of all parts must differ.
    """
    places = [below.root.relative_to(tree.root) for below, found in fits if found.layout == "folders"]
    if len(places) < max(2, len(fits)):
        return None
    splits = all(split_in_name(place.name) for place in places)
    numbered = len(places) > 2 and len({place.parent for place in places}) == 1 and all(map(_is_video, places))
    firsts = {_beginning(found.items[0].image) for _, found in fits}
    home = commonpath([str(place.parent) for place in places])
    if not splits and not (numbered and len(firsts) == len(fits)):
        return None
    whole = tree if home in ("", ".") else tree.below(home)
    try:
        found = find_folder(whole)
    except DataError:
        return None
    if found is None or len(found.items) < sum(len(part.items) for _, part in fits):
        return None
    if numbered and not splits:
        note = (
            f"the {len(places)} folders {first_few(place.name for place in places)} are read as parts of one data set"
        )
        found = replace(found, notes=(*found.notes, note))
    return whole, found


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read(BEGINNING)).digest()


def _is_video(place: Path) -> bool:
    return has_number(place.name) and VERSION_WORDS.isdisjoint(words(place.name))


def differing_tables(tree: Tree, fits: list[tuple[Tree, Found]]) -> str:
    """The label tables of several data sets where they differ, for the message; "" where they agree."""
    tables = {
        below.root.relative_to(tree.root).as_posix(): {e.id: e.name for e in found.table.entries}
        if found.table is not None
        else {label.id: label.name for label in found.names}
        for below, found in fits
    }
    if all(table == next(iter(tables.values())) for table in tables.values()):
        return ""
    listed = "; ".join(
        f"{name}: {first_few((f'{i} {text}' for i, text in sorted(table.items())), 8) or 'no names'}"
        for name, table in list(tables.items())[:6]
    )
    return f". Their ids mean different classes ({listed})"


def together(tree: Tree, found: list[Found]) -> str:
    """The lines that join parts of one data set, which have a folder of pictures and one of labels each, or in each
    split; what is said of pictures that several of them have; else ""."""
    if _in_several_formats(found):
        return "; they have the same pictures in other formats"
    parts = [
        {(i.split, i.image.parent, i.source.path.parent) for i in one.items if isinstance(i.source, FileLabels)}
        for one in found
        if one.layout == "folders"
    ]
    splits = [sorted((split for split, _, _ in part), key=str) for part in parts]
    if len(parts) < len(found) or any(own != splits[0] or len(set(own)) < len(own) for own in splits):
        return ""
    listed = sorted({triple for part in parts for triple in part}, key=lambda triple: str(triple[1]))
    lines = [f"`{key}: {in_yaml(_by_split(tree, listed, side))}`" for key, side in (("images", 1), ("masks", 2))]
    doubles = _in_several(found)
    told = (
        f"; {first_few(_relative(tree, file) for file in doubles)} are the same picture: versions of one set, or "
        "labels by several people. Where they are parts of one, leave each picture in one of them, and"
        if doubles
        else "; or, where they are parts of one,"
    )
    return f"{told} write in data.yaml {' and '.join(lines)}"


def _by_split(tree: Tree, listed: Sequence[tuple[Any, ...]], side: int) -> Any:
    """The folders of one side as data.yaml has them: in a list, or in one for each split."""
    of_split: dict[str | None, list[str]] = {split: [] for split in (None, *SPLITS)}
    for triple in listed:
        of_split[triple[0]].append(_relative(tree, triple[side]))
    given = {split: folders for split, folders in of_split.items() if folders}
    return given[None] if list(given) == [None] else given


def _in_several(found: Sequence[Found]) -> list[Path]:
    """A picture in the data sets that have it under one name, or []."""
    files: dict[str, list[Path]] = defaultdict(list)
    for one in found:
        for stem, file in {item.image.stem: item.image for item in one.items}.items():
            files[stem].append(file)
    for same in [same for same in files.values() if len(same) > 1][:COMPARED]:
        first = _beginning(same[0])
        double = [file for file in same if _beginning(file) == first]
        if len(double) > 1:
            return double
    return []


def _in_several_formats(found: Sequence[Found]) -> bool:
    """Whether all have pictures of the same names, each in a format of its own: PNG beside TIF."""
    names = {tuple(sorted(item.image.stem for item in one.items)) for one in found}
    forms = [frozenset(item.image.suffix.lower() for item in one.items) for one in found]
    return len(names) == 1 and len(set(forms)) == len(forms)


def _relative(tree: Tree, folder: Path) -> str:
    return folder.relative_to(tree.root).as_posix()


def tells_a_role(folder: str) -> bool:
    """Whether a folder is called by what it holds; a number makes of it a part: "Tile 1"."""
    return folder_role(folder) is not None and not has_number(folder)


def is_drawn(found: Found) -> bool:
    """Whether the labels are shapes. Pixels come first: a tool rendered them from the shapes, order included."""
    return found.encoding_text.startswith("shapes")


def one_in_two_forms(fits: list[tuple[Tree, Found]]) -> bool:
    """Whether one has label pictures and all others have shapes for the same pictures."""
    pictures = {tuple(sorted(item.image.stem for item in found.items)) for _, found in fits}
    return len(pictures) == 1 and not is_drawn(fits[0][1]) and is_drawn(fits[1][1])
