import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

IDS = [[0, 1, 2]]


def names_and_splits(data) -> dict[str, str]:
    return {item.name: item.split for item in data.items}


@pytest.mark.parametrize("images", ["images", "imgs", "image", "JPEGImages", "img", "pictures", "Input"])
@pytest.mark.parametrize(
    "labels", ["labels", "masks", "annotations", "gts", "gt", "label", "annot", "SegmentationClassRaw", "ground_truth"]
)
def test_usual_folder_names(save, photo, tmp_path, images, labels):
    for name in ("a", "b"):
        save(f"{images}/{name}.jpg", photo(1, 3))
        save(f"{labels}/{name}.png", IDS)
    data = open_dataset(tmp_path)
    assert sorted(item.name for item in data.items) == [f"{images}/a", f"{images}/b"]
    assert data.read_labels(data.items[0]).tolist() == IDS


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{s}/{n}", "labels/{s}/{n}"),
        ("{s}/images/{n}", "{s}/labels/{n}"),
        ("{s}_images/{n}", "{s}_masks/{n}"),
        ("img/{s}/x/{n}", "gt/{s}/x/{n}"),
    ],
)
def test_splits_on_either_side_of_the_tree(save, photo, tmp_path, image, label):
    """The same file names in train and val: they must not be confused."""
    for split, value in (("train", 1), ("val", 2), ("test", 3)):
        for number in ("0", "1"):
            save(image.format(s=split, n=number) + ".png", photo(1, 3))
            save(label.format(s=split, n=number) + ".png", [[0, value, value]])
    data = open_dataset(tmp_path)
    assert len(data.items) == 6
    for split, value in (("train", 1), ("val", 2), ("test", 3)):
        assert len(data.of_split(split)) == 2
        for item in data.of_split(split):
            assert data.read_labels(item).tolist() == [[0, value, value]]


def test_validation_and_training_are_val_and_train(save, photo, tmp_path):
    for split in ("training", "validation"):
        for number in ("0", "1"):
            save(f"images/{split}/{split}{number}.png", photo(1, 3))
            save(f"labels/{split}/{split}{number}.png", IDS)
    assert open_dataset(tmp_path).splits == ("train", "val")


@pytest.mark.parametrize("place", ["train.txt", "splits/train.txt", "ImageSets/Segmentation/train.txt"])
def test_list_files(save, photo, write, tmp_path, place):
    for number in range(4):
        save(f"imgs/{number:05d}_img.jpg", photo(1, 3))
        save(f"gts/{number:05d}_gt.png", IDS)
    write(place, "00000\n00001\n")
    write(place.replace("train", "val"), "00003\n")
    data = open_dataset(tmp_path)
    assert names_and_splits(data) == {"imgs/00000_img": "train", "imgs/00001_img": "train", "imgs/00003_img": "val"}
    assert any("1 picture in no list, left out: imgs/00002_img" in note for note in data.notes)


def test_rule_of_names_is_told(save, photo, tmp_path):
    for number in ("001", "002"):
        save(f"images/img_{number}.png", photo(1, 3))
        save(f"masks/gt_{number}.png", IDS)
    data = open_dataset(tmp_path)
    assert any(note.startswith("paired img_001.png with gt_001.png") for note in data.notes)
    assert [item.source.path.name for item in data.items] == ["gt_001.png", "gt_002.png"]


def test_side_by_side_by_words(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"data/{name}.jpg", photo(1, 3))
        save(f"data/{name}_mask.png", IDS)
    data = open_dataset(tmp_path)
    assert [(item.name, item.source.path.name) for item in data.items] == [
        ("data/cat", "cat_mask.png"),
        ("data/dog", "dog_mask.png"),
    ]


def test_side_by_side_by_format(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"{name}.jpg", photo(1, 3))
        save(f"{name}.png", IDS)
    assert [item.source.path.suffix for item in open_dataset(tmp_path).items] == [".png", ".png"]


def test_pictures_in_the_root_beside_a_label_folder(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"{name}.jpg", photo(1, 3))
        save(f"masks/{name}.png", IDS)
    assert [item.name for item in open_dataset(tmp_path).items] == ["cat", "dog"]


def test_of_two_label_folders_the_one_with_more_classes(save, photo, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"annotations/{name}.png", np.array([[(0, 0, 0), (255, 0, 0), (0, 255, 0)]], np.uint8))
        save(f"masks/{name}.png", np.array([[False, True, True]]))
    data = open_dataset(tmp_path)
    assert data.label_space.num_classes == 3
    assert any("masks holds labels too" in note and "`masks: masks`" in note for note in data.notes)


def test_two_label_folders_with_as_many_classes_are_asked_about(save, photo, tmp_path, write):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels_coarse/{name}.png", IDS)
        save(f"labels_fine/{name}.png", IDS)
    with pytest.raises(DataError, match=r"two label folders fit.*`masks: labels_coarse` or .*`masks: labels_fine`"):
        open_dataset(tmp_path)
    write("data.yaml", "images: images\nmasks: labels_fine\n")
    assert {item.source.path.parent.name for item in open_dataset(tmp_path).items} == {"labels_fine"}


def test_predictions_are_no_labels(save, photo, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", IDS)
        save(f"predictions/{name}.png", IDS)
    assert {item.source.path.parent.name for item in open_dataset(tmp_path).items} == {"labels"}


def test_names_that_do_not_pair(save, photo, tmp_path):
    save("images/apple.png", photo(1, 3))
    save("labels/pear.png", IDS)
    with pytest.raises(
        DataError, match=r"no label has the name of a picture: images/apple\.png against labels/pear\.png.*`pattern:"
    ):
        open_dataset(tmp_path)


def test_pictures_that_differ_in_format_only_keep_their_suffix(save, photo, tmp_path):
    save("images/x/a.png", photo(1, 3))
    save("images/y/a.png", photo(1, 3))
    save("labels/x/a.png", IDS)
    save("labels/y/a.png", IDS)
    assert sorted(item.name for item in open_dataset(tmp_path).items) == ["images/x/a", "images/y/a"]


def test_names_file(save, photo, tmp_path, write):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", IDS)
    write("classes.txt", "background\ncrop\nweed\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "crop", "weed")
