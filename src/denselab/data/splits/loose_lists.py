"""Lists in other folders and under other names: kvasir_train.txt, annotations/test.txt, fold_0/val.txt, trainval.txt.

Their names alone do not tell what they are, so that they count only where most of what they name are labelled
pictures.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from denselab.data.item import Item
from denselab.data.listing.tree import OTHER_WORDS, SPLIT_WORDS, Tree, split_in_name, words
from denselab.data.splits.lists import (
    LIST_SUFFIXES,
    TABLE_SUFFIXES,
    items_by_key,
    positions_of,
    read_list,
    share_known,
)
from denselab.data.splits.split_tables import has_split_column, lists_numbers
from denselab.errors import DataError

FOLD = re.compile(r"(?:fold|split|cv)[_\-. ]?(\d+)", re.IGNORECASE)
DEEPEST = 4  # parts of the path of a list, its name included
# Lists that say what pictures show (weak_files), or how a model did on them.
OTHER_LISTS = OTHER_WORDS | {"tags", "boxes", "score", "scores", "metrics", "log", "logs", "loss", "submission"}
BOTH = "trainval"  # what a list of train and val is called

Lists = dict[str, tuple[Path, ...]]
"""{split: files, whose names are joined}."""


def loose_lists(tree: Tree, items: Sequence[Item], exact: Mapping[str, Path]) -> list[Lists]:
    """The lists of each fold (one without a number in their names); [] where there are none.

    exact: the lists that their names tell; no other counts for their splits, nor one that names their pictures.
    A list of train and val together is there as BOTH, where there is none for train alone.
    """
    by_key = items_by_key(items)
    taken = {position for file in exact.values() for position in positions_of(read_list(file), by_key)}
    folds: dict[int | None, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file, split in _candidates(tree):
        names = _names(tree.path(file)) if split not in exact and tree.path(file) not in exact.values() else []
        if not names or share_known(names, by_key) <= 0.5:
            continue
        if split == BOTH or taken.isdisjoint(positions_of(names, by_key)):
            folds[_fold_of(file)][split].append(tree.path(file))
    shared = folds.pop(None, {}) if len(folds) > 1 else {}
    complete = [{**shared, **folds[number]} for number in sorted(folds, key=lambda n: -1 if n is None else n)]
    chosen = (_without_both(lists, exact) for lists in complete)
    return [{split: tuple(files) for split, files in lists.items()} for lists in chosen if lists]


def _names(path: Path) -> list[str]:
    if lists_numbers(path):  # a name and the number of its split (CelebA's list_eval_partition.txt)
        return []
    try:
        # A table with a column for splits names pictures of all of them (list_eval_partition.csv).
        if path.suffix.lower() in TABLE_SUFFIXES and has_split_column(path):
            return []
        return read_list(path)
    except DataError:  # no text: not a list
        return []


def _candidates(tree: Tree) -> Iterator[tuple[PurePosixPath, str]]:
    """(file, split or BOTH) of the files whose names have the word; texts that go with one picture are none."""
    stems = {picture.stem for picture in tree.pictures}
    for file in tree.with_suffix(*LIST_SUFFIXES, ".json"):
        split = _split_of(file.stem)
        if split is not None and len(file.parts) <= DEEPEST and file.stem not in stems:
            yield file, split


def _split_of(stem: str) -> str | None:
    tokens = set(words(stem))
    if tokens & OTHER_LISTS:
        return None
    if BOTH in tokens or {SPLIT_WORDS[token] for token in tokens & SPLIT_WORDS.keys()} == {"train", "val"}:
        return BOTH
    return split_in_name(stem)


def _fold_of(file: PurePosixPath) -> int | None:
    """The number of the fold in a list's name, or in that of a folder above it."""
    match = next((found for part in reversed(file.parts) if (found := FOLD.search(part))), None)
    return int(match[1]) if match else None


def _without_both(lists: Mapping[str, list[Path]], exact: Mapping[str, Path]) -> dict[str, list[Path]]:
    has_train = "train" in lists or "train" in exact
    return {split: files for split, files in lists.items() if split != BOTH or not has_train}
