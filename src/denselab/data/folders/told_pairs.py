"""Tables and records that name a picture and its label (image,mask).

Where the names of the files do not tell what belongs together, these do; where they do, these must not say otherwise.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from denselab.data.listing.json_records import records_of, texts_of
from denselab.data.listing.tree import IMAGE_WORDS, LABEL_WORDS, Tree, role_of_folders, words
from denselab.data.splits.lists import LONGEST_NAME, csv_rows, read_lines
from denselab.documents import parse_json, read_bytes
from denselab.errors import DataError
from denselab.in_words import first_few

NEAR = 2  # folders deep, where such files are looked for
LARGEST = 2**24  # bytes
LOOKED_AT = 1000  # records of a file, that are compared with the names
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".odgt")
MANIFEST = ".manifest"  # of SageMaker Ground Truth, a record in each line; it lies in manifests/output

File = PurePosixPath
Ends = Mapping[str, set[File]]
"""The files that a path, or as much of its end, may mean."""
Cells = list[tuple[str, str]]
"""The texts of a row or record, each with its column or key."""


def refuse_other_pairs(tree: Tree, label_of: Mapping[File, File]) -> None:
    """Raise DataError where a file pairs a picture with another label than that of its name.

    label_of: {picture: label}, as paired by their names
    """
    meant, labels = _by_end({*tree.pictures, *tree.label_files}), set(label_of.values())
    for table in _tables(tree):
        for cells in islice(_records(tree.path(table)), LOOKED_AT):
            pair = _pair(cells, meant, table.parent, labels)
            if pair is None:
                continue
            picture, label = pair
            if label_of.get(picture, label) != label:
                raise DataError(
                    f"{tree.path(table)}: pairs {picture} with {label}, but by its name {picture} goes with "
                    f"{label_of[picture]}; name the labels as their pictures, or take {table.name} out if it is wrong"
                )


def told_pairs(tree: Tree) -> tuple[dict[File, File], str]:
    """{picture: label} of all rows and records that name one of each, and the files that say so; {} and "".

    Raises DataError where a picture has two labels.
    """
    meant = _by_end({*tree.pictures, *tree.label_files})
    told: dict[File, File] = {}
    sources: dict[str, None] = {}
    for table in _tables(tree):
        for cells in _records(tree.path(table)):
            pair = _pair(cells, meant, table.parent)
            if pair is None:
                continue
            picture, label = pair
            if told.setdefault(picture, label) != label:
                raise DataError(
                    f"{tree.path(table)}: {picture} has two labels, {told[picture]} and {label}; keep one row of each "
                    "picture"
                )
            sources[str(table)] = None
    return told, first_few(sources)


def _pair(cells: Cells, meant: Ends, home: File, labels: Collection[File] | None = None) -> tuple[File, File] | None:
    """The picture and the label that a row names, if it names one of each.

    home: the folder of the table, from which its paths may start
    labels: which files are labels, as far as that is known. Else the word for one in its column or folder tells; then
    the order does.
    """
    found = [(key, files) for key, text in cells if (files := _files(text, meant, home))]
    sides: tuple[list[tuple[str, File | None]], list[tuple[str, File | None]]] = ([], [])
    for key, files in found:
        is_label = _is_label(key, files) or (labels is not None and files <= set(labels))
        sides[is_label].append((key, _only(files, is_label)))
    pictures, masks = sides
    if labels is None and not masks and len(pictures) == 2:
        masks = [pictures.pop()]
    pictures = [one for one in pictures if set(words(one[0])) & IMAGE_WORDS] or pictures
    if len(pictures) != 1 or len(masks) != 1:
        return None
    picture, label = pictures[0][1], masks[0][1]
    return (picture, label) if picture and label and picture != label else None


def _is_label(key: str, files: set[File]) -> bool:
    tokens = set(words(key))
    in_labels = all(role_of_folders(file) == "label" for file in files)
    return bool(tokens & LABEL_WORDS) or (not tokens & IMAGE_WORDS and in_labels)


def _only(files: set[File], is_label: bool) -> File | None:
    """The only one of these files; of several the only one in a folder of labels, or in none of them."""
    if len(files) > 1:
        files = {file for file in files if (role_of_folders(file) == "label") == is_label}
    return next(iter(files)) if len(files) == 1 else None


def _by_end(files: set[File]) -> Ends:
    ends: dict[str, set[File]] = defaultdict(set)
    for known in files:
        for start in range(len(known.parts)):
            ends["/".join(known.parts[start:])].add(known)
    return ends


def _files(text: str, meant: Ends, home: File) -> set[File]:
    """The files that a cell may mean: by its path from the table's folder, else by as much of its end as is there."""
    if len(text) > LONGEST_NAME:
        return set()
    parts = PurePosixPath(text.strip().replace("\\", "/")).parts
    beside = home.joinpath(*parts)
    if beside in meant.get(str(beside), ()):
        return {beside}
    return next((found for start in range(len(parts)) if (found := meant.get("/".join(parts[start:])))), set())


def _tables(tree: Tree) -> list[File]:
    near = [table for table in tree.with_suffix(*SUFFIXES) if len(table.parts) <= NEAR]
    return [*near, *tree.with_suffix(MANIFEST)]


def _records(path: Path) -> Iterator[Cells]:
    """The texts of each row, or of each record; none of a file that cannot be read, which others tell of."""
    try:
        if path.stat().st_size > LARGEST:
            return
        if path.suffix.lower() in (".csv", ".tsv"):
            rows = csv_rows(read_lines(path))
            header = rows[0] if rows and not any("." in cell for cell in rows[0]) else []
            for row in rows:
                yield list(zip([*header, *[""] * len(row)], row, strict=False))
        elif path.suffix.lower() == ".json":
            yield from _of_json(parse_json(read_bytes(path, LARGEST)))
        else:
            for line in read_lines(path):
                yield from _of_json([parse_json(line.encode())])
    except (DataError, OSError, ValueError):
        return


def _of_json(data: Any) -> Iterator[Cells]:
    """The texts of all records, also of those within others: nnU-Net's {"case": {"images": ["a"], "label": "b"}}."""
    return (cells for record in records_of(data) if len(cells := list(texts_of(record))) > 1)
