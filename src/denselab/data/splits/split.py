"""Who trains and who is held out: given splits are obeyed; a missing one is drawn by class content and sequence."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import Item
from denselab.data.splits.likenesses import Alike, joined_groups
from denselab.data.splits.sequences import class_folders, with_groups
from denselab.in_words import number_of

CANDIDATES = 300  # random splits among which the best one is taken. On 840 pictures with 4 classes its imbalance is
# 0.001; ten times as many candidates, and ten times the time, halve that
Summary = Callable[[Item], dict[int, int]]
"""{id: pixels, roughly} of an item; {} where it is unknown."""


def decide_splits(
    items: Sequence[Item],
    summary: Summary,
    val_fraction: float = 0.2,
    seed: int = 0,
    find_alike: Callable[[Sequence[Item]], list[Alike]] | None = None,
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items that each have a split and a group, and notes on what was decided.

    What was named keeps its split; val and test are never trained on. The rest trains. Where nothing is named val, a
    part of what trains is drawn for it. A single picture without a split goes to val: it can be evaluated on.
    find_alike: the pairs of pictures that show one scene, which stay together; asked only where val is drawn.
    """
    items, notes = named_splits(items)
    given = {item.split for item in items}
    if "val" in given and "train" in given:
        return items, notes
    if given == {None} and len(items) == 1:
        only = "only one picture: it can be evaluated on, but not trained on; add pictures"
        return (replace(items[0], split="val"),), (only,)
    pool = [item for item in items if item.split in ("train", None)]
    if not pool:
        return items, (*notes, nothing_to_train_on(sorted(map(str, given))))
    if len(pool) < 2:
        few = "too few pictures outside test to split; add pictures"
        return tuple(replace(item, split=item.split or "train") for item in items), (*notes, few)
    pairs = find_alike(pool) if find_alike else []
    chosen, how = stratified(pool, summary, val_fraction, seed, pairs)
    decided = {item.name: "val" if item.name in chosen else "train" for item in pool}
    counts = Counter(decided.values())
    drawn = f"{counts['train']} train and {counts['val']} val pictures drawn with seed {seed}"
    note = f"{_where(given)}: {drawn}, balanced by class content, {how}"
    return tuple(replace(item, split=decided.get(item.name, item.split)) for item in items), (*notes, note)


