"""Which names the ids of a data set get: from JSON and csv files, in the root or beside each split."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.listing.tree import read_tree
from denselab.data.names.name_json import names_of_json
from denselab.data.names.names import read_names
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


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("33_labels.txt", "0: background\n1: pothole\n2: manhole\n"),
        ("label_class_dict.csv", "name,r,g,b\nbackground,0,0,0\npothole,255,0,0\nmanhole,0,0,255\n"),
        ("class_to_idx.json", json.dumps({"background": 0, "pothole": 1, "manhole": 2})),
        ("metadata/id2label.json", json.dumps({"0": "background", "1": "pothole", "2": "manhole"})),
        ("obj_class_to_machine_color.json", json.dumps({"pothole": [1, 1, 1], "manhole": [2, 2, 2]})),
    ],
)
def test_names_files_of_other_tools(write, tmp_path, name, text):
    """All of them were there, and "nothing says what the ids mean" was told."""
    write(name, text)
    assert open_dataset(tmp_path).label_space.names == ("background", "pothole", "manhole")


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("image_labels.txt", "train.jpg 1\nvalid.jpg 2\n"),
        ("image_class_labels.txt", "1 1\n2 2\n3 1\n"),
        ("valid_labels.txt", "road\ncar\nsky\n"),
        ("image_labels.csv", "image,finding\ntrain.jpg,road\nvalid.jpg,car\n"),
    ],
)
def test_lists_of_pictures_are_no_names(write, tmp_path, name, text):
    write(name, text)
    assert open_dataset(tmp_path).label_space.names == ("class 0", "class 1", "class 2")


@pytest.mark.usefixtures("splits")
def test_two_files_that_number_the_names_otherwise_are_asked_about(write, tmp_path):
    """The first one was taken, and the other not mentioned."""
    write("classes.txt", "pothole\nmanhole\nrail\n")
    write("id2label.json", json.dumps({"0": "ground", "1": "Pothole", "2": "Manhole"}))
    with pytest.raises(DataError, match=r"classes\.txt says 0 pothole.*but id2label\.json says 0 ground"):
        open_dataset(tmp_path)
    write("classes.txt", "ground\npothole\nmanhole\n")
    assert open_dataset(tmp_path).label_space.names == ("ground", "pothole", "manhole")


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize("other", [["Rust", "rust", "ground"], ["rust", "Rust", "ground"]])
def test_names_that_differ_in_capitals_alone_are_two_in_two_files(write, tmp_path, other):
    """The numbers of `Rust` and `rust` were compared as those of one class: files that agree, too, could differ."""
    write("classes.txt", "Rust\nrust\nground\n")
    write("id2label.json", json.dumps({str(i): name for i, name in enumerate(other)}))
    if other[0] == "Rust":
        assert open_dataset(tmp_path).label_space.names == ("Rust", "rust", "ground")
    else:
        with pytest.raises(DataError, match=r"classes\.txt says 0 Rust.*but id2label\.json says 0 rust"):
            open_dataset(tmp_path)


@pytest.mark.usefixtures("splits")
def test_one_of_two_names_that_differ_in_capitals_alone_is_enough(write, tmp_path):
    """A second file with one of both was taken for one that numbers it otherwise."""
    write("classes.txt", "Rust\nrust\nground\n")
    write("label_map.json", json.dumps({"0": "Rust", "2": "ground"}))
    assert open_dataset(tmp_path).label_space.names == ("Rust", "rust", "ground")


def test_names_above_the_data_set_count(save, photo, write, tmp_path):
    """Supervisely's masks lie in a folder of their own below the names."""
    for name in "ab":
        save(f"ds/img/{name}.png", photo(4, 4))
        save(f"ds/masks_machine/{name}.png", IDS)
    write("classes.txt", "background\npothole\nmanhole\n")
    data = open_dataset(tmp_path)
    assert data.root == tmp_path / "ds"
    assert data.label_space.names == ("background", "pothole", "manhole")


@pytest.fixture
def coloured(save, photo):
    for name in "ab":
        save(f"images/{name}.png", photo(4, 4))
        save(f"labels/{name}.png", np.stack([IDS * 100, IDS * 0, IDS * 0], axis=-1))


@pytest.mark.usefixtures("coloured")
def test_one_colour_of_two_classes_is_asked_about(write, tmp_path):
    """The last of the two had all pixels, and the first none."""
    write("class_dict.csv", "name,r,g,b\nground,0,0,0\ncar,100,0,0\ntruck,100,0,0\nsky,200,0,0\n")
    with pytest.raises(DataError, match=r"one colour \(100, 0, 0\) for car and truck"):
        open_dataset(tmp_path)
    write("class_dict.csv", "name,r,g,b\nvoid,0,0,0\nignored,0,0,0\ncar,100,0,0\nsky,200,0,0\nbus,7,7,7\nvan,7,7,7\n")
    assert open_dataset(tmp_path).label_space.names == ("car", "sky", "bus", "van")


def test_names_that_may_count_one_higher_than_the_files_are_asked_about(save, photo, write, tmp_path):
    """COCO-Stuff's list begins with unlabeled, its label maps with person: all classes were shifted, without a word."""
    for name in "ab":
        save(f"images/{name}.png", photo(4, 4))
        save(f"labels/{name}.png", np.where(IDS == 0, 255, IDS - 1))
    write("labels.txt", "0: unlabeled\n1: person\n2: bicycle\n")
    with pytest.raises(DataError, match="where 0 is person"):
        open_dataset(tmp_path)
    save("labels/b.png", IDS)  # the last one occurs
    assert open_dataset(tmp_path).label_space.names == ("person", "bicycle")


@pytest.mark.usefixtures("coloured")
def test_names_by_hexadecimal_colours(write, tmp_path):
    write("class_list.json", json.dumps({"#000000": "ground", "#640000": "car", "#c80000": "sky"}))
    assert open_dataset(tmp_path).label_space.names == ("ground", "car", "sky")


@pytest.mark.parametrize(
    ("text", "names"),
    [("sky 1 9\nroad 2 9\n", {1: "sky", 2: "road"}), ("sky 1 1\nroad 2 2\n", {1: "sky", 2: "road"})],
)
def test_two_numbers_behind_each_name(write, tmp_path, text, names):
    """CMP facades have the id and the order of drawing: "sky 1 9" was the name."""
    write("label_names.txt", text)
    assert {label.id: label.name for label in read_names(read_tree(tmp_path))[0]} == names


def test_two_numbers_of_which_either_may_be_the_id_are_asked_about(write, tmp_path):
    write("label_names.txt", "sky 1 1\nroad 2 8\n")
    with pytest.raises(DataError, match=r"`labels: \{1: sky, 2: road\}` or `labels: \{1: sky, 8: road\}`"):
        read_names(read_tree(tmp_path))


def test_a_legend_beside_the_masks_names_them(save, photo, write, tmp_path):
    save("images/a.jpg", photo(1, 3))
    save("masks/a.png", [[0, 1, 2]])
    write("masks/legend.txt", "0 = Boden\n1 = Rübe\n2 = Unkraut\n")
    assert open_dataset(tmp_path).label_space.names == ("Boden", "Rübe", "Unkraut")
