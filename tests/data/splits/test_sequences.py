"""Which pictures belong together by their names."""

from pathlib import Path

import pytest

from denselab.data.item import FileLabels, Item
from denselab.data.splits.sequences import case_of, class_folders, names_can_say, sequence_of, with_groups
from denselab.data.splits.split import decide_splits


def items(*names: str) -> list[Item]:
    return [Item(name, Path(f"{name}.png"), FileLabels(Path(f"{name}.png"))) for name in names]


def groups(*names: str) -> set[str]:
    return {item.group for item in with_groups(items(*names))}


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("0001TP_006690", "0001TP"),
        ("Seq05VD_f00000", "Seq05VD"),
        ("0006R0_f01290", "0006R0"),
        ("frame_000013", ""),
        ("clip1/00012", "clip1/"),
        ("frankfurt_000000_000294", "frankfurt_000000"),
        ("2007_000033", "2007_000033"),
        ("cat", "cat"),
        ("img_7", "img_7"),
        ("cat_jpg.rf.0a1b2c", "cat"),
        ("train/day1_mp4-0012_JPG.rf.0a1b2c", "train/day1_mp4"),
    ],
)
def test_sequence_of_names(name, sequence):
    assert sequence_of(name) == sequence


def test_copies_of_pictures_whose_numbers_do_not_follow():
    names = [f"photo_{n}_jpg.rf.{copy}" for n in (1000, 84000, 5120, 99100) for copy in "xy"]
    assert len({item.group for item in with_groups(items(*names))}) == 4


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"{clip}_{n}" for clip in ("clipA", "clipB") for n in range(1, 31)], {"clipA", "clipB"}),
        ([f"a{clip}_{n}" for clip in (1, 2) for n in range(1, 131)], {"a1", "a2"}),
        ([f"patient_{person:02}_{view}" for person in range(3) for view in range(2)], 3),
        ([f"case{case}/{n}" for case in range(3) for n in range(1, 9)], {"case0/", "case1/", "case2/"}),
        ([f"vol{volume}_z{n:02}" for volume in (1, 2) for n in range(9)], {"vol1", "vol2"}),
        ([f"img_{n:03}_patch_{k}" for n in range(4) for k in range(3)], 4),
        ([f"a{s}_x{x}_y{y}" for s in "bc" for x in (0, 256, 512) for y in (0, 256)], {"ab", "ac"}),
        ([f"a{s}_x{x}_y{y}" for s in "bc" for x in (0, 40, 80) for y in (0, 32)], {"ab", "ac"}),
        ([f"p{n}_{made}" for n in range(3) for made in ("aug1", "flip", "rot90")] + ["p0", "p1", "p2"], 3),
    ],
)
def test_frames_views_tiles_and_copies_stay_together(names: list[str], expected: set[str] | int) -> None:
    """Only numbers of three digits and more were running numbers: frames 1 to 99 of each clip were split one by one."""
    found = groups(*names)
    assert len(found) == expected if isinstance(expected, int) else found == expected


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{n}" for n in range(1, 151)],
        [str(n) for n in range(1, 151)],
        [f"images/{n}" for n in range(1, 51)],
        [f"{kind}_{n}" for kind in ("rust", "dent") for n in range(1, 9)],
        [f"scene_{n:02}" for n in range(1, 9)] + [f"street_{n:02}" for n in range(1, 9)],
        [f"2021-{month:02}-{day:02}" for month in (5, 6) for day in range(1, 9)],
        [f"tile_{x}_{y}" for x in (0, 512, 1024) for y in (0, 512, 1024)],
        [f"{n:02}_training" for n in range(21, 29)],
    ],
)
def test_pictures_that_stand_for_themselves(names: list[str]) -> None:
    """img_100 to img_150 were one video, and never in val, beside img_1 to img_99."""
    assert len(groups(*names)) == len(names)


def test_numbered_classes_are_shared_out() -> None:
    """class1/ ... class5/ were taken for five clips: val was all of one class and nothing of the others."""
    names = [f"class{kind}/{n:03}" for kind in range(1, 6) for n in range(10)]
    assert class_folders(items(*names)) == {f"class{kind}" for kind in range(1, 6)}
    decided, _ = decide_splits(items(*names), lambda item: {0: 5, 1: 1})
    assert {item.name.split("/")[0] for item in decided if item.split == "val"} == class_folders(items(*names))


def test_regions_of_a_slide_and_views_of_what_a_hash_numbers():
    assert sequence_of("s/slide A [d=2,x=0,y=512,w=512,h=512]") == "s/slide A"
    """Views of Carvana's cars were kept together where the hash ended in a digit."""
    names = [f"{car}_{view:02d}" for car in ("0cdf5b5d0ce1", "ff59b3a5373e") for view in (1, 2)]
    assert groups(*names) == {"0cdf5b5d0ce1", "ff59b3a5373e"}


