import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError


def cityscapes(save, photo, split: str, kind: str, ids, city: str = "aachen") -> None:
    folder = f"{split}/{city}/" if split else ""
    save(f"leftImg8bit/{folder}{city}_000000_000019_leftImg8bit.png", photo(1, 3))
    save(f"gtFine/{folder}{city}_000000_000019_gtFine_{kind}.png", ids)


def test_label_ids_become_the_19_classes(save, photo, tmp_path):
    cityscapes(save, photo, "train", "labelIds", [[7, 0, 26]])
    cityscapes(save, photo, "val", "labelIds", [[33, 11, 4]], "ulm")
    data = open_dataset(tmp_path)
    assert data.layout == "Cityscapes"
    assert data.label_space.num_classes == 19
    assert data.read_labels(data.of_split("train")[0]).tolist() == [[0, 255, 13]]
    assert data.read_labels(data.of_split("val")[0]).tolist() == [[18, 2, 255]]
    assert data.items[0].group == "aachen_000000"


def test_train_ids(save, photo, tmp_path):
    cityscapes(save, photo, "train", "labelTrainIds", [[0, 255, 13]])
    cityscapes(save, photo, "val", "labelTrainIds", [[18, 2, 19]], "ulm")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.of_split("train")[0]).tolist() == [[0, 255, 13]]
    assert data.read_labels(data.of_split("val")[0]).tolist() == [[18, 2, 255]]


def test_instances_are_divided_by_1000(save, photo, tmp_path):
    cityscapes(save, photo, "", "instanceIds", np.array([[7, 26001, 26002]], np.uint16))
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 13, 13]]


def test_ids_come_before_instances(save, photo, tmp_path):
    cityscapes(save, photo, "", "instanceIds", np.array([[7, 26001, 26002]], np.uint16))
    cityscapes(save, photo, "", "labelIds", [[7, 26, 8]])
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 13, 1]]


def test_pictures_without_ground_truth(save, photo, tmp_path):
    save("leftImg8bit/a_000000_000000_leftImg8bit.png", photo(1, 3))
    save("gtFine/a_000000_000000_gtFine_color.png", photo(1, 3))
    with pytest.raises(DataError, match=r"no .*gtFine_labelIds"):
        open_dataset(tmp_path)


def test_kitti_instances_are_divided_by_256(save, photo, tmp_path):
    for number in ("000030_10", "000031_10"):
        save(f"training/image_2/{number}.png", photo(1, 3))
        save(f"training/instance/{number}.png", np.array([[7 * 256, 26 * 256 + 3, 3 * 256]], np.uint16))
    data = open_dataset(tmp_path)
    assert data.layout == "KITTI"
    assert data.read_labels(data.items[0]).tolist() == [[0, 13, 255]]


def test_kitti_semantic_comes_first(save, photo, tmp_path):
    for number in ("000030_10", "000031_10"):
        save(f"training/image_2/{number}.png", photo(1, 2))
        save(f"training/instance/{number}.png", np.array([[7 * 256, 0]], np.uint16))
        save(f"training/semantic/{number}.png", [[8, 33]])
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[1, 18]]


def test_mapillary_takes_the_newest_table(save, photo, write, tmp_path):
    for split in ("train", "val"):
        save(f"{split}/images/{split}.jpg", photo(1, 3))
        for version, ids in (("v1.2", [[0, 0, 0]]), ("v2.0", [[0, 1, 2]])):
            save(f"{split}/{version}/labels/{split}.png", ids)
    rows = [{"name": n, "color": [i, 0, 0], "evaluate": n != "void"} for i, n in enumerate(("bird", "car", "void"))]
    for version in ("v1.2", "v2.0"):
        write(f"config_{version}.json", json.dumps({"labels": rows}))
    data = open_dataset(tmp_path)
    assert data.layout == "Mapillary Vistas"
    assert data.read_labels(data.of_split("train")[0]).tolist() == [[0, 1, 255]]
    assert any("labels of v2.0" in note for note in data.notes)


def test_one_split_of_mapillary_is_sent_to_the_folder_above(save, photo, write, tmp_path):
    """The reason given was a panoptic json whose pictures were not beside it."""
    save("images/a.jpg", photo(1, 3))
    for kind in ("labels", "instances", "panoptic"):
        save(f"v2.0/{kind}/a.png", [[0, 1, 2]])
    with pytest.raises(DataError, match=r"one split of Mapillary Vistas; open the folder above.*config_v2\.0\.json"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("table", ["label_color.txt", "label_colors.txt"])
def test_cvats_export_has_its_own_classes(save, photo, write, tmp_path, table):
    """imgsFine/leftImg8bit beside gtFine; the ids count the lines of the colour table, not those of Cityscapes."""
    for split, name in (("train", "a"), ("val", "b")):
        save(f"imgsFine/leftImg8bit/{split}/{name}_leftImg8bit.png", photo(1, 3))
        save(f"gtFine/{split}/{name}_gtFine_labelIds.png", [[0, 1, 2]])
        save(f"gtFine/{split}/{name}_gtFine_color.png", photo(1, 3))
        save(f"gtFine/{split}/{name}_gtFine_instanceIds.png", [[0, 1, 2]])
    write(table, "0 0 0 background\n128 64 128 plank\n70 70 70 coin\n")
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.names) == ("Cityscapes (CVAT)", ("background", "plank", "coin"))
    assert [item.split for item in data.items] == ["train", "val"]
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 2]]


def test_colours_alone_can_be_read(save, photo, write, tmp_path):
    """The only advice was a script of Cityscapes, which needs the polygons."""
    cityscapes(save, photo, "train", "color", [[[0, 0, 0], [9, 0, 0], [9, 0, 0]]])
    with pytest.raises(DataError, match="read the colours: write in data.yaml `pattern") as told:
        open_dataset(tmp_path)
    write("data.yaml", str(told.value).split("`")[1])
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 1]]


def test_kitti_road(save, photo, tmp_path):
    """ "KITTI boxes (label_2), no pixel labels" was said, where no boxes are."""
    for name in ("um_000000", "umm_000000"):
        save(f"training/image_2/{name}.png", photo(1, 3))
        road = np.array([[[255, 0, 0], [255, 0, 255], [0, 0, 0]]], np.uint8)
        save(f"training/gt_image_2/{name.replace('_', '_road_')}.png", road)
    save("training/gt_image_2/um_lane_000000.png", photo(1, 3))
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.names) == ("KITTI road", ("no road", "road"))
    assert [data.read_labels(item).tolist() for item in data.items] == [[[0, 1, 255]]] * 2
    assert any("those of the lane" in note for note in data.notes)
