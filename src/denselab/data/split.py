"""Who trains and who is held out: given splits are obeyed; a missing one is drawn by class content and sequence."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import Item
from denselab.data.likenesses import Alike, joined_groups
from denselab.data.read.tree import IMAGE_WORDS, LABEL_WORDS, SPLIT_WORDS, number_of, words

CANDIDATES = 300  # random splits among which the best one is taken. On 840 pictures with 4 classes its imbalance is
# 0.001; ten times as many candidates, and ten times the time, halve that
# Names of video frames: a sequence, then a running number of three digits or more, maybe with a letter before it.
FRAME = re.compile(r"^(?P<sequence>.*?)[_\-. ]?(?:frame|fr|f)?[_\-. ]?(?P<number>\d{3,})$", re.IGNORECASE)
SHORT_STEP = 100  # between the numbers of neighbouring pictures: a video of which every 100th frame was labelled
SERIES_WORDS = frozenset(
    ("clip", "seq", "sequence", "video", "camera", "cam", "day", "night", "drive", "scene", "part")
)
# Roboflow's names: photo_jpg.rf.0a1b2c, once for each augmented copy of photo.jpg.
COPY = re.compile(r"^(?P<name>.+)_(?:jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9a-zA-Z]+$", re.IGNORECASE)
YEAR = re.compile(r"^(19|20)\d\d$")

Summary = Callable[[Item], dict[int, int]]
"""{id: pixels, roughly} of an item; {} where it is unknown."""


def sequence_of(name: str) -> str:
    """The sequence that a picture's name belongs to: "0001TP_006690" -> "0001TP", "clip/00012" -> "clip/".

    A name without a running number is its own sequence, and so is one whose prefix is a year (2007_000033 of VOC).
    Roboflow's augmented copies of a picture have that of the picture.
    """
    name = original_of(name)
    path = PurePosixPath(name)
    frame = FRAME.match(path.name)
    if frame is None or YEAR.match(frame["sequence"]):
        return name
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return folder + frame["sequence"]


def original_of(name: str) -> str:
    """The name of the picture that an augmented copy of Roboflow's was made from; other names as they are."""
    copy = COPY.match(name)
    return copy["name"] if copy else name


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


def with_groups(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items with their sequences. Names that all share one stem are not a sequence: each stands for itself.

    Nor are names whose numbers do not follow each other (exp1_num_108719), and those of folders of a class.
    """
    keys = [item.group or sequence_of(item.name) for item in items]
    classes = class_folders(items)
    numbers: dict[str, list[int]] = defaultdict(list)
    for item, key in zip(items, keys, strict=True):
        frame = FRAME.match(PurePosixPath(original_of(item.name)).name)
        if not item.group and key != item.name and frame is not None:
            numbers[key].append(int(frame["number"]))
    scattered = {key for key, found in numbers.items() if not _follow(found)}
    kept = {item.group for item in items if item.group}
    keys = [
        original_of(item.name)
        if key not in kept and (key in scattered or str(PurePosixPath(item.name).parent) in classes)
        else key
        for item, key in zip(items, keys, strict=True)
    ]
    if len(set(keys)) == 1:
        keys = [original_of(item.name) for item in items]
    return tuple(replace(item, group=key) for item, key in zip(items, keys, strict=True))


def _follow(numbers: Sequence[int]) -> bool:
    """Whether running numbers are those of a series: half of the steps are equal, or the usual step is short."""
    steps = np.diff(np.sort(np.array(numbers)))
    if len(steps) < 2:
        return True
    return bool(np.median(steps) <= SHORT_STEP or Counter(steps.tolist()).most_common(1)[0][1] >= len(steps) / 2)


def class_folders(items: Sequence[Item]) -> frozenset[str]:
    """Folders that each hold the pictures of one class or kind: sisters of one parent whose names have no number.

    Clips, places and days, which a split keeps together, are numbered; rust/ beside scratch/ is not.
    """
    folders = Counter(PurePosixPath(item.name).parent for item in items)
    sisters: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for folder in folders:
        sisters[folder.parent].append(folder)
    several = [sorted(group) for group in sisters.values() if len(group) > 1]
    return frozenset(
        str(folder)
        for group in several
        for folder in group
        if all(_is_kind(sister.name) and folders[sister] > 1 for sister in group)
    )


def _is_kind(name: str) -> bool:
    """Whether a folder's name may be that of a class: no number, and not the word for a clip, a split or pictures."""
    tokens = set(words(name))
    known = IMAGE_WORDS | LABEL_WORDS | set(SPLIT_WORDS) | SERIES_WORDS
    return bool(tokens) and not any(token.isdigit() for token in tokens) and not tokens & known


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
    for _ in range(CANDIDATES):
        picked = _fill(rng.permutation(len(labels)), sizes, wanted)
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