def test_a_copy_whose_name_begins_with_how_it_was_made():
    """It had a group of its own, and stood in another split than its original; August is no way of making one."""
    names = ["x/pa", "x/aug_0_pa", "x/rot90_pa", "x/pb", "x/aug_12_day"]
    assert [item.group for item in with_groups(items(*names))] == ["x/pa"] * 3 + names[3:]


@pytest.mark.parametrize(
    ("names", "together"),
    [
        ([f"imgs/patient{p:03}_frame{f:02}_slice_{s}" for p in range(3) for f in (1, 12) for s in range(2)], 3),
        ([f"big{b}_r{r}_c{c}" for b in range(3) for r in range(2) for c in range(2)], 3),
        ([f"field_{b}_y{y}_x{x}" for b in "ab" for y in range(2) for x in range(2)], 2),
        ([f"scene{b}_{x}_{y}_{x + 80}_{y + 60}" for b in range(3) for x, y in ((0, 0), (120, 40))], 3),
        ([f"P{b:04}_{y}_{y + 96}_{x}_{x + 96}" for b in range(3) for x, y in ((0, 0), (120, 40))], 3),
        ([f"P{p:02}/s{s}" for p in range(4) for s in range(3)], 4),
        ([f"{i:06}_{side}" for i in range(4) for side in ("left", "right")], 4),
        ([f"place_{i:08}_{when}_disaster" for i in range(3) for when in ("pre", "post")], 3),
        (["images/oak", "images/elm", *(f"augmented/{tree}_{n}" for tree in ("oak", "elm") for n in range(3))], 2),
        ([f"set{p}/{name}" for p in (1, 2, 3) for name in (f"a{p}x", f"b{p}x")], 6),  # the names count no slices
        ([f"class{p}/s{s}" for p in range(4) for s in range(3)], 12),
        (["rust", *(f"rust_{n}" for n in (3, 50, 20))], 4),  # one name of many pictures
        ([f"x_left_{name}" for name in ("oak", "elm")], 2),
    ],
)
def test_what_more_stays_together(names, together):
    """Slices of patients, tiles, crops, views of one thing and copies went to train and to val when val was drawn."""
    assert len(groups(*names)) == together


def test_clips_of_a_video_are_one_case():
    """CholecSeg8k: video01/video01_00080 and video01/video01_00160 are one operation."""
    names = [f"video{v:02}/video{v:02}_{clip:05}/frame_{clip}_endo" for v in (1, 2, 3) for clip in (80, 160)]
    assert [case_of(name) for name in names] == [name.split("/")[0] for name in names]
    assert case_of("set/P01/t1") == "set/P01"


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["v1/frame_080_endo", "v1/frame_081_endo", "v2/frame_080_endo", "v2/frame_081_endo"], 2),  # CholecSeg8k
        (["10452_sat_00", "10452_sat_01", "117991_sat_00", "117991_sat_01"], 2),
        (["patch_1_1_by_1_LC08_a", "patch_2_1_by_2_LC08_a", "patch_1_1_by_1_LC08_b", "patch_2_1_by_2_LC08_b"], 2),
        (["Image_01L", "Image_01R", "Image_02L", "Image_02R"], 2),  # CHASE_DB1
        (["2020_photo_01", "2020_photo_02", "2021_photo_01", "2021_photo_02"], 4),
        (["001_image", "002_image", "003_image", "004_image"], 4),
    ],
)
def test_what_belongs_together_in_public_sets(names, groups):
    """Frames whose names go on behind the number, patches of a scene, patches whose place stands before it, eyes."""
    items = [Item(name, Path(f"{name}.png"), FileLabels(Path(f"{name}.png"))) for name in names]
    found = [item.group for item in with_groups(items)]
    assert len(set(found)) == groups
    assert all(group in names_can_say(name) for name, group in zip(names, found, strict=True))


def test_pictures_of_one_label_file_stay_together():
    """Exposures of a scene, paired with its mask by pairs.csv: two trained, and the third was in val."""
    scenes = [("a_ev0", "a"), ("a_ev-2", "a"), ("b_ev0", "b"), ("b_ev-2", "b"), ("c_ev0", "c")]
    shared = [Item(name, Path(f"{name}.jpg"), FileLabels(Path(f"{mask}.png"))) for name, mask in scenes]
    assert [item.group[0] for item in with_groups(shared)] == ["a", "a", "b", "b", "c"]
    assert len({item.group for item in with_groups(shared)}) == 3


