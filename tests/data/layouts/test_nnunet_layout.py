"""nnU-Net's folders."""

import json

import pytest

from denselab.data import open_dataset
from denselab.errors import DataError


def dataset_json(labels):
    return json.dumps({"channel_names": {"0": "red"}, "labels": labels, "numTraining": 2, "file_ending": ".png"})


@pytest.fixture
def cases(save, photo, write):
    for case in ("road_001", "road_002"):
        save(f"imagesTr/{case}_0000.png", photo())
        save(f"labelsTr/{case}.png", [[0, 1, 2]])
    write("dataset.json", dataset_json({"background": 0, "road": 1, "ignore": 2}))


def test_cases_with_names_and_a_test_part(cases, save, photo, tmp_path):
    save("imagesTs/road_003_0000.png", photo())
    save("labelsTs/road_003.png", [[0, 1, 2]])
    save("imagesTs/road_004_0000.png", photo())
    data = open_dataset(tmp_path)
    assert data.layout == "nnU-Net"
    assert [(e.id, e.name, e.role) for e in data.label_space.entries] == [
        (0, "background", "background"), (1, "road", "class"), (2, "ignore", "ignore"),
    ]  # fmt: skip
    assert len(data.of_split("test")) == 1
    assert {item.split for item in data.items if "Tr" in item.name} == {"train", "val"}


def test_folds(cases, write, tmp_path):
    write("splits_final.json", json.dumps([{"train": ["road_002"], "val": ["road_001"]}]))
    data = open_dataset(tmp_path)
    assert [(item.source.path.stem, item.split) for item in data.items] == [("road_001", "val"), ("road_002", "train")]


def test_regions_of_several_ids(cases, write, tmp_path):
    write("dataset.json", dataset_json({"background": 0, "whole": [1, 2], "core": 2}))
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "class 1", "core")
    assert any("regions of several ids (whole) overlap" in note for note in data.notes)


def test_several_channels_are_asked_about(cases, save, photo, write, tmp_path):
    for case in ("road_001", "road_002"):
        save(f"imagesTr/{case}_0001.png", photo())
    with pytest.raises(DataError, match=r"2 channels .*`images: imagesTr` and `masks: labelsTr` and `pattern: "):
        open_dataset(tmp_path)


def test_volumes_are_named(cases, write, tmp_path):
    write("imagesTr/heart_0000.nii.gz", "x")
    with pytest.raises(DataError, match="nnU-Net with volumes .*which are not read; save their slices"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("ids", [0.5, None, "1", True, [1, None], [[]]])
def test_a_label_that_is_no_number_is_named(cases, write, tmp_path, ids):
    """Beside a region these ended as a fault of ours: TypeError."""
    write("dataset.json", dataset_json({"background": 0, "whole": [1, 2], "core": ids}))
    with pytest.raises(DataError, match=r"dataset\.json: the label 'core' has"):
        open_dataset(tmp_path)


def test_labels_named_with_the_channel(save, photo, write, tmp_path):
    """As their pictures: "no case has a label of its name"."""
    for case in ("a", "b"):
        save(f"imagesTr/{case}_0000.png", photo())
        save(f"labelsTr/{case}_0000.png", [[0, 1]])
    write("dataset.json", json.dumps({"labels": {"background": 0, "x": 1}}))
    assert len(open_dataset(tmp_path).items) == 2
