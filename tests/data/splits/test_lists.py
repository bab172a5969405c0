from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from denselab.data import open_dataset
from denselab.data.folders.told_pairs import _files
from denselab.data.item import LEFT_OUT, FileLabels, Item
from denselab.data.listing.tree import read_tree
from denselab.data.splits.lists import (
    ALL,
    LONGEST_NAME,
    apply_lists,
    find_lists,
    lists_that_fit,
    positions_of,
    read_lines,
    read_list,
)
from denselab.errors import DataError


def items(*names: str) -> list[Item]:
    return [Item(name, Path(f"{name}.png"), FileLabels(Path(f"{name}.png"))) for name in names]


def test_names_with_and_without_folder_and_suffix():
    listed, _ = apply_lists(
        items("imgs/00_img", "imgs/01_img", "imgs/02_img"), {"train": ["00", "imgs/01_img.jpg"], "val": ["02_img"]}, "x"
    )
    assert {item.name: item.split for item in listed} == {
        "imgs/00_img": "train",
        "imgs/01_img": "train",
        "imgs/02_img": "val",
    }


def test_a_name_that_a_table_of_ours_guards_is_known():
    """folds.csv of `denselab compare` names =a as '=a; a picture that is really called so comes first."""
    listed, _ = apply_lists(items("=a", "b"), {"train": ["'=a"], "val": ["b"]}, "folds.csv")
    assert [item.split for item in listed] == ["train", "val"]
    listed, _ = apply_lists(items("=a", "'=a"), {"train": ["'=a"], "val": ["=a"]}, "folds.csv")
    assert [item.split for item in listed] == ["val", "train"]


def test_unlisted_pictures_and_unknown_names_are_told():
    listed, notes = apply_lists(items("a", "b"), {"train": ["a", "zebra"]}, "train.txt")
    assert [(item.name, item.split) for item in listed] == [("a", "train"), ("b", LEFT_OUT)]
    assert any("zebra" in note for note in notes)
    assert any("1 picture in no list" in note and "b" in note for note in notes)


def test_a_name_in_two_lists_is_a_leak():
    with pytest.raises(DataError, match="'a' stands in both train and val"):
        apply_lists(items("a", "b"), {"train": ["a"], "val": ["a"]}, "lists")


def test_lists_that_name_nothing_here():
    with pytest.raises(DataError, match=r"train\.txt: none of its names \(x\) is a picture"):
        apply_lists(items("a"), {"train": ["x"]}, "train.txt")


@pytest.mark.parametrize("folder", ["", "splits/", "ImageSets/Segmentation/"])
def test_lists_are_found(tmp_path, write, folder):
    write(f"{folder}train.txt", "a\n")
    write(f"{folder}val.txt", "b\n")
    write("notes/test.txt", "c\n")
    assert set(find_lists(read_tree(tmp_path))) == {"train", "val"}


def test_empty_lists_do_not_count(tmp_path, write):
    write("train.txt", "\n# nothing\n")
    assert find_lists(read_tree(tmp_path)) == {}


def test_binary_list_is_named(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\x00\x01")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read as text"):
        read_lines(tmp_path / "train.txt")


def test_who_is_not_held_out_is_left_open():
    """valid.txt alone, as fastai's CamVid has it: the other pictures were left out, and the three of it divided."""
    listed, notes = apply_lists(items("a", "b"), {"val": ["a"]}, "valid.txt")
    assert [item.split for item in listed] == ["val", None]
    assert notes == ("split from valid.txt",)


def test_all_is_what_no_other_list_names():
    listed, _ = apply_lists(items("a", "b", "c"), {"test": ALL, "val": ["a"]}, "data.yaml")
    assert [item.split for item in listed] == ["val", "test", "test"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_list.txt", "train"), ("valid.txt", "val"), ("list_val.lst", "val"), ("test_files.txt", "test"),
        ("val.csv", "val"), ("train_images.csv", "train"), ("trainaug.txt", "train"), ("train_aug.txt", "train"),
        ("trainval.txt", None), ("train_labels.csv", None), ("class_train_names2.txt", None), ("labels.txt", None),
    ],
)  # fmt: skip
def test_names_of_lists(tmp_path, write, name, split):
    write(name, "a\nb\n")
    assert set(find_lists(read_tree(tmp_path))) == ({split} if split else set())