def named_splits(items: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items with their groups and the splits that the data name, None where nothing is named; nothing is drawn."""
    return _with_the_rest(with_groups(items))


def _with_the_rest(items: tuple[Item, ...]) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items without a split train where train or val is named; beside test alone they stay open."""
    named = {item.split for item in items} - {None}
    rest = sum(item.split is None for item in items)
    if not rest or not named & {"train", "val"}:
        return items, ()
    kept = tuple(replace(item, split=item.split or "train") for item in items)
    return kept, (f"{number_of(rest, 'picture')} that no split names: train",)


def nothing_to_train_on(given: Sequence[str]) -> str:
    """The note and the remedy where every picture is held out."""
    return (
        f"every picture is named {' or '.join(given)}: there is none to train on; add some to train, "
        "or write `splits: {train: all}` in data.yaml to train on these"
    )


def _where(given: set[str | None]) -> str:
    if None in given:
        return "test given, kept apart" if "test" in given else "no split given"
    return "train and test given, test kept apart" if "test" in given else "only train given"


def stratified(
    items: Sequence[Item], summary: Summary, val_fraction: float, seed: int, pairs: Sequence[Alike] = ()
) -> tuple[frozenset[str], str]:
    """Names of the val pictures, and how sequences were treated.

    pairs: pictures of one scene, which stay together

    Whole sequences first; where no choice of sequences comes near val_fraction, or would leave train without a class,
    pictures of one scene alone; then single pictures.
    """
    presence = _presence([summary(item) for item in items], _kinds(items))
    names = [item.name for item in items]
    sequences = [item.group for item in items]
    scenes = f"{number_of(len(pairs), 'pair')} of pictures that look alike kept together" if pairs else ""
    several = len(set(sequences)) < len(items)
    ways = [
        (joined_groups(sequences, pairs), " and ".join(filter(None, ("sequences kept together" * several, scenes)))),
        (joined_groups(names, pairs), f"{scenes}, whole sequences cannot be balanced"),
    ]
    for groups, how in ways[: 1 + bool(pairs and several)] if several or pairs else []:
        chosen = _best_choice(groups, presence, val_fraction, seed)
        if chosen is not None and _acceptable(chosen, presence, val_fraction):
            return _names(items, chosen), how
    chosen = _best_choice([str(i) for i in range(len(items))], presence, val_fraction, seed)
    assert chosen is not None, "single pictures can always be split"
    what = "whole sequences" if several else "pictures that look alike"
    how = f"single pictures: {what} cannot be balanced" if several or pairs else "each picture on its own"
    return _names(items, chosen), how


def _names(items: Sequence[Item], chosen: NDArray[np.bool_]) -> frozenset[str]:
    return frozenset(item.name for item, is_val in zip(items, chosen, strict=True) if is_val)


def _kinds(items: Sequence[Item]) -> list[str]:
    """The folder of a class that each picture is in, "" for others."""
    folders = class_folders(items)
    homes = [str(PurePosixPath(item.name).parent) for item in items]
    return [home if home in folders else "" for home in homes]


def _presence(summaries: Sequence[dict[int, int]], kinds: Sequence[str]) -> NDArray[np.float64]:
    """(N, C) which class occurs in which picture, by rising id; then which folder of a class it is in."""
    ids = sorted({label_id for summary in summaries for label_id in summary})
    folders = sorted(set(kinds) - {""})
    table = np.zeros((len(summaries), len(ids) + len(folders)))
    for row, (summary, kind) in enumerate(zip(summaries, kinds, strict=True)):
        for label_id in summary:
            table[row, ids.index(label_id)] = 1.0
        if kind:
            table[row, len(ids) + folders.index(kind)] = 1.0
    return table


def _best_choice(
    groups: list[str], presence: NDArray[np.float64], fraction: float, seed: int
) -> NDArray[np.bool_] | None:
    """(N,) who is val: the best of CANDIDATES random orders of the groups, filled up to the wanted share."""
    labels, member = np.unique(np.array(groups), return_inverse=True)
    sizes = np.bincount(member)
    content = np.zeros((len(labels), presence.shape[1]))
    np.add.at(content, member, presence)
    wanted = min(max(1, round(fraction * len(groups))), len(groups) - 1)
    rng = np.random.default_rng(seed)
    best: NDArray[np.bool_] | None = None
    best_cost = np.inf
    too_large = bool((sizes >= 2 * wanted).all())  # of three scans with four tiles each, none comes nearer than nothing
    for _ in range(CANDIDATES):
        order = rng.permutation(len(labels))
        picked = np.arange(len(labels)) == order[0] if too_large else _fill(order, sizes, wanted)
        if not 0 < sizes[picked].sum() < len(groups):
            continue
        cost = _cost(content[picked].sum(axis=0), content.sum(axis=0), sizes[picked].sum(), len(groups), fraction)
        if cost < best_cost:
            best, best_cost = picked, cost
    return None if best is None else best[member]


def _fill(order: NDArray[np.intp], sizes: NDArray[np.intp], wanted: int) -> NDArray[np.bool_]:
    """(G,) groups taken in this order while each brings the number of pictures nearer to the wanted one."""
    picked = np.zeros(len(sizes), dtype=bool)
    total = 0
    for group in order:
        if abs(total + sizes[group] - wanted) < abs(total - wanted):
            picked[group] = True
            total += int(sizes[group])
        if total >= wanted:
            break
    return picked


def _cost(
    val: NDArray[np.float64], everything: NDArray[np.float64], pictures: int, total: int, fraction: float
) -> float:
    """How far the val pictures are from the wanted share, of all pictures and of those with each class.

    A class that train would miss costs most, one that val would miss next (unless a single picture has it).
    """
    share = np.divide(val, everything, out=np.zeros_like(val), where=everything > 0)
    missed_by_train = (val == everything) & (everything > 0)
    missed_by_val = (val == 0) & (everything > 1)
    uneven = np.abs(share - fraction).sum() / max(1, len(val))
    return float(
        10.0 * missed_by_train.sum() + 1.0 * missed_by_val.sum() + uneven + 2.0 * abs(pictures / total - fraction)
    )


def _acceptable(chosen: NDArray[np.bool_], presence: NDArray[np.float64], fraction: float) -> bool:
    share = chosen.mean()
    in_train, anywhere = presence[~chosen].any(axis=0), presence.any(axis=0)
    return bool(0.5 * fraction <= share <= 1.75 * fraction and np.array_equal(in_train, anywhere))
