"""Which names the ids of a data set get: from JSON and csv files, in the root or beside each split."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.read.name_json import names_of_json
from denselab.errors import DataError

IDS = np.array([[0, 1, 2, 2]] * 4, np.uint8)


@pytest.fixture
def splits(save, photo):
    """Two splits with a picture and its mask, of the ids 0, 1, 2."""
    for number, split in enumerate(("train", "valid")):
        save(f"{split}/{split}.jpg", photo(4, 4, number))
        save(f"{split}/{split}_mask.png", IDS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", {"name": "x", "labels": {"background": 0, "pothole": 1, "manhole": 2}}),
        ("dataset.json", {"labels": {"0": "background", "1": "pothole", "2": "manhole"}}),
        ("id2label.json", {"0": "background", "1": "pothole", "2": "manhole"}),
        ("classes.json", ["background", "pothole", "manhole"]),
        ("classes.json", {"label_to_id": {"background": 0, "pothole": 1, "manhole": 2}}),
        ("classes.json", [{"id": 2, "name": "manhole"}, {"id": 1, "name": "pothole"}, {"id": 0, "name": "background"}]),
    ],
)
@pytest.mark.usefixtures("splits")
def test_names_from_json(write, tmp_path, name, content):
    write(name, json.dumps(content))
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "pothole", "manhole")
    assert f"class names from {name}" in data.notes


@pytest.mark.parametrize(
    "content", [{"labels": {"whole": [1, 2]}}, {"images": [1]}, {"version": 2}, ["a.png"], "x", {"labels": None}]
)
def test_json_of_other_things_has_no_names(write, content):
    assert names_of_json(write("dataset.json", json.dumps(content))) == {}


def test_two_names_of_one_id_are_refused(write):
    with pytest.raises(DataError, match=r"classes\.json: id 1 has the names car and road"):
        names_of_json(write("classes.json", '{"road": 1, "car": 1}'))


@pytest.mark.usefixtures("splits")
def test_names_of_roboflow_stand_in_each_split(write, tmp_path):
    """_classes.csv was not read: the classes were called class 0, class 1, class 2."""
    for split in ("train", "valid"):
        write(f"{split}/_classes.csv", "Pixel Value, Class\n0, background\n1, pothole\n2, manhole\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "pothole", "manhole")


@pytest.mark.usefixtures("splits")
def test_names_that_differ_between_splits_are_refused_with_both_tables(write, tmp_path):
    write("train/classes.json", '["background", "pothole", "manhole"]')
    write("valid/classes.json", '["background", "manhole", "pothole"]')
    with pytest.raises(
        DataError, match=r"0 background, 1 pothole, 2 manhole; valid/classes\.json: 0 background, 1 man"
    ):
        open_dataset(tmp_path)


@pytest.mark.usefixtures("splits")
def test_a_pixel_value_twice_is_refused(write, tmp_path):
    write("_classes.csv", "Pixel Value, Class\n0, background\n1, pothole\n1, manhole\n")
    with pytest.raises(DataError, match=r"_classes\.csv: pixel value 1 is listed twice"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("crack\n", ("background", "crack")),
        ("0: intact\n1: crack\n255: ignore\n", ("intact", "crack")),
        ("1: crack\n", ("background", "crack")),
        ("255: crack\n", ("background", "crack")),
        ("background\n", ("background", "foreground")),
    ],
)
def test_two_valued_masks_have_the_names_that_are_given(save, photo, write, tmp_path, lines, names):
    """One name, or two beside ignore, were dropped: `class 0` and `class 255`."""
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8) * 255)
    write("classes.txt", lines)
    write("data.yaml", "encoding: two-valued\n")
    assert open_dataset(tmp_path).label_space.names == names


def test_one_name_for_the_values_0_and_1_is_that_of_1(save, photo, write, tmp_path):
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8))
    write("classes.txt", "crack\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "crack")


def test_more_than_two_names_of_two_valued_masks_are_refused(save, photo, write, tmp_path):
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8) * 255)
    write("classes.txt", "a\nb\nc\n")
    write("data.yaml", "encoding: two-valued\n")
    with pytest.raises(DataError, match=r"two-valued masks show two classes, but 3 have names \(a, b, c\)"):
        open_dataset(tmp_path)