def test_the_augmented_list_counts_where_its_labels_are_there(tmp_path, write):
    """VOC's trainaug names 10,582 pictures; without SBD's labels most of it names nothing, and train.txt is meant."""
    write("train.txt", "a\n")
    write("trainaug.txt", "a\nb\nc\nd\n")
    lists = find_lists(read_tree(tmp_path))
    assert lists_that_fit(items(*"abcd"), lists)["train"].name == "trainaug.txt"
    assert lists_that_fit(items("a"), lists)["train"].name == "train.txt"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("img,label\na.jpg,a.png\n", ["a.jpg\ta.png"]),
        ("a.jpg;a.png\nb.jpg;b.png\n", ["a.jpg\ta.png", "b.jpg\tb.png"]),
        ("id,filename\n7,a.jpg\n", ["7\ta.jpg"]),
        ("ImageId,EncodedPixels\na.jpg,1 3\n", []),
        ("filename,xmin,class\na.jpg,1,dog\n", []),
    ],
)
def test_csv_lists(tmp_path, write, text, names):
    assert read_list(write("train.csv", text)) == names


def test_any_column_may_name_the_picture():
    listed, notes = apply_lists(items("imgs/a", "imgs/b"), {"val": ["7\tb.jpg\tb.png"]}, "val.csv")
    assert [item.split for item in listed] == [None, "val"]
    assert notes == ("split from val.csv",)


def test_a_test_folder_beside_lists_of_train_and_val_stays():
    """Lists that divide train/ say nothing of test/: its pictures were left out."""
    folder = [replace(item, split="test") for item in items("test/a", "test/b")]
    listed, _ = apply_lists([*items("x", "y", "z"), *folder], {"train": ["x"], "val": ["y"]}, "train.txt, val.txt")
    assert [item.split for item in listed] == ["train", "val", LEFT_OUT, "test", "test"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["p0", "p1", "p2"], "P1.PNG"),  # Windows does not tell them apart
        (["e\u0301a", "e\u0301b", "e\u0301c"], "\u00e9b.png"),  # macOS has two characters for an accent
        (["p0", "p1", "p2"], '"p1.png",'),
        (["my photo", "his photo", "her photo"], "his%20photo.png"),
    ],
)
def test_names_that_another_system_wrote(save, photo, write, tmp_path, files, named):
    """A picture that val.txt named in other capitals was trained on."""
    for number, name in enumerate(files):
        save(f"images/{name}.png", photo(6, 8, number))
        save(f"masks/{name}.png", [[0, 1]])
    write("val.txt", f"{named}\n")
    assert [item.name for item in open_dataset(tmp_path).of_split("val")] == [f"images/{files[1]}"]


def test_equal_letters_come_first(save, photo, write, tmp_path):
    for number, name in enumerate(("a", "A", "b")):
        save(f"images/{name}.png", photo(6, 8, number))
        save(f"masks/{name}.png", [[0, 1]])
    write("val.txt", "A.png\n")
    assert [item.name for item in open_dataset(tmp_path).of_split("val")] == ["images/A"]


def test_a_list_in_utf_16(save, photo, write, tmp_path):
    """PowerShell writes it: "'utf-8' codec can't decode byte 0xff"."""
    for number in range(3):
        save(f"images/p{number}.png", photo(6, 8, number))
        save(f"masks/p{number}.png", [[0, 1]])
    (tmp_path / "val.txt").write_text("p1.png\r\n", encoding="utf-16")
    assert [item.name for item in open_dataset(tmp_path).of_split("val")] == ["images/p1"]


