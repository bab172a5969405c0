"""List files, which say what belongs to which split: train.txt, valid_list.txt, val.csv, ImageSets/*/train.txt."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.item import LEFT_OUT, FileLabels, Item, NamedWeak
from denselab.data.listing.pairing import same_name, shared_start
from denselab.data.listing.tree import SPLIT_WORDS, Tree, bare_stem, words
from denselab.data.yaml_text import in_yaml
from denselab.documents import MAX_ANNOTATIONS, parse_json, read_bytes, read_text
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.shown import from_cell

LIST_FOLDERS = (
    ".", "splits", "split", "lists", "list", "sets", "imagesets", "imagesets/segmentation", "imagesets/main",
    "image_sets",
)  # fmt: skip
LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
TABLE_SUFFIXES = (".csv", ".tsv")
# What may stand beside train, val and test in the name of a list.
LIST_WORDS = frozenset((
    "aug", "list", "lists", "set", "sets", "split", "splits", "file", "files", "filename", "filenames", "name", "names",
    "id", "ids", "image", "images", "img", "imgs",
))  # fmt: skip
HEADER_WORDS = LIST_WORDS | {
    "label", "labels", "mask", "masks", "annotation", "path", "image_id", "imageid", "image_path", "gt",
}  # fmt: skip
LONGEST_CELL = 2**27  # characters: the run lengths of one large picture; Python's own limit is 2**17
OTHER_COLUMNS = ("encodedpixels", "rle", "rle_mask", "class", "classid")  # a csv of run lengths or classes is no list
NAME_KEYS = ("image", "img", "file_name", "filepath", "filename", "file", "name", "id")  # of a record of a picture
ALIKE = "\0"  # before a key whose letters may be written otherwise
SHORTENED = "\2"  # before a key without what the names of all pictures begin and end with
INSIDE = "\1"  # before a key that is a folder: of all items in it
LONGEST_NAME = 4096  # characters: no system has longer paths, and run lengths in a cell have millions
ALL = "all"  # in data.yaml: the pictures that no other split names


def find_lists(tree: Tree) -> dict[str, list[Path]]:
    """{split: list files, the one to prefer first}; the segmentation lists of VOC come before its others.

    An augmented list (trainaug) comes before that of the same split without, and train.txt before train_list.txt.
    """
    ranked: dict[str, list[tuple[int, Path]]] = {}
    for folder in LIST_FOLDERS:
        for file in tree.with_suffix(*LIST_SUFFIXES):
            known = _split_of_list(file.stem) if str(file.parent).lower() == folder else None
            if known is not None and read_lines(tree.path(file)):
                ranked.setdefault(known[1], []).append((known[0], tree.path(file)))
        if ranked and folder != ".":
            break
    return {split: [path for _, path in sorted(files)] for split, files in ranked.items()}


def _split_of_list(stem: str) -> tuple[int, str] | None:
    """(rank, split) of a list file's name, the lower rank first; None for another file."""
    if stem.lower() in SPLIT_WORDS:
        return 1, SPLIT_WORDS[stem.lower()]
    tokens = words(stem.lower().replace("trainaug", "train_aug"))
    splits = {SPLIT_WORDS[token] for token in tokens if token in SPLIT_WORDS}
    rest = {token for token in tokens if token not in SPLIT_WORDS}
    if len(splits) != 1 or not rest <= LIST_WORDS:
        return None
    return 0 if "aug" in rest else 2, splits.pop()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without empty ones and comments (#). Raises DataError where it is not text."""
    try:
        text = read_text(path, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); correct the name of the list") from None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def read_list(path: Path) -> list[str]:
    """The pictures of a list, one a line, further columns behind a tab; a csv without its header.

    () for a csv that is another table: one of run lengths, or of classes; and for a json that is no list of names.
    """
    if path.suffix.lower() == ".json":
        return _json_list(path)
    lines = read_lines(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return lines
    rows = csv_rows(lines)
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if any(column in OTHER_COLUMNS for column in header):
        return []
    body = rows[1:] if any(cell in HEADER_WORDS for cell in header) else rows
    return ["\t".join(cell.strip() for cell in row) for row in body]


def _json_list(path: Path) -> list[str]:
    """The names of ["a.png", ...] or [{"image": "a.png"}, ...]; an object is not read, COCO's may be huge."""
    with path.open("rb") as stream:
        if not stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            return []
    try:
        return names_in(parse_json(read_bytes(path, MAX_ANNOTATIONS)))
    except (OSError, ValueError):  # the layout that reads it tells what is wrong
        return []


def names_in(value: Any) -> list[str]:
    """The pictures of a list of names or of records; [] where it is neither."""
    if not isinstance(value, list):
        return []
    names = [next((e[k] for k in NAME_KEYS if k in e), None) if isinstance(e, dict) else e for e in value]
    return [str(name) for name in names] if all(isinstance(name, str | int) for name in names) else []


def csv_rows(lines: Sequence[str]) -> list[list[str]]:
    """The cells of a csv whose columns are parted by the commonest of comma, semicolon and tab in its first line."""
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(
            f"{first_few(lines, 1)[:60]!r} begins no table that can be read: {error}; save it again"
        ) from None


def lists_that_fit(items: Sequence[Item], lists: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """{split: file}: the first list of each split that names labelled pictures for the greater part, else the first."""
    by_key = items_by_key(items)
    chosen: dict[str, Path] = {}
    for split, files in lists.items():
        filled = [file for file in files if read_list(file)]
        fitting = [file for file in filled if share_known(read_list(file), by_key) > 0.5]
        if filled:
            chosen[split] = (fitting or filled)[0]
    return chosen


def share_known(names: Sequence[str], by_key: dict[str, set[int]]) -> float:
    """The share of names that are those of an item. by_key: as `items_by_key` gives it."""
    return sum(bool(_meant(name, by_key)) for name in names) / len(names)


def positions_of(names: Sequence[str], by_key: dict[str, set[int]]) -> set[int]:
    """The positions of the items that are named. by_key: as `items_by_key` gives it."""
    return {position for name in names for position in _meant(name, by_key)}


def apply_lists(
    items: Iterable[Item], named: Mapping[str, Sequence[str] | str], where: str, line: Mapping[str, str] | None = None
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items with their splits, and notes.

    items: of the data set
    named: {split: names}; a name may have folders and suffix, be a bare stem, or a folder of items; ALL means the rest
    where: the file to name in messages
    line: {split: file} as `splits` in data.yaml would name them; None if nothing does

    If a list says which pictures train, pictures in no list are left out; otherwise they stay open, to be trained on.
    Raises DataError if a name is in two lists or no name is known.
    """
    items = tuple(items)
    split_of, missing = _listed(items, {split: n for split, n in named.items() if not isinstance(n, str)}, where)
    held_out = {"val", "test"} - set(named)  # by their folders, of which the lists say nothing
    rest = [i for i, item in enumerate(items) if i not in split_of and item.split not in held_out]
    for_all = next((split for split, names in named.items() if names == ALL), None)
    if for_all is not None:
        rest = [i for i in range(len(items)) if i not in split_of]
    if not split_of and for_all is None:
        raise DataError(
            f"{where}: none of its names ({first_few(missing)}) is a picture ({first_few(i.name for i in items)}); "
            "correct the lists"
        )
    notes = [f"split from {where}"]
    if missing:
        notes.append(f"{where}: {number_of(len(missing), 'name')} without a labelled picture: {first_few(missing)}")
    if for_all is not None:
        split_of.update(dict.fromkeys(rest, for_all))
    elif rest and "train" in named:
        other = next((split for split in ("val", "test") if split not in named), None)
        takes = f"; `splits: {in_yaml({**line, other: ALL})}` in data.yaml takes them" if line and other else ""
        names = first_few(items[position].name for position in rest)
        notes.append(f"{number_of(len(rest), 'picture')} in no list, left out: {names}{takes}")
        split_of.update(dict.fromkeys(rest, LEFT_OUT))
    return tuple(replace(item, split=split_of.get(i, _kept(item))) for i, item in enumerate(items)), tuple(notes)


def weak_held_out(weak: Sequence[NamedWeak], named: Mapping[str, Sequence[str] | str]) -> tuple[NamedWeak, ...]:
    """Pictures with boxes or tags alone, in val or test where these names are there; else as they are."""
    by_key = items_by_key([Item(record.name, record.image, FileLabels(record.image)) for record in weak])
    split_of: dict[int, str] = {}
    for split in ("val", "test"):
        names = named.get(split, ALL)
        split_of.update(dict.fromkeys(positions_of(names, by_key) if not isinstance(names, str) else (), split))
    return tuple(replace(record, split=split_of.get(n, record.split)) for n, record in enumerate(weak))


def _kept(item: Item) -> str | None:
    return None if item.split == LEFT_OUT else item.split


def _listed(items: Sequence[Item], named: Mapping[str, Sequence[str]], where: str) -> tuple[dict[int, str], list[str]]:
    """{position: split} of the items that are named, and the names of none."""
    by_key, of_open = items_by_key(items), _of_open(items, named)
    split_of: dict[int, str] = {}
    missing: list[str] = []
    for split, names in named.items():
        for name in names:
            known = _meant(name, by_key) or _meant(name, of_open)
            if not known:
                missing.append(name.split("\t")[0])
            other = next((split_of[one] for one in known if split_of.setdefault(one, split) != split), None)
            if other is not None:
                raise DataError(f"{where}: {name!r} stands in both {other} and {split}; keep it in one of them")
    return split_of, missing


def _of_open(items: Sequence[Item], named: Mapping[str, Sequence[str]]) -> dict[str, set[int]]:
    """`items_by_key` of those that no folder holds out in a split which the lists lack; {} where all or none are.

    0007 of a list for train and val is the one in trainval/ where test/ has another.
    """
    held_out = {"val", "test"} - set(named)
    left = [position for position, item in enumerate(items) if item.split not in held_out]
    if len(left) in (0, len(items)):
        return {}
    by_key = items_by_key([items[position] for position in left])
    return {key: {left[position] for position in positions} for key, positions in by_key.items()}


def items_by_key(items: Sequence[Item]) -> dict[str, set[int]]:
    """The positions of items by all that a list may call them."""
    by_key: dict[str, set[int]] = {}
    for position, item in enumerate(items):
        for key in _keys(item):
            by_key.setdefault(key, set()).add(position)
            by_key.setdefault(_alike(key), set()).add(position)
        folders = PurePosixPath(item.name).parts[:-1]
        for start, end in combinations(range(len(folders) + 1), 2):
            by_key.setdefault(INSIDE + "/".join(folders[start:end]), set()).add(position)
    for position, key in enumerate(_shortened([PurePosixPath(item.name).name for item in items])):
        by_key.setdefault(SHORTENED + key, set()).add(position)
    return by_key


def _keys(item: Item) -> set[str]:
    stem = PurePosixPath(item.name).name
    keys = {item.name, stem, bare_stem(stem)}
    parts = PurePosixPath(item.name).parts
    keys.update("/".join(parts[start:]) for start in range(len(parts)))
    if isinstance(item.source, FileLabels):  # nnU-Net's folds name the case, as the label does: the picture has _0000
        keys.add(item.source.path.stem)
    return keys - {""}


def _shortened(stems: Sequence[str]) -> list[str]:
    """Stems without what all of them begin and end with, up to a mark: S2_1-12-19_48MYU_0 -> 1-12-19_48MYU_0.

    [] where that leaves a number alone, which may be that of a row, or none, which may be a kind of pictures.
    """
    if len(set(stems)) < 2:
        return []
    before = len(re.sub(r"[^_\-. ]+$", "", shared_start(stems)))
    behind = len(re.sub(r"[^_\-. ]+$", "", shared_start([stem[before:][::-1] for stem in stems])))
    cut = [stem[before : len(stem) - behind] for stem in stems]
    return cut if before + behind and all(re.search(r"\d", key) and not key.isdecimal() for key in cut) else []


def _alike(key: str) -> str:
    """A key by which all systems and tools know it; zeros before a number do not count."""
    return ALIKE + re.sub(r"(?<!\d)0+(?=\d)", "", same_name(key))


def _meant(name: str, by_key: dict[str, set[int]]) -> set[int]:
    """The item that a line means, or all items of the folder that it is: the frames of a video, a patient."""
    known = _find(name, by_key)
    if known is not None or len(name) > LONGEST_NAME:
        return set() if known is None else {known}
    return by_key.get(f"{INSIDE}{_path(name)}", set())


def _path(text: str) -> PurePosixPath:
    return PurePosixPath(text.replace("\\", "/").lstrip("/"))


def _find(name: str, by_key: dict[str, set[int]]) -> int | None:
    """The one item that a line means. Of several columns the first that names a picture counts.

    A name whose letters another system wrote otherwise counts where none is equal, and last one that lacks what all
    names share.
    """
    first = name.split(",", 1)[0].strip()
    candidates = [name, from_cell(name), *name.split("\t"), *name.split(maxsplit=1)[:1], first, first.strip("\"'")]
    # a number may be that of the row (pandas writes it into the first column): other texts come before
    ordered = sorted(candidates, key=str.isdecimal)
    paths = [_path(candidate) for candidate in ordered if len(candidate) <= LONGEST_NAME]
    for written in (str, _alike, SHORTENED.__add__):
        for path in paths:
            for key in (str(path), str(path.with_suffix("")) if path.name else "", path.name, path.stem):
                found = by_key.get(written(key), set())
                if len(found) == 1:
                    return next(iter(found))
    return None
