from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.data.item import FileLabels, Item
from denselab.data.splits.likenesses import Alike, joined_groups
from denselab.data.splits.split import decide_splits


def items(*names: str, split: str | None = None) -> list[Item]:
    return [Item(name, Path(f"{name}.png"), FileLabels(Path(f"{name}.png")), split) for name in names]


def nothing_known(item: Item) -> dict[int, int]:
    return {}


def test_given_splits_are_kept():
    given_items = [*items("a", "b", split="train"), *items("c", split="val"), *items("d", split="test")]
    decided, notes = decide_splits(given_items, nothing_known)
    assert [item.split for item in decided] == ["train", "train", "val", "test"]
    assert notes == ()


def test_train_and_test_given_val_is_drawn_from_train():
    decided, notes = decide_splits(
        [*items(*"abcdefghij", split="train"), *items("x", "y", split="test")], nothing_known
    )
    assert [item.name for item in decided if item.split == "test"] == ["x", "y"]
    assert sum(item.split == "val" for item in decided) == 2
    assert "test kept apart" in notes[0]


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_held_out_is_never_trained_on(split):
    """A folder with test/ alone was taken as one pool: its pictures were trained on."""
    decided, notes = decide_splits(items(*"abcdefghij", split=split), nothing_known)
    assert {item.split for item in decided} == {split}
    assert f"every picture is named {split}" in notes[0]
    assert "`splits: {train: all}`" in notes[0]


def test_val_and_test_given_without_train_stay():
    decided, notes = decide_splits([*items("a", "b", split="val"), *items("c", split="test")], nothing_known)
    assert [item.split for item in decided] == ["val", "val", "test"]
    assert "test or val" in notes[0]


@pytest.mark.parametrize("also", [(), ("test",), ("train",), ("train", "test")])
def test_the_rest_beside_val_trains(also):
    named = [*items("v", split="val"), *(item for split in also for item in items(f"in {split}", split=split))]
    decided, notes = decide_splits([*named, *items("x", "y", "z")], nothing_known)
    assert [item.split for item in decided] == ["val", *also, "train", "train", "train"]
    assert notes == ("3 pictures that no split names: train",)


def test_the_rest_beside_a_lone_test_is_divided():
    decided, notes = decide_splits([*items("t", split="test"), *items(*"abcdefghij")], nothing_known)
    assert decided[0].split == "test"
    assert sorted(str(item.split) for item in decided[1:]) == ["train"] * 8 + ["val"] * 2
    assert "test given, kept apart" in notes[0]


def test_val_is_drawn_from_a_lone_train():
    decided, notes = decide_splits(items(*"abcdefghij", split="train"), nothing_known)
    assert sum(item.split == "val" for item in decided) == 2
    assert "only train given" in notes[0]


def test_one_picture_can_only_be_evaluated():
    decided, notes = decide_splits(items("a"), nothing_known)
    assert [item.split for item in decided] == ["val"]
    assert "only one picture" in notes[0]


def test_same_seed_same_split_other_seed_other_split():
    names = [f"p{i:02d}" for i in range(40)]
    first, again, other = (decide_splits(items(*names), nothing_known, seed=seed)[0] for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_rare_class_is_in_both_parts():
    """Two of 30 pictures hold class 9; one must be in train, one in val, whatever the seed."""
    names = [f"p{i:02d}" for i in range(30)]
    rare = {"p03", "p27"}
    for seed in range(5):
        decided, _ = decide_splits(items(*names), lambda item: {0: 5, 9: 1} if item.name in rare else {0: 5}, seed=seed)
        assert {item.split for item in decided if item.name in rare} == {"train", "val"}


def test_the_only_picture_of_a_class_trains():
    for seed in range(5):
        decided, _ = decide_splits(items(*"abcdefgh"), lambda item: {1: 1} if item.name == "c" else {0: 1}, seed=seed)
        assert next(item.split for item in decided if item.name == "c") == "train"


def test_sequences_are_kept_together():
    names = [f"seq{s}_{f:05d}" for s in range(10) for f in range(7)]
    decided, notes = decide_splits(items(*names), lambda item: {0: 1, 1: 1})
    by_group: dict[str, set[str]] = {}
    for item in decided:
        by_group.setdefault(item.group, set()).add(str(item.split))
    assert len(by_group) == 10
    assert all(len(splits) == 1 for splits in by_group.values())
    assert sum(item.split == "val" for item in decided) == 14
    assert "sequences kept together" in notes[0]


def test_numbered_pictures_with_one_stem_are_not_one_sequence():
    decided, notes = decide_splits(items(*(f"img_{i:04d}" for i in range(20))), nothing_known)
    assert sum(item.split == "val" for item in decided) == 4
    assert "each picture on its own" in notes[0]


def test_sequences_that_are_really_classes_are_split_by_picture():
    """cat_0001.., dog_0001..: keeping the "sequences" together would leave train without dogs."""
    names = [f"{kind}_{i:04d}" for kind in ("cat", "dog") for i in range(10)]
    decided, notes = decide_splits(items(*names), lambda item: {1 if "cat" in item.name else 2: 1})
    assert {item.name[:3] for item in decided if item.split == "train"} == {"cat", "dog"}
    assert {item.name[:3] for item in decided if item.split == "val"} == {"cat", "dog"}
    assert "single pictures" in notes[0]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sets(st.integers(0, 4))), min_size=2, max_size=40),
    st.floats(0.05, 0.6),
    st.integers(0, 100),
)
def test_every_picture_is_in_exactly_one_of_two_parts(pictures, fraction, seed):
    names = [f"s{sequence}_{position:04d}" for position, (sequence, _) in enumerate(pictures)]
    content = dict(zip(names, (ids for _, ids in pictures), strict=True))
    decided, _ = decide_splits(items(*names), lambda item: dict.fromkeys(content[item.name], 1), fraction, seed)
    assert [item.name for item in decided] == names
    assert {item.split for item in decided} == {"train", "val"}


