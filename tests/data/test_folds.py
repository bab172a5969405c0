"""Folds: every picture once, sequences together, class pixels even, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.data import Dataset, Item
from denselab.data.folds import assign, folds_of, halves, held_out, in_sequences
from denselab.data.item import FileLabels
from denselab.data.splits.sequences import sequence_of
from denselab.errors import ConfigError, DataError


def items_of(groups: list[str]) -> list[Item]:
    path = Path("nowhere.png")
    return [Item(f"p{i}", path, FileLabels(path), "train", group) for i, group in enumerate(groups)]


@given(
    st.lists(st.integers(0, 9), min_size=6, max_size=40).filter(lambda groups: len(set(groups)) >= 3),
    st.integers(2, 3),
    st.integers(0, 3),
)
def test_folds_never_share_a_group(groups: list[int], folds: int, seed: int) -> None:
    items = items_of([f"g{group}" for group in groups])
    pixels = np.random.default_rng(seed).random((len(items), 2))
    chosen = assign(items, pixels, folds, seed)
    homes: dict[str, set[int]] = {}
    for item, fold in zip(items, chosen, strict=True):
        homes.setdefault(item.group, set()).add(int(fold))
    assert all(len(places) == 1 for places in homes.values())
    assert set(chosen.tolist()) == set(range(folds))
    assert (chosen == assign(items, pixels, folds, seed)).all()


def test_a_rare_class_is_spread_over_the_folds() -> None:
    items = items_of([f"g{i}" for i in range(20)])
    pixels = np.zeros((20, 2))
    pixels[:, 0] = 100
    pixels[[3, 4, 5, 6, 7], 1] = 10
    chosen = assign(items, pixels, 5, 0)
    assert sorted(chosen[3:8].tolist()) == [0, 1, 2, 3, 4]
    assert np.bincount(chosen).tolist() == [4, 4, 4, 4, 4]


def test_as_even_as_the_best_of_all_ways() -> None:
    """Brute force over all ways to divide eight pictures into two folds of four."""
    from itertools import combinations

    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 50, (8, 3)).astype(float)
    shares = np.column_stack([pixels, np.ones(8)]) / np.append(pixels.sum(axis=0), 8)

    def cost(first: tuple[int, ...]) -> float:
        part = shares[list(first)].sum(axis=0)
        return float(2 * ((part - 0.5) ** 2).sum())

    costs = sorted(cost(first) for size in range(1, 8) for first in combinations(range(8), size))
    chosen = assign(items_of([f"g{i}" for i in range(8)]), pixels, 2, 0)
    assert cost(tuple(np.flatnonzero(chosen == 0).tolist())) <= costs[len(costs) // 20]


def test_every_picture_outside_test_is_held_out_once(tiny_data: Dataset) -> None:
    fold_of = folds_of(tiny_data, 4, seed=1)
    assert set(fold_of) == {item.name for item in tiny_data.items}
    seen = [item.name for fold in range(4) for item in held_out(tiny_data, fold_of, fold).of_split("val")]
    assert sorted(seen) == sorted(fold_of)
    assert len(held_out(tiny_data, fold_of, 0).of_split("train")) == 12
    assert fold_of == folds_of(tiny_data, 4, seed=1)


def test_more_folds_than_pictures_are_refused(tiny_data: Dataset) -> None:
    with pytest.raises(ConfigError, match="`folds` 17: .* has 16 pictures; use 2 to 16"):
        folds_of(tiny_data, 17)


def test_folds_of_other_data_are_refused(tiny_data: Dataset) -> None:
    with pytest.raises(DataError, match="has no picture elsewhere"):
        held_out(tiny_data, {"elsewhere": 0}, 0)


def test_folders_of_splits_are_no_sequences() -> None:
    """Numbered pictures in train/ and val/ once counted as two videos, so that only two folds were possible."""
    names = [f"images/{split}/{number:04}" for split in ("train", "val") for number in range(4)]

    def item(name: str, group: str) -> Item:
        return Item(name, Path(f"{name}.jpg"), FileLabels(Path(f"{name}.png")), "train", group)

    items = in_sequences([item(name, sequence_of(name)) for name in names])
    assert len({item.group for item in items}) == 8
    videos = [f"{split}/clip{clip}_{number:04}" for split in ("train", "val") for clip in "ab" for number in range(3)]
    items = in_sequences([item(name, "") for name in videos])
    assert {item.group for item in items} == {"clipa", "clipb"}
    own = in_sequences([item(name, f"patient {i // 2}") for i, name in enumerate(names)])
    assert [item.group for item in own] == [f"patient {i // 2}" for i in range(8)]


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(0, 3))
def test_halves_keep_sequences_and_the_order(groups: list[int], least: int) -> None:
    items = items_of([f"g{group}" if group else "" for group in groups])  # "": no sequence
    first, second = halves(items, least)
    assert sorted(first + second, key=items.index) == items
    assert [sorted(half, key=items.index) for half in (first, second)] == [first, second]
    shared = {item.group for item in first} & {item.group for item in second} - {""}
    if shared or min(len(first), len(second)) < least:  # cut by name
        assert abs(len(first) - len(second)) <= 1
    whole = halves(items)
    assert not {item.group for item in whole[0]} & {item.group for item in whole[1]} - {""}


def test_halves_by_hand() -> None:
    first, second = halves(items_of(["a", "b", "b", "c", "", ""]))
    assert ([i.name for i in first], [i.name for i in second]) == (["p1", "p2", "p4"], ["p0", "p3", "p5"])
    film = items_of(["a"] * 5)
    assert [len(half) for half in halves(film)] == [5, 0]
    assert [[i.name for i in half] for half in halves(film[::-1], 1)] == [["p1", "p0"], ["p4", "p3", "p2"]]


def test_a_sequence_may_be_called_like_a_picture() -> None:
    """A picture whose name was that of a sequence was put beside its frames: 3 and 1 in place of 2 and 2."""
    first, second = halves(items_of(["p2", "p2", "", ""]))
    assert [len(first), len(second)] == [2, 2]
