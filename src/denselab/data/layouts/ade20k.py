"""ADE20K (Zhou et al. 2017): the scene parsing benchmark (ids 1..150, 0 = unlabelled), the full releases (*_seg.png).

The names of a full release stand in *_atr.txt (2017), or in the json of the picture's name (2021), which lies beside
the masks of single objects (instance_000_*.png).
"""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from denselab.data.folders.folder import find_folder, item_of
from denselab.data.item import FileLabels, Found
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.scan import read_contents, scan
from denselab.data.layouts.tables import ADE20K_150
from denselab.data.listing.json_file import split_in_path
from denselab.data.listing.tree import Tree, split_in_name
from denselab.documents import parse_json, read_bytes
from denselab.errors import DataError
from denselab.labels import LabelEntry, LabelSpace, default_colour

BENCHMARK_NAME = re.compile(r"^ADE_(train|val|frame)_\d{8}$")


def find_ade20k(tree: Tree) -> Found | None:
    """The benchmark (files named ADE_train_00000001) or the full release (*_seg.png); else None."""
    if any(_tells_full_release(f) and (split_in_name(f.parts[0]) or f.parts[0] == "images") for f in tree.files):
        return _full_release(tree)
    if not any(BENCHMARK_NAME.match(f.stem) for f in tree.pictures):
        return None
    found = find_folder(tree)
    if found is None or not all(BENCHMARK_NAME.match(item.image.stem) for item in found.items):
        return None
    contents = scan([item.source.path for item in found.items[:: max(1, len(found.items) // 12)]])
    if not all(c.grey and max(c.values(), default=0) <= 150 for c in contents):
        return None
    entries = [LabelEntry(0, "unlabelled", (0, 0, 0), "ignore")]
    entries += [LabelEntry(i + 1, name, default_colour(i + 1)) for i, name in enumerate(ADE20K_150)]
    notes = (*found.notes, "ids 1..150 are the classes of the scene parsing benchmark; 0 is unlabelled and left out")
    return replace(
        found,
        layout="ADE20K",
        table=LabelSpace(tuple(entries)),
        encoding=Encoding(),
        encoding_text="index, 0 = unlabelled",
        notes=notes,
    )


def _tells_full_release(file: PurePosixPath) -> bool:
    """Whether a file is one of the full release: *_atr.txt (2017), or a json beside *_seg.png (2021)."""
    return file.name.endswith("_atr.txt") or bool(file.suffix == ".json" and BENCHMARK_NAME.match(file.stem))


def _full_release(tree: Tree) -> Found | None:
    items = []
    for label in tree.pictures:
        stem = label.stem.removesuffix("_seg")
        image = next(
            (label.with_name(stem + s) for s in (".jpg", ".jpeg", ".png") if tree.has(str(label.with_name(stem + s)))),
            None,
        )
        if label.stem.endswith("_seg") and image is not None:
            source = FileLabels(tree.path(label), Encoding("ade20k"))
            items.append(item_of(tree, image, source, split_in_path(image.parent)))
    if not items:
        return None
    table = _names_of_codes([item.source.path for item in items])
    notes = ("class = R // 10 * 256 + G of *_seg.png, names from *_atr.txt or the json; 0 is unlabelled and left out",)
    return Found("ADE20K full release", tuple(items), table, Encoding("ade20k"), "RGB code of ADE20K", notes=notes)


def _names_of_codes(paths: Sequence[Path]) -> LabelSpace:
    """The classes that occur, named by the object numbers (B) that a class has and their lines in *_atr.txt."""
    votes: dict[int, Counter[str]] = {}
    with ThreadPoolExecutor() as pool:
        for found in pool.map(_codes_and_names, paths):
            for label_id, name in found:
                votes.setdefault(label_id, Counter())[name] += 1
    if not votes:
        raise DataError(
            f"{paths[0]}: every pixel of the labels is 0 (unlabelled); check that these are ADE20K's *_seg.png"
        )
    entries = [LabelEntry(0, "unlabelled", (0, 0, 0), "ignore")]
    taken: set[str] = {"unlabelled"}
    for label_id, names in sorted(votes.items()):
        name = max(sorted(names), key=lambda n: names[n])
        name = name if name not in taken else f"{name} ({label_id})"
        taken.add(name)
        entries.append(LabelEntry(label_id, name, default_colour(label_id)))
    return LabelSpace(tuple(entries))


def _codes_and_names(path: Path) -> set[tuple[int, str]]:
    objects: dict[int, str] = {}
    classes = _classes_of_json(path.with_name(path.name.removesuffix("_seg.png") + ".json"))
    attributes = path.with_name(path.name.removesuffix("_seg.png") + "_atr.txt")
    if attributes.is_file():
        for line in read_bytes(attributes).decode(errors="replace").splitlines():
            columns = [column.strip() for column in line.split("#")]
            if len(columns) >= 5 and columns[1] == "0" and columns[0].isdecimal():  # level 0: whole objects, not parts
                objects[int(columns[0])] = columns[4]
    found = set()
    for code in read_contents(path).counts:
        label_id = (code >> 16) // 10 * 256 + ((code >> 8) & 255)
        if label_id:
            found.add((label_id, classes.get(label_id) or objects.get(code & 255, f"class {label_id}")))
    return found


def _classes_of_json(path: Path) -> dict[int, str]:
    """{class: name} of a picture's json of the release of 2021; {} where there is none."""
    if not path.is_file():
        return {}
    try:
        things = parse_json(read_bytes(path).decode("utf-8", errors="replace"))["annotation"]["object"]
        return {int(thing["name_ndx"]): str(thing["name"]) for thing in things}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the json of ADE20K ({error!r}); take the original file") from None
