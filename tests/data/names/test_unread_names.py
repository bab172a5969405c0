"""Names of classes in forms that are not read: the file is named where the labels have no names."""

import numpy as np
import pytest

from denselab.data import open_dataset

MARKDOWN = "# Classes\n\n| id | class |\n|---|---|\n| 0 | road |\n| 1 | car |\n"
RESULTS = "| model | mIoU |\n|---|---|\n| U-Net | 71 |\n| DeepLab | 75 |\n"


@pytest.fixture
def unnamed(save, photo, tmp_path):
    """Three pictures with labels of numbers."""
    for i in range(3):
        save(f"images/{i}.png", photo(seed=i))
        save(f"labels/{i}.png", np.arange(48).reshape(6, 8) % 3)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.xlsx", "PK"),
        ("labels/Legend.XLS", "x"),
        ("README.md", MARKDOWN),
        ("mmseg/datasets/my.py", "class My(BaseSegDataset):\n    METAINFO = dict(\n        classes=('road', 'car'))\n"),
        ("labels/0.png.aux.xml", "<PAMDataset><CategoryNames><Category>road</Category></CategoryNames></PAMDataset>"),
        ("config.py", "class_names = ['road', 'car']\n"),
        ("README.md", MARKDOWN.replace("\n| ", "\n").replace(" |\n", "\n")),
        ("README.md", MARKDOWN.replace("1 |", "2 |").replace("0 |", "1 |")),
    ],
)
def test_the_file_is_named(unnamed, write, file, content):
    """The classes were called 0, 1 and 2 without a word of the table beside them."""
    write(file, content)
    (note,) = [note for note in open_dataset(unnamed).notes if "is not read" in note]
    assert note.startswith(f"no names of the classes: {file} is not read; where it tells them, write `labels:")


@pytest.mark.parametrize(
    ("file", "content"),
    [("README.md", RESULTS), ("README.md", "0, 1 | 2"), ("a/b/c/old.xlsx", "x"), ("README.md", "\0\ud800".encode("utf-16", "surrogatepass").hex())],
)  # fmt: skip
def test_other_files_are_not_named(unnamed, write, file, content):
    write(file, content)
    assert not [note for note in open_dataset(unnamed).notes if "is not read" in note]


@pytest.mark.parametrize("names", ["classes.txt", "data.yaml"])
def test_nor_where_there_are_names(unnamed, write, names):
    write("classes.xlsx", "x")
    write(names, "road\ncar\nsky\n" if names == "classes.txt" else "labels: [road, car, sky]\n")
    assert not [note for note in open_dataset(unnamed).notes if "is not read" in note]