def test_scattered_numbers_are_no_video():
    """exp1_num_108719: whole experiments went to val, because the numbers looked like those of frames."""
    numbers = [108719, 240011, 4471, 731005, 660128, 90210]
    named = items(*(f"exp{e}_num_{n + e:06}" for e in (1, 2) for n in numbers))
    decided, notes = decide_splits(named, nothing_known)
    assert len({item.group for item in decided}) == 12
    assert "each picture on its own" in notes[0]


@pytest.mark.parametrize("step", [1, 30, 400])
def test_numbers_that_follow_each_other_are_a_video(step):
    named = items(*(f"{clip}_{n * step:06}" for clip in ("a1", "b2", "c3", "d4", "e5") for n in range(4)))
    decided, _ = decide_splits(named, nothing_known)
    assert len({item.group for item in decided}) == 5


def test_folders_of_a_class_are_shared_out():
    """images/rust/001 was taken for a frame of the clip images/rust: the whole class went to val."""
    kinds = ("rust", "scratch", "good")
    decided, _ = decide_splits(items(*(f"images/{kind}/{n:03}" for kind in kinds for n in range(10))), nothing_known)
    held = [item.name.split("/")[1] for item in decided if item.split == "val"]
    assert {kind: held.count(kind) for kind in kinds} == dict.fromkeys(kinds, 2)


@pytest.mark.parametrize("folders", [("clip1", "clip2", "clip3"), ("seq", "video", "night")])
def test_folders_of_clips_stay_whole(folders):
    decided, _ = decide_splits(items(*(f"{folder}/{n:05}" for folder in folders for n in range(4))), nothing_known)
    assert len({item.group for item in decided}) == 3


def test_pictures_of_one_scene_stay_together():
    pairs = [Alike(0, 7, 3), Alike(7, 3, 5), Alike(1, 9, 0)]
    for seed in range(5):
        decided, notes = decide_splits(items(*"abcdefghij"), nothing_known, seed=seed, find_alike=lambda _: pairs)
        split = {item.name: item.split for item in decided}
        assert split["a"] == split["h"] == split["d"]
        assert split["b"] == split["j"]
        assert "3 pairs of pictures that look alike kept together" in notes[0]


def test_joined_groups():
    assert joined_groups(["a", "b", "c", "d"], [Alike(3, 2, 0), Alike(1, 2, 0)]) == ["a", "b", "b", "b"]


def test_three_scans_of_four_tiles_are_not_torn():
    """Two of twelve pictures were wanted, and no scan comes nearer to that than none: its tiles were drawn one by one."""
    names = [f"{scan}_x{x}_y{y}" for scan in ("scanA", "scanB", "scanC") for x in (0, 40) for y in (0, 32)]
    decided, notes = decide_splits(items(*names), nothing_known)
    held_out = {item.name[:5] for item in decided if item.split == "val"}
    assert len(held_out) == 1
    assert sum(item.split == "val" for item in decided) == 4
    assert "sequences kept together" in notes[-1]
    assert all(item.split for item in decide_splits(items(*names[:8]), nothing_known)[0]), "one of two is too much"


def test_augmented_copies_of_one_picture_stay_together():
    """Roboflow writes three copies of each picture into train/: val was drawn from them one by one."""
    names = [f"train/photo{n}_jpg.rf.{copy}" for n in "abcdefgh" for copy in ("0a", "1b", "2c")]
    decided, _ = decide_splits(items(*names), nothing_known)
    val = {item.name.split("_")[0] for item in decided if item.split == "val"}
    assert val
    assert val.isdisjoint(item.name.split("_")[0] for item in decided if item.split == "train")
