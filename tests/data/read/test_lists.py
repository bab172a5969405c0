from pathlib import Path

import pytest

from denselab.data.item import FileLabels, Item
from denselab.data.read.lists import apply_lists, find_lists, read_lines
from denselab.data.read.tree import read_tree
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


def test_unlisted_pictures_and_unknown_names_are_told():
    listed, notes = apply_lists(items("a", "b"), {"train": ["a", "zebra"]}, "train.txt")
    assert [item.name for item in listed] == ["a"]
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
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read as text"):
        read_lines(tmp_path / "train.txt")
