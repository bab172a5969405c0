"""Category ids of several COCO files: converters number them by first appearance, for each file anew."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from denselab.data.listing.tree import Tree
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.numbers import written


@dataclass(frozen=True)
class CocoFile:
    """A json with pictures.

    file: its path
    data: its content
    kind: panoptic, instances, stuff or person_keypoints; "" if it has no segmentation
    split: that it belongs to, or None
    """

    file: PurePosixPath
    data: dict[str, Any]
    kind: str
    split: str | None


def names_by_id(tree: Tree, file: CocoFile) -> dict[Any, Any]:
    """{image id: its file}. Raises DataError for an id of two files: each would get the annotations of both."""
    names: dict[Any, Any] = {}
    for image in file.data["images"]:
        name = image.get("file_name")
        if names.setdefault(image["id"], name) != name:
            raise DataError(
                f"{tree.path(file.file)}: {names[image['id']]} and {name} have the same id in `images`, "
                f"{image['id']!r}; give each picture an id of its own, and its annotations that image_id"
            )
    return names


def same_ids(tree: Tree, files: list[CocoFile]) -> tuple[list[CocoFile], list[str]]:
    """The files with one number for each category, matched by name where they differ; and a note that says so.

    The numbers are those of the train file, else of the first; categories that it lacks get the next free ones.
    Raises DataError for two categories with one id in a file, and where a name that has two ids cannot be matched.
    """
    tables = [_table(tree, file) for file in files]
    if _agree(tables):
        return files, []
    for file, table in zip(files, tables, strict=True):
        _refuse_double_name(tree, file, table)
    leading = next((n for n, file in enumerate(files) if file.split == "train"), 0)
    ids = {name: label_id for label_id, name in tables[leading].items()}
    for name in (name for table in tables for name in table.values()):
        ids.setdefault(name, max(ids.values(), default=0) + 1)
    renumbered = [_renumbered(file, ids, table) for file, table in zip(files, tables, strict=True)]
    listed = "; ".join(f"{f.file}: {_in_words(table)}" for f, table in zip(files, tables, strict=True))
    note = f"category ids differ between the files and were matched by name, as in {files[leading].file} ({listed})"
    return renumbered, [note]


def _table(tree: Tree, file: CocoFile) -> dict[int, str]:
    """{id: name} of a file."""
    table: dict[int, str] = {}
    for category in file.data.get("categories", []):
        label_id, name = written(category["id"]), str(category.get("name", f"class {category['id']}"))
        if table.setdefault(label_id, name) != name:
            raise DataError(
                f"{tree.path(file.file)}: category id {label_id} is {table[label_id]!r} and {name!r}; "
                "give each category its own id"
            )
    return table


def _agree(tables: list[dict[int, str]]) -> bool:
    """Whether no id has two names over the files, and no name has other ids in one file than in another."""
    names: dict[int, str] = {}
    for table in tables:
        if any(names.setdefault(label_id, name) != name for label_id, name in table.items()):
            return False
    ids = [{name: {i for i, n in table.items() if n == name} for name in table.values()} for table in tables]
    first = {name: found for table in reversed(ids) for name, found in table.items()}
    return all(first[name] == found for table in ids for name, found in table.items())


def _refuse_double_name(tree: Tree, file: CocoFile, table: dict[int, str]) -> None:
    names = list(table.values())
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise DataError(
            f"{tree.path(file.file)}: the files number their categories differently, and {double!r} has two ids here "
            f"({_in_words(table)}), so that they cannot be matched by name; give each category one id and one name"
        )


def _renumbered(file: CocoFile, ids: dict[str, int], table: dict[int, str]) -> CocoFile:
    def of(record: dict[str, Any], key: str) -> dict[str, Any]:
        return {**record, key: ids[table[written(record[key])]]} if written(record.get(key, -1)) in table else record

    annotations = []
    for annotation in file.data.get("annotations", []):
        changed = of(annotation, "category_id")
        if "segments_info" in annotation:
            changed = {**changed, "segments_info": [of(s, "category_id") for s in annotation["segments_info"]]}
        annotations.append(changed)
    categories = [of(category, "id") for category in file.data.get("categories", [])]
    return replace(file, data={**file.data, "annotations": annotations, "categories": categories})


def _in_words(table: dict[int, str]) -> str:
    return first_few((f"{label_id} {name}" for label_id, name in sorted(table.items())), 8)
