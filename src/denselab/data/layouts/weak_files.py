"""Files that say less than a mask of a picture: boxes as COCO json, and tags as text, csv or json.

Folders with a box file for each picture are in data/layouts/box_folder.py.
`boxes.json` and `tags.txt` (`.csv`, `.json`) beside the pictures are found by themselves, others by the keys `boxes`
and `tags` of data.yaml. Classes are named as in the label table. A picture that has a mask keeps it.

A tag file has a line for each picture: its name, then its tags, divided by commas, semicolons or tabs, or by spaces
where a line has none of these. A csv may have one column per class with 0 and 1 instead. A json is {"name": ["tag",
...]}.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.item import Corners, NamedWeak
from denselab.data.listing.tree import Tree, lies_in, split_in_name, split_of_folders, words
from denselab.data.splits.lists import csv_rows, read_lines
from denselab.documents import MAX_ANNOTATIONS, parse_json, read_bytes
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

TAG_SUFFIXES = (".txt", ".csv", ".json")
PICTURE_COLUMNS = frozenset(("image", "picture", "file", "filename", "file_name", "name", "id", "image_id", "path"))
NEAR = 2  # folders deep, where such files are looked for


def find_weak_files(tree: Tree) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """The box files and the tag files that lie near the root and are called so (boxes.json, train_tags.txt)."""
    near = [file for file in tree.with_suffix(*TAG_SUFFIXES) if len(file.parts) <= NEAR]
    boxes = [file for file in near if "boxes" in words(file.stem.lower()) and file.suffix.lower() == ".json"]
    return boxes, [file for file in near if "tags" in words(file.stem.lower())]


def read_boxes(tree: Tree, file: PurePosixPath, split: str | None = None) -> list[NamedWeak]:
    """The pictures of a COCO json of boxes; those that are not here are passed over. Raises DataError."""
    path = tree.path(file)
    data = _json(path)
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise DataError(f"{path}: no COCO json of boxes (`images`, `annotations`, `categories`); name another file")
    try:
        return _named_boxes(tree, path, data, split or split_in_name(file.stem))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a record lacks something or has another form ({error!r}); export it again") from None


def _named_boxes(tree: Tree, path: Path, data: Mapping[str, Any], split: str | None) -> list[NamedWeak]:
    names = {category["id"]: str(category["name"]) for category in data.get("categories") or []}
    by_image: dict[Any, list[tuple[str, Corners]]] = {}
    for annotation in data.get("annotations") or []:
        if annotation.get("bbox"):
            x, y, width, height = map(float, annotation["bbox"])
            category = annotation["category_id"]
            if category not in names:
                raise DataError(f"{path}: category_id {category} is in no category; add it to `categories`")
            box = (names[category], (y, x, y + height, x + width))
            by_image.setdefault(annotation["image_id"], []).append(box)
    pictures, found = Pictures(tree), []
    for image in data["images"]:
        where = pictures.find(str(image["file_name"]), path)
        if where is not None:
            size = (int(image["height"]), int(image["width"])) if image.get("height") and image.get("width") else None
            boxes = tuple(by_image.get(image["id"], []))
            found.append(named_weak(tree, where, path, split, boxes=boxes, size=size))
    return some(found, path, (str(image["file_name"]) for image in data["images"]))


def read_tags(tree: Tree, file: PurePosixPath, split: str | None = None) -> list[NamedWeak]:
    """The pictures of a tag file; those that are not here are passed over. Raises DataError."""
    path = tree.path(file)
    rows = _tags_of_json(path) if file.suffix.lower() == ".json" else _tags_of_lines(path)
    pictures, found, seen = Pictures(tree), [], set[PurePosixPath]()
    for name, tags in rows:
        where = pictures.find(name, path)
        if where is None:
            continue
        if where in seen:
            raise DataError(f"{path}: {name} stands there twice; join its lines")
        seen.add(where)
        found.append(named_weak(tree, where, path, split or split_in_name(file.stem), tags=tuple(tags)))
    return some(found, path, (name for name, _ in rows))


def _tags_of_json(path: Path) -> list[tuple[str, list[str]]]:
    data = _json(path)
    if not isinstance(data, dict) or not all(
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) for tags in data.values()
    ):
        raise DataError(f'{path}: {{"picture.jpg": ["dog", "person"], ...}} was expected; correct it')
    return [(str(name), list(tags)) for name, tags in data.items()]


def _tags_of_lines(path: Path) -> list[tuple[str, list[str]]]:
    lines = read_lines(path)
    if path.suffix.lower() == ".csv":
        rows = csv_rows(lines)
        header = [cell.strip() for cell in rows[0]] if rows else []
        if len(header) > 2 and header[0].lower() in PICTURE_COLUMNS and _all_marks(rows[1:]):
            return [(row[0].strip(), _marked(header, row)) for row in rows[1:]]
        body = rows[1:] if header and header[0].lower() in PICTURE_COLUMNS else rows
        return [(row[0].strip(), _words(",".join(row[1:]))) for row in body]
    return [_line(line) for line in lines]


def _line(line: str) -> tuple[str, list[str]]:
    """A picture and its tags; a name with spaces needs a comma, semicolon or tab behind it."""
    marks = [position for mark in ",;\t" if (position := line.find(mark)) >= 0]
    name, _, rest = line.partition(line[min(marks)]) if marks else line.partition(" ")
    return name.strip(), _words(rest) if marks else rest.split()


def _words(text: str) -> list[str]:
    for mark in ";\t":
        text = text.replace(mark, ",")
    return [word.strip() for word in text.split(",") if word.strip()]


def _all_marks(rows: Sequence[Sequence[str]]) -> bool:
    return bool(rows) and all(cell.strip() in ("0", "1", "") for row in rows for cell in row[1:])


def _marked(header: Sequence[str], row: Sequence[str]) -> list[str]:
    return [name for name, cell in zip(header[1:], row[1:], strict=False) if cell.strip() == "1"]


class Pictures:
    """The pictures of a tree by name: with folders, without, with and without suffix.

    Stricter than NamedPictures of the layouts: a name that is not found is passed over here, and what is merely like it
    would get the tags of another picture.
    """

    def __init__(self, tree: Tree) -> None:
        self._root = tree.root
        self._found: dict[str, list[PurePosixPath]] = {}
        for picture in tree.pictures:
            parts = picture.parts
            for start in range(len(parts)):
                key = "/".join(parts[start:])
                self._found.setdefault(key, []).append(picture)
                self._found.setdefault(str(PurePosixPath(key).with_suffix("")), []).append(picture)

    def find(self, name: str, source: Path) -> PurePosixPath | None:
        """The picture that a file means; None where it is not here. Raises DataError where it may be several."""
        key = name.strip().replace("\\", "/").removeprefix("./").lstrip("/")
        found = self._found.get(key, [])
        if len(found) > 1:
            found = [picture for picture in found if not lies_in(picture, "label", "other")]
        if len(found) > 1:
            raise DataError(f"{source}: {name} may be {first_few(map(str, found))}; write its folder before it")
        return found[0] if found else None


def named_weak(tree: Tree, picture: PurePosixPath, file: Path, split: str | None, **what: Any) -> NamedWeak:
    """What a file says of a picture; its split as told, else by the folders of the picture.

    Raises DataError for a box with a corner that is not finite.
    """
    for label, corners in what.get("boxes") or ():
        if not all(map(math.isfinite, corners)):
            raise DataError(f"{file}: a box of {label!r} in {picture} is not of finite numbers; correct or remove it")
    name = str(picture.with_suffix(""))
    return NamedWeak(tree.path(picture), name, file, split or split_of_folders(picture), **what)


def some(found: list[NamedWeak], path: Path, names: Iterable[str]) -> list[NamedWeak]:
    """The pictures found. Raises DataError where there are none. names: of those that the file has."""
    if not found:
        raise DataError(f"{path}: none of its names ({first_few(names)}) is a picture here; correct it, or take it out")
    return found


def _json(path: Path) -> Any:
    try:
        return parse_json(read_bytes(path, MAX_ANNOTATIONS))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}); export it again or take it out") from None


def weak_note(found: Sequence[NamedWeak]) -> str:
    """Which files the weak labels are from."""
    files = first_few(dict.fromkeys(record.file.name for record in found))
    kind = "boxes" if found and found[0].boxes is not None else "tags"
    return f"{kind} from {files}: {number_of(len(found), 'picture')}"