def test_a_folder_that_its_pictures_are_called_by_is_a_case():
    """MARIDA's patches S2_SCENE/S2_SCENE_0.tif: patches of a scene were torn, as no name counted anew."""
    scenes = ("S2_1-12-19_48MYU", "S2_4-9-16_16PCC", "S2_12-1-17_16PEC")
    assert groups(*(f"{scene}/{scene}_{n}" for scene in scenes for n in range(3))) == set(scenes)


def test_pictures_called_by_the_moment_belong_to_their_drive():
    """ApolloScape: each stood on its own, and the other camera's picture of the same moment was on the other side."""
    cameras = [
        f"{r}/Camera {c}/170927_0638{m}0_Camera_{c}"
        for r in ("Record1", "Record2", "Record3")
        for c in (5, 6)
        for m in (1118, 1205)
    ]
    assert groups(*cameras) == {"Record1", "Record2", "Record3"}
    assert names_can_say(cameras[0]) >= {"Record1"}
    clocks = [f"images/run{r}/2024-03-01T10-0{m}-17" for r in (1, 2, 3) for m in (1, 2, 3)]
    assert groups(*clocks) == {"images/run1", "images/run2", "images/run3"}
    phone = [f"photos/IMG-20240301-1015{s}" for s in (10, 25, 40)]
    assert groups(*phone) == set(phone), "one folder of photographs is no drive"


@pytest.mark.parametrize("copy", ["{}_flip", "{}", "{}_jpg.rf.0a1b2c"])
def test_copies_in_a_folder_of_their_own_stay_with_their_picture(copy):
    """images_aug/5_flip trained, while images/5 was validated on."""
    names = [f"images/p{letter}" for letter in "abcd"]
    copies = [f"images_aug/{copy.format(f'p{letter}')}" for letter in "abcd"]
    assert [item.group for item in with_groups(items(*names, *copies))] == names * 2


def test_copies_whose_picture_is_in_two_folders_stand_where_they_are():
    names = ["a/p1", "b/p1", "a/p2", "b/p2", "c/p1_flip"]
    assert [item.group for item in with_groups(items(*names))][-1] == "c/p1"


def test_a_thing_that_was_looked_at_on_several_days_is_one():
    """plantA/day1 trained, and plantA/day2 was validated on."""
    plants = [f"plant{letter}/day{day}/rgb" for letter in "ABCD" for day in (1, 2)]
    assert groups(*plants) == {f"plant{letter}" for letter in "ABCD"}
    assert groups("day1/a", "day1/b", "day2/a", "day2/b", "day3/a", "day3/b") == {"day1", "day2", "day3"}


@pytest.mark.parametrize(
    ("names", "things"),
    [
        ([f"leaf{n}_{zoom}x" for n in range(1, 5) for zoom in (10, 40)], [f"leaf{n}" for n in range(1, 5)]),
        (
            [f"field{n}_2020-0{month}-01" for n in (12, 13, 14) for month in (5, 6, 7)],
            ["field12", "field13", "field14"],
        ),
        ([f"{well}_s{site}_w1" for well in ("A01", "A02", "B07") for site in (1, 2, 3)], ["A01", "A02", "B07"]),
        ([f"img{n}{way}" for n in range(1, 5) for way in ("", "_noise", "_blur")], [f"img{n}" for n in range(1, 5)]),
        ([f"object{n}{view}" for n in (1, 2, 3) for view in "ab"], ["object1", "object2", "object3"]),
        ([f"{n}_{eye}" for n in (101, 102, 103) for eye in ("OD", "OS")], ["101", "102", "103"]),
        ([f"GH0{n}_{second}.5s" for n in (1, 2, 3) for second in (10, 12)], ["GH01", "GH02", "GH03"]),
    ],
)
def test_things_that_are_seen_in_the_same_few_ways(names, things):
    """Each picture stood on its own: leaf1 at 40x was validated on, at 10x it trained."""
    assert groups(*names) == set(things)


@pytest.mark.parametrize(
    "names",
    [
        [f"{kind}_a{n}" for kind in ("crack", "rust", "hole") for n in (1, 2, 3)],  # no number: a class
        [f"class{kind}_{letter}x" for kind in (1, 2, 3) for letter in "ab"],
        [f"K{kind}_{letter}{letter}" for kind in (1, 2, 3) for letter in "abcdef"],  # more ways than things
        ["leaf1_10x", "leaf2_10x", "leaf3_10x", "leaf4_40x"],  # each once
    ],
)
def test_classes_and_mere_numbers_are_no_things(names):
    assert groups(*names) == set(names)
