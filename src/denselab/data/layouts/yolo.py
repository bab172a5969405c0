"""Ultralytics: data.yaml with path, train, val, test and names; pictures in images/, outlines in labels/*.txt.

https://docs.ultralytics.com/datasets/segment: a line of a label file is a class and the x and y of an outline's points
from 0 to 1. With `masks_dir`, or where masks/ stands in the place of labels/, the labels are pictures whose numbers are
the classes. A picture without a label file has none of the classes; one whose file holds boxes alone is weakly
labelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.folders.folder import item_of
from denselab.data.item import Corners, FileLabels, Found, LabelSource, NamedWeak
from denselab.data.label_files.label_table import table_of_names
from denselab.data.label_files.polygons import rectangle_points
from denselab.data.label_files.shapes import Shape, ShapeLabels
from denselab.data.layouts.drawn import BOX_ALONE, boxes_left_out, overlaps
from denselab.data.listing.pairing import same_name
from denselab.data.listing.tree import SPLITS, Tree, split_of_folders
from denselab.data.names.name_files import named
from denselab.data.names.names import read_names
from denselab.data.pixels.images import PICTURE_SUFFIXES, picture_size
from denselab.data.splits.lists import read_lines
from denselab.data.weak_labels import BoxLabels, clipped
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import VOID_COLOUR, LabelEntry, LabelSpace

KEYS = ("train", "val", "test", "names", "nc", "masks_dir")  # one of them tells that data.yaml is Ultralytics'
MOST_SHARE = 2.0  # of a picture's width that an outline may lie to the right; more of it is a number of pixels
ROW = 16  # whole numbers in a line; more of them are pixels
BOX = 255  # the id of boxes without an outline


@dataclass(frozen=True)
class Described:
    """What Ultralytics' data.yaml says.

    folders: {split: folders, list files or pictures}.
    names: {class: name}.
    masks: the folder of label pictures, or "".
    """

    folders: Mapping[str, tuple[str, ...]]
    names: Mapping[int, str]
    masks: str


def described(data: Mapping[str, Any], source: Path) -> Described:
    """The content of a data.yaml as Ultralytics reads it. Raises DataError where a key has another form."""
    folders: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        value = data.get(split) or []
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{source}: {split}: {value!r}; a folder, a list file or a list of them was expected")
        folders[split] = tuple(texts)
    names = data.get("names") or {}
    table = names if isinstance(names, dict) else dict(enumerate(names)) if isinstance(names, list) else None
    if table is None or not all(str(key).isdecimal() for key in table):
        raise DataError(f"{source}: names: {names!r}; [road, car] or {{0: road, 1: car}} was expected")
    if any(isinstance(name, bool) for name in table.values()):
        raise DataError(
            f"{source}: names: {names!r}; YAML reads yes, no, on and off as truth values: write them in quotes"
        )
    if table and isinstance(data.get("nc"), int) and data["nc"] != len(table):
        raise DataError(
            f"{source}: nc: {data['nc']}, but {number_of(len(table), 'name')}; where a name is missing, those behind "
            f"it are wrong: correct `names`, or write `nc: {len(table)}`"
        )
    if data.get("kpt_shape"):
        raise DataError(f"{source}: kpt_shape: key points have no area; segmentation needs outlines of the objects")
    return Described(folders, {int(key): str(name) for key, name in table.items()}, str(data.get("masks_dir") or ""))


def find_described_yolo(tree: Tree, told: Described, source: Path) -> Found:
    """The data set of Ultralytics' data.yaml in this tree. Raises DataError where its folders have no picture."""
    # Roboflow names test/images also where it exports none.
    absent = [text for text in told.folders["test"] if _inside(tree, text) is None]
    folders = {**told.folders, "test": tuple(text for text in told.folders["test"] if text not in absent)}
    of_split = {split: _pictures(tree, texts, source) for split, texts in folders.items()}
    placed, note = _placed(of_split, source)
    note += [f"test: {first_few(absent)} is not there: no test pictures"] if absent else []
    if not placed:
        listed = ", ".join(f"{split}: {first_few(texts)}" for split, texts in told.folders.items() if texts)
        raise DataError(
            f"{source}: no picture in {listed or 'train, val and test, which are empty'}; "
            f"give the folders as seen from {tree.root}"
        )
    found = _found(tree, placed, told.names, told.masks)
    return replace(found, notes=(*found.notes, *note), divided=True)


def _placed(
    of_split: Mapping[str, Sequence[PurePosixPath]], source: Path
) -> tuple[dict[PurePosixPath, str | None], list[str]]:
    """{picture: split}, and a note. Where train and val name the same pictures, as in Ultralytics' samples: open.

    Raises DataError for a picture in two splits that differ.
    """
    placed: dict[PurePosixPath, str | None] = {}
    same = set(of_split["train"]) == set(of_split["val"])
    for split, images in of_split.items():
        for image in images:
            if placed.setdefault(image, split) != split and not same:
                raise DataError(f"{source}: {image} is in {placed[image]} and in {split}; keep it in one of them")
    if not same or not placed:
        return placed, []
    open_ones = {image: None if split == "train" else split for image, split in placed.items()}
    return open_ones, ["train and val name the same pictures: val is drawn from them"]


