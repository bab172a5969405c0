"""k folds of a data set: every picture is held out once; sequences stay together, class pixels are spread evenly.

Also halves, of which one fits a number or two and the other judges them.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from denselab.data.dataset import Dataset, summary_of
from denselab.data.item import Item
from denselab.data.listing.tree import SPLIT_WORDS
from denselab.data.splits.sequences import names_can_say, with_groups
from denselab.data.weak_labels import has_mask
from denselab.errors import ConfigError, DataError

CANDIDATES = 50  # random orders of the groups among which the most even folds are taken
SHUFFLE = (0.5, 1.5)  # factors on the size of a group when they are put in order: large ones still come early


def folds_of(dataset: Dataset, folds: int, seed: int = 0) -> dict[str, int]:
    """{name: fold, from 0} of every picture that is not in test; those without a mask have none, they always train.

    folds: at least 2.
    seed: the same seed gives the same folds.
    Raises ConfigError for a number of folds that the data cannot have: a sequence is never divided.
    """
    items = in_sequences([item for item in dataset.items if item.split != "test" and has_mask(item)])
    groups = sorted({item.group for item in items})
    if not 2 <= folds <= len(groups):
        what = "pictures" if len(groups) == len(items) else "sequences, which stay together"
        raise ConfigError(f"`folds` {folds}: {dataset.root} has {len(groups)} {what}; use 2 to {len(groups)}")
    chosen = assign(items, class_pixels_of(items), folds, seed)
    return {item.name: int(fold) for item, fold in zip(items, chosen, strict=True)}


def halves(items: Sequence[Item], least: int = 0) -> tuple[list[Item], list[Item]]:
    """The items in two halves of about one size, in the order given; a sequence lies wholly in one.

    The longest sequence comes first; each goes to the half that is smaller so far, so of one there is no second half.
    least: where a half gets fewer items, they are cut by their names: the beginning of a sequence is better judged by
        its end than frame by frame, whose neighbours would be in the other half.
    """
    groups: dict[str, list[str]] = {}
    for item in items:
        groups.setdefault(item.group or f"\0{item.name}", []).append(item.name)  # no group is called like a picture
    parts: tuple[set[str], set[str]] = (set(), set())
    for names in sorted(groups.values(), key=len, reverse=True):
        parts[len(parts[0]) > len(parts[1])].update(names)
    if min(map(len, parts)) < least:
        ordered = sorted(item.name for item in items)
        parts = (set(ordered[: len(ordered) // 2]), set(ordered[len(ordered) // 2 :]))
    first, second = ([item for item in items if item.name in part] for part in parts)
    return first, second


def in_sequences(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items with the sequences that folds keep together, whatever the split whose folder they lie in.

    train/0001 and val/0001 are not frames of two videos: folders that are named after a split do not tell a sequence.
    """
    bare = [replace(item, name=_without_split(item.name), group=_given_group(item)) for item in items]
    grouped = zip(items, with_groups(bare), strict=True)
    # an item that is a group of its own keeps its name with the split, without which names may be equal
    return tuple(replace(item, group=item.name if own.group == own.name else own.group) for item, own in grouped)


def _without_split(name: str) -> str:
    path = PurePosixPath(name)
    return str(PurePosixPath(*(part for part in path.parent.parts if part.lower() not in SPLIT_WORDS), path.name))


def _given_group(item: Item) -> str:
    """The group that the layout gave; "" for one that comes from the name."""
    return "" if item.group in names_can_say(item.name) else item.group


def held_out(dataset: Dataset, fold_of: Mapping[str, int], fold: int) -> Dataset:
    """The data set with one fold as val and the others as train; pictures without a fold keep their split.

    Raises DataError where a picture that has a fold is not in the data set.
    """
    missing = sorted(fold_of.keys() - {item.name for item in dataset.items})
    if missing:
        raise DataError(f"{dataset.root} has no picture {missing[0]}, which the folds name; give the data of the folds")
    splits = {name: "val" if own == fold else "train" for name, own in fold_of.items()}
    return replace(
        dataset, items=tuple(replace(item, split=splits.get(item.name, item.split)) for item in dataset.items)
    )


def class_pixels_of(items: Sequence[Item]) -> NDArray[np.float64]:
    """(N, C) pixels of each label id in each picture, roughly, by rising id; ids that no picture has are left out."""
    with ThreadPoolExecutor() as pool:
        summaries = list(pool.map(summary_of, items))
    ids = sorted({label for summary in summaries for label in summary})
    table = np.zeros((len(items), len(ids)))
    for row, summary in enumerate(summaries):
        for label, pixels in summary.items():
            table[row, ids.index(label)] = pixels
    return table


def assign(items: Sequence[Item], pixels: NDArray[np.float64], folds: int, seed: int) -> NDArray[np.intp]:
    """(N,) the fold of each item; groups stay together.

    Groups come one after the other, large ones first by and large, each into the fold that it makes most even. Of
    CANDIDATES such orders the one with the most even folds is taken.
    pixels: (N, C) as `class_pixels_of`.
    """
    names, member = np.unique(np.array([item.group for item in items]), return_inverse=True)
    content = np.zeros((len(names), pixels.shape[1] + 1))
    np.add.at(content, member, np.column_stack([pixels, np.ones(len(items))]))  # the last column: pictures
    totals = content.sum(axis=0)
    shares = content[:, totals > 0] / totals[totals > 0]
    rng = np.random.default_rng(seed)
    best, lowest = np.zeros(len(names), np.intp), np.inf
    largest = shares.max(axis=1)
    for _ in range(CANDIDATES):
        order = np.argsort(-largest * rng.uniform(*SHUFFLE, len(names)), kind="stable")
        chosen, cost = _fill(shares, order, folds)
        if cost < lowest:
            best, lowest = chosen, cost
    return best[member]


def _fill(shares: NDArray[np.float64], order: NDArray[np.intp], folds: int) -> tuple[NDArray[np.intp], float]:
    """The fold of each group (G,) when they come in this order, and how uneven the folds then are."""
    sums = np.zeros((folds, shares.shape[1]))
    chosen = np.zeros(len(shares), np.intp)
    empty = folds
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        costs = 2 * sums @ shares[group]  # growth of the sum of squares over folds, but for a constant
        if left <= empty:  # the remaining groups are just enough to give every fold one
            costs[sums.any(axis=1)] = np.inf
        fold = int(costs.argmin())
        empty -= not sums[fold].any()
        sums[fold] += shares[group]
        chosen[group] = fold
    return chosen, float(((sums - 1 / folds) ** 2).sum())