def test_a_list_of_folders_names_all_in_them():
    """VSPW, DAVIS: train.txt has the names of videos. "None of its names is a picture" was said."""
    frames = items("data/v1/origin/0", "data/v1/origin/1", "data/v2/origin/0", "data/v3/origin/0")
    listed, notes = apply_lists(frames, {"train": ["v1", "v4"], "val": ["data/v2"]}, "lists")
    assert [item.split for item in listed] == ["train", "train", "val", LEFT_OUT]
    assert any("1 name without a labelled picture: v4" in note for note in notes)
    with pytest.raises(DataError, match="'v1' stands in both train and val"):
        apply_lists(frames, {"train": ["data/v1/origin/0"], "val": ["v1"]}, "lists")


def test_a_row_of_several_columns_names_no_folder():
    """VisA: candle, normal, a picture without a label. It is not all of candle."""
    named = {"train": ["candle\tnormal\t9.jpg"], "test": ["candle/0"]}
    listed, _ = apply_lists(items("candle/0", "candle/1"), named, "x")
    assert [item.split for item in listed] == ["test", LEFT_OUT]


def test_numbers_are_known_without_their_zeros():
    """CWFID: train: [1, 2] for 001_image and 002_image."""
    listed, _ = apply_lists(items("001_image", "002_image", "010_image"), {"train": ["1", "10"], "test": ["2"]}, "x")
    assert [item.split for item in listed] == ["train", "test", "train"]


class Asked(dict):
    """A dict that knows what it was asked for."""

    def __init__(self):
        super().__init__()
        self.longest = 0

    def get(self, key, default=None):
        self.longest = max(self.longest, len(key))
        return super().get(key, default)


@pytest.mark.parametrize(
    "ask", [lambda text, keys: positions_of([text], keys), lambda text, keys: _files(text, keys, PurePosixPath("."))]
)
def test_a_cell_that_is_longer_than_any_path_is_no_name(ask):
    """Each "/" of a cell of 10 MB was taken for the end of a folder: a data set did not open within ten minutes."""
    keys = Asked()
    assert not ask("1 2 3/4,a\t" + "1 2 3/4,a " * 1000, keys)
    assert keys.longest <= LONGEST_NAME
    assert not ask("folder/name", keys)
    assert keys.longest > 0


def test_names_without_what_all_pictures_begin_with():
    """MARIDA's splits/train_X.txt leaves out the S2_ of all pictures: the lists were passed over without a word."""
    pictures = items("p/S2_1-12-19_48MYU_0", "p/S2_4-9-16_16PCC_0", "p/S2_4-9-16_16PCC_1")
    listed, _ = apply_lists(pictures, {"train": ["1-12-19_48MYU_0"], "test": ["4-9-16_16PCC_0", "4-9-16_16PCC_1"]}, "x")
    assert [item.split for item in listed] == ["train", "test", "test"]


def test_lists_of_other_names_are_told(save, photo, write, tmp_path):
    for number in range(3):
        save(f"images/a{number}.jpg", photo(1, 3, number))
        save(f"masks/a{number}.png", [[0, 1, 2]])
    write("splits/train_X.txt", "scene_1\nscene_2\n")
    assert "splits/train_X.txt: no picture is called as its names are (scene_1, scene_2)" in str(
        open_dataset(tmp_path).notes
    )


def test_the_number_of_a_row_is_no_name(save, photo, write, tmp_path):
    """pandas writes the numbers of the rows into the first column, and img_0 was the picture of row 0."""
    for number in range(4):
        save(f"images/img_{number}.jpg", photo(1, 3, number))
        save(f"masks/img_{number}.png", [[0, 1, 2]])
    write("splits.csv", ",image,split\n0,img_3.jpg,train\n1,img_2.jpg,train\n2,img_1.jpg,val\n3,img_0.jpg,test\n")
    assert [item.split for item in open_dataset(tmp_path).items] == ["test", "val", "train", "train"]