def find_yolo(tree: Tree) -> Found | None:
    """images/ beside labels/ with outlines in txt files, without a data.yaml; None where there are none."""
    files = _TextFiles(tree)
    labelled = {image: file for image in tree.pictures if (file := files.of(image)) and "labels" in file.parts[:-1]}
    if not any(_is_outline_file(tree, file) for file in list(labelled.values())[:24]):
        return None
    placed = {image: split_of_folders(image) for image in labelled}
    beside = {image.parent for image in placed}
    placed |= {image: split_of_folders(image) for image in tree.pictures if image.parent in beside}
    names, _ = read_names(tree)
    return _found(tree, placed, {label.id: label.name for label in names}, "")


class _TextFiles:
    """The label files of pictures: in labels/ in the place of images/, whatever the capitals and coding of the name."""

    def __init__(self, tree: Tree) -> None:
        self._exact = frozenset(tree.with_suffix(".txt"))
        self._alike = {same_name(str(file)): file for file in self._exact}

    def of(self, image: PurePosixPath) -> PurePosixPath | None:
        file = _swapped(image, "labels", ".txt")
        return file if file in self._exact else self._alike.get(same_name(str(file)))


def _without_texts(tree: Tree, images: Sequence[PurePosixPath]) -> DataError:
    """Of pictures that all lack their label file: where it is expected, and where one of that name is."""
    file = _swapped(images[0], "labels", ".txt")
    there = next((str(f) for f in tree.with_suffix(".txt") if same_name(f.name) == same_name(file.name)), "")
    way = f"; {there} has to go there" if there else ", or name the folder of label pictures as `masks_dir`"
    return DataError(
        f"{tree.root}: none of {number_of(len(images), 'picture')} has its label file: "
        f"{file} is that of {images[0]}{way}"
    )


def _is_outline_file(tree: Tree, file: PurePosixPath) -> bool:
    try:
        lines = [line.split() for line in read_lines(tree.path(file))]
        numbers = [[float(cell) for cell in line] for line in lines]
    except (DataError, ValueError):
        return False
    if any(len(line) > ROW and all(number.is_integer() for number in line) for line in numbers):
        return False  # a label map as text
    return any(len(line) >= 5 and line[0] >= 0 for line in numbers)


def _found(tree: Tree, placed: Mapping[PurePosixPath, str | None], names: Mapping[int, str], masks: str) -> Found:
    files = _TextFiles(tree)
    texts = {image: file for image in placed if (file := files.of(image)) is not None}
    pictures = {image: mask for image in placed if (mask := _mask_of(tree, image, masks)) is not None}
    drawn = {image: read_lines_of(tree, file) for image, file in texts.items()}
    outlined = any(len(numbers) > 5 for rows in drawn.values() for _, numbers in rows)
    if masks or (pictures and not outlined):
        found = _of_masks(tree, placed, pictures, names, masks)
        return found if outlined else replace(found, weak=_boxed(tree, placed, texts, drawn, names))
    if not texts:
        raise _without_texts(tree, list(placed))
    if not outlined:
        raise DataError(
            f"{tree.root}: the label files hold boxes only; add outlines of some pictures, or label pictures in "
            "masks/: boxes train, but scores need masks"
        )
    by_file = {texts[image]: rows for image, rows in drawn.items()}
    _refuse_key_points(tree, by_file)
    in_pixels = _are_pixels(tree, by_file)
    classes = sorted({*names, *(label for rows in drawn.values() for label, _ in rows)})
    _require_names(tree, by_file, names)
    void = max(BOX, max(classes) + 2)
    items, boxes = [], 0
    for image, split in sorted(placed.items()):
        size = picture_size(tree.path(image))
        path = tree.path(texts.get(image, _swapped(image, "labels", ".txt")))
        source, more = _source(path, drawn.get(image, []), size, (1, 1) if in_pixels else size, void)
        boxes += more
        items.append(item_of(tree, image, source, split))
    entries = _table(classes, names).entries
    if boxes:
        entries = (*entries, LabelEntry(void, BOX_ALONE, VOID_COLOUR, "ignore"))
    notes = _notes([e.name for e in entries if e.role == "class"], len(placed) - len(texts), boxes)
    if in_pixels:
        notes = (*notes, "coordinates are pixels, not shares of the picture's size: taken as they are")
    text = "shapes: outlines of YOLO"
    return Found("Ultralytics", tuple(items), LabelSpace(entries), encoding_text=text, notes=notes)


