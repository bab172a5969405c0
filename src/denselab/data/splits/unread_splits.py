"""Files that speak of splits and are not read: their form, or numbers and other words in the place of train and val."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from denselab.data.item import Item
from denselab.data.listing.tree import Tree, split_in_name, words
from denselab.data.splits.lists import LIST_FOLDERS, TABLE_SUFFIXES, csv_rows, items_by_key, read_lines, share_known
from denselab.data.splits.split_tables import FILE_WORDS, candidates, header_of, lists_numbers, read_table, split_column
from denselab.errors import DataError
from denselab.in_words import first_few

UNREAD_SUFFIXES = (
    ".pkl", ".pickle", ".npy", ".npz", ".mat", ".pt", ".pth", ".xlsx", ".xls", ".parquet", ".arrow", ".h5", ".toml",
    ".ini",
)  # fmt: skip
VALUES = range(2, 11)  # how many different ones a column of splits has
HOLD_OUT = "write the names of the pictures to hold out into val.txt, one a line"


def unread_splits(tree: Tree, items: Sequence[Item]) -> list[str]:
    """What is said of such files, a line each."""
    near = [f for f in tree.with_suffix(*UNREAD_SUFFIXES) if len(f.parts) <= 3 and FILE_WORDS & set(words(f.stem))]
    by_key = items_by_key(items)
    told = _of_no_picture(tree, by_key)
    if near:
        told.append(f"{first_few(map(str, near))} may say what belongs to which split, and is not read; {HOLD_OUT}")
    for file in candidates(tree, TABLE_SUFFIXES):
        column, names, values = _other_column(tree, file)
        if names and share_known(names, by_key) > 0.5:
            told.append(
                f"{file}: its column {column!r} holds {first_few(sorted(values), 5)}, and not train, val and test: "
                "not read; write these words there"
            )
    told += [
        f"{file}: numbers in the place of train, val and test: not read; {HOLD_OUT}"
        for file in candidates(tree, (".txt",))
        if lists_numbers(tree.path(file))
    ]
    return told


def _of_no_picture(tree: Tree, by_key: dict[str, set[int]]) -> list[str]:
    """What is said of lists in a folder of lists, whose names are those of no pictures."""
    told = []
    for file in tree.with_suffix(".txt", ".lst"):
        if len(file.parts) == 1 or str(file.parent).lower() not in LIST_FOLDERS or split_in_name(file.stem) is None:
            continue
        try:
            names = read_lines(tree.path(file))
        except DataError:  # no text
            continue
        if names and share_known(names, by_key) == 0:
            told.append(f"{file}: no picture is called as its names are ({first_few(names)}): not read; {HOLD_OUT}")
    return told


def _other_column(tree: Tree, file: PurePosixPath) -> tuple[str, list[str], set[str]]:
    """A column that is called as those of splits are, and is not read: its name, the pictures, what it holds."""
    try:
        rows = csv_rows(read_lines(tree.path(file)))
    except DataError:  # no text that can be read, and nothing says that it is about splits
        return "", [], set()
    header = header_of(rows)
    column = split_column(header)
    if column is None or read_table(tree.path(file)):
        return "", [], set()
    body = [row for row in rows[1:] if len(row) == len(header)]
    values = {row[column].strip() for row in body}
    if len(values) not in VALUES:
        return "", [], set()
    names = ["\t".join(cell.strip() for n, cell in enumerate(row) if n != column) for row in body]
    return header[column], names, values