def _require_names(
    tree: Tree, drawn: Mapping[PurePosixPath, Sequence[tuple[int, list[float]]]], names: Mapping[int, str]
) -> None:
    """Raise DataError for a class of the label files that the names, if there are some, do not have."""
    strange = next(((file, c) for file, rows in drawn.items() for c, _ in rows if names and c not in names), None)
    if strange:
        listed = first_few((f"{number} {name}" for number, name in sorted(names.items())), 8)
        raise DataError(
            f"{tree.path(strange[0])}: class {strange[1]}, but the names are {listed}; add its name to those, or "
            "correct the file"
        )


def _refuse_key_points(tree: Tree, drawn: Mapping[PurePosixPath, Sequence[tuple[int, list[float]]]]) -> None:
    """Raise DataError where each line is a box, then x, y and visibility (0, 1, 2) of points: they look like pairs."""
    rows = [(file, numbers) for file, lines in drawn.items() for _, numbers in lines]
    if all(len(n) > 9 and len(n) % 3 == 1 and set(n[6::3]) <= {0, 1, 2} for _, n in rows):
        raise DataError(
            f"{tree.path(rows[0][0])}: key points (x, y and visibility) have no area; segmentation needs outlines of "
            "the objects"
        )


def _are_pixels(tree: Tree, drawn: Mapping[PurePosixPath, Sequence[tuple[int, list[float]]]]) -> bool:
    """Whether the coordinates are pixels where YOLO has shares of the picture. Raises DataError where some are."""
    outlines = [(file, max(numbers)) for file, rows in drawn.items() for _, numbers in rows if len(numbers) > 5]
    large = [file for file, highest in outlines if highest > MOST_SHARE]
    if large and len(large) < len(outlines):
        raise DataError(
            f"{tree.path(large[0])}: {len(large)} of {len(outlines)} outlines have coordinates above {MOST_SHARE:g}, "
            "the others shares of the picture (0 to 1); divide those by its width and height, or export all again"
        )
    return bool(large)


def _table(classes: Sequence[int], names: Mapping[int, str]) -> LabelSpace:
    """0 is background; each class has its number plus one."""
    labels = [named(c + 1, names.get(c, f"class {c}")) for c in classes]
    taken = any(label.name == "background" for label in labels)
    return table_of_names([named(0, "background" if not taken else "nothing"), *labels])


def _notes(names: Sequence[str], bare: int, boxes: int) -> tuple[str, ...]:
    notes = [
        "classes count from 0 in the label files; each id here is one higher, since 0 is background",
        overlaps("in the order of the lines, the later covers the earlier", names),
    ]
    if bare:
        notes.append(f"{number_of(bare, 'picture')} without a label file: all of their pixels are background")
    if boxes:
        notes.append(boxes_left_out(boxes))
    return tuple(notes)


def _pictures(tree: Tree, texts: Sequence[str], source: Path) -> list[PurePosixPath]:
    """The pictures below folders, or named in list files; a path may start above the data set (../train/images)."""
    found: list[PurePosixPath] = []
    for text in texts:
        name = _inside(tree, text)
        if name is None:
            raise DataError(f"{source}: {text} does not exist below {tree.root}; correct the path")
        if name.endswith(".txt"):
            lines = (_inside(tree, line) for line in read_lines(tree.path(name)))
            found += [PurePosixPath(line) for line in lines if line is not None]
        else:
            found += [f for f in tree.pictures if name == "." or f.is_relative_to(name)]
    return found


def _inside(tree: Tree, text: str) -> str | None:
    """A path below the root: as it stands, or without its first parts, which are of another machine."""
    parts = [part for part in PurePosixPath(text.replace("\\", "/").strip("/")).parts if part not in ("..", ".")]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if tree.has(end)), "." if not parts else None)


def _swapped(image: PurePosixPath, folder: str, suffix: str) -> PurePosixPath:
    """The label file of a picture: the last folder `images` of its path replaced, as Ultralytics does."""
    parts = list(image.parts[:-1])
    at = next((n for n in range(len(parts) - 1, -1, -1) if parts[n] == "images"), None)
    if at is not None:
        parts[at] = folder
    return PurePosixPath(*parts, image.stem + suffix)


def _mask_of(tree: Tree, image: PurePosixPath, folder: str) -> PurePosixPath | None:
    """The label picture of a picture: folder in the place of images, or images/a.jpg as FOLDER/a.png."""
    folder = folder.strip("./") or "masks"
    below = image.parts[image.parts.index("images") + 1 : -1] if "images" in image.parts else image.parts[:-1]
    bases = (_swapped(image, folder, ""), PurePosixPath(folder, *below, image.stem))
    names = [f"{base}{suffix}" for base in bases for suffix in (".png", *PICTURE_SUFFIXES)]
    return next((PurePosixPath(name) for name in names if tree.has(name) and PurePosixPath(name) != image), None)


def _of_masks(
    tree: Tree,
    placed: Mapping[PurePosixPath, str | None],
    masks: Mapping[PurePosixPath, PurePosixPath],
    names: Mapping[int, str],
    folder: str,
) -> Found:
    if not masks:
        raise DataError(f"{tree.root}: masks_dir: no label picture in {folder} has the name of a picture")
    items = [
        item_of(tree, image, FileLabels(tree.path(masks[image])), split)
        for image, split in sorted(placed.items())
        if image in masks
    ]
    lonely = tuple(tree.path(image) for image in placed if image not in masks)
    labels = tuple(named(number, name) for number, name in sorted(names.items()))
    note = "labels from pictures: their numbers are the classes"
    return Found("Ultralytics masks", tuple(items), names=labels, notes=(note,), without_label=lonely)


def read_lines_of(tree: Tree, file: PurePosixPath) -> list[tuple[int, list[float]]]:
    """(class, numbers) of the lines of a label file. Raises DataError for a line that is neither outline nor box."""
    rows = []
    for line in read_lines(tree.path(file)):
        try:
            label, *numbers = (float(cell) for cell in line.split())
        except ValueError:
            raise DataError(f"{tree.path(file)}: line {line[:40]!r} is not a class and numbers; correct it") from None
        if label < 0 or label % 1 or (len(numbers) not in (4, 5) and (len(numbers) < 6 or len(numbers) % 2)):
            odd = (
                f"; {len(numbers)} numbers are no pairs: take the confidence behind them out"
                if len(numbers) > 6
                else ""
            )
            raise DataError(
                f"{tree.path(file)}: line {line[:40]!r}: a class, then x and y of three points or more, were "
                f"expected{odd * (len(numbers) % 2)}"
            )
        rows.append((int(label), numbers))
    return rows


def _source(
    path: Path, rows: Sequence[tuple[int, list[float]]], size: tuple[int, int], unit: tuple[int, int], void: int
) -> tuple[LabelSource, int]:
    """Outlines, with the boxes beside them to be ignored (id void), and their number; boxes where no outline is.

    size: (height, width) of the picture.
    unit: (y, x) of a coordinate of 1, in pixels: the size, or (1, 1).
    """
    if rows and not any(len(numbers) > 5 for _, numbers in rows):
        boxes = (clipped(label + 1, box_of(np.array(numbers), unit), size) for label, numbers in rows)
        return BoxLabels(path, size, tuple(box for box in boxes if box is not None), background=0), 0
    shapes, more = _shapes(rows, unit, void)
    return ShapeLabels(path, size, tuple(shapes), measured=True), more


def _shapes(rows: Sequence[tuple[int, list[float]]], size: tuple[int, int], void: int) -> tuple[list[Shape], int]:
    """Outlines in pixels, after the boxes (x, y of the centre, width, height), which get the id void; their number."""
    boxes = [numbers for _, numbers in rows if len(numbers) in (4, 5)]
    by = np.array([size[1], size[0]], dtype=np.float64)
    shapes = []
    for x, y, width, height, *_ in boxes:
        corners = rectangle_points(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        shapes.append(Shape(void, "polygon", corners * by))
    outlines = [(label, np.array(numbers).reshape(-1, 2) * by) for label, numbers in rows if len(numbers) > 5]
    return shapes + [Shape(label + 1, "polygon", points) for label, points in outlines], len(boxes)


def box_of(numbers: NDArray[np.float64], size: tuple[int, int]) -> Corners:
    """Top, left, bottom, right in pixels of a line's numbers: a box, or the box around an outline.

    size: (height, width) of the picture.
    """
    if len(numbers) > 5:
        (left, top), (right, bottom) = numbers.reshape(-1, 2).min(axis=0), numbers.reshape(-1, 2).max(axis=0)
    else:
        x, y, width, height = numbers[:4]
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return float(top * size[0]), float(left * size[1]), float(bottom * size[0]), float(right * size[1])


def _boxed(
    tree: Tree,
    placed: Mapping[PurePosixPath, str | None],
    texts: Mapping[PurePosixPath, PurePosixPath],
    drawn: Mapping[PurePosixPath, Sequence[tuple[int, list[float]]]],
    names: Mapping[int, str],
) -> tuple[NamedWeak, ...]:
    """The boxes of label files beside label pictures, which number the classes alike."""
    found = []
    for image, rows in drawn.items():
        size = picture_size(tree.path(image))
        boxes = tuple((names.get(label, str(label)), box_of(np.array(numbers), size)) for label, numbers in rows)
        name, path = str(image.with_suffix("")), tree.path(texts[image])
        found.append(NamedWeak(tree.path(image), name, path, placed[image], boxes=boxes, size=size))
    return tuple(found)
