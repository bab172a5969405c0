import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.layouts.tables import ADE20K_150, CITYSCAPES, voc_colour
from denselab.errors import DataError


@pytest.fixture
def voc(save, photo, write, tmp_path):
    palette = [channel for index in range(256) for channel in voc_colour(index)]
    for number in range(3):
        save(f"VOCdevkit/VOC2012/JPEGImages/2007_00000{number}.jpg", photo(2, 3))
    for number in range(2):
        save(
            f"VOCdevkit/VOC2012/SegmentationClass/2007_00000{number}.png",
            np.array([[0, 15, 255], [0, 0, 20]]),
            palette=palette,
        )
        save(
            f"VOCdevkit/VOC2012/SegmentationObject/2007_00000{number}.png",
            np.array([[0, 1, 255], [0, 0, 2]]),
            palette=palette,
        )
    write("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", "2007_000000\n")
    write("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "2007_000001\n")
    write("VOCdevkit/VOC2012/ImageSets/Main/train.txt", "2007_000002\n")
    return tmp_path


def test_voc_from_the_folder_of_the_archive(voc):
    data = open_dataset(voc)
    assert data.layout == "VOC"
    assert data.label_space.num_classes == 21
    assert [(item.name, item.split) for item in data.items] == [
        ("JPEGImages/2007_000000", "train"),
        ("JPEGImages/2007_000001", "val"),
    ]
    assert data.read_labels(data.items[0]).tolist() == [[0, 15, 255], [0, 0, 20]]
    assert data.without_label == ()


def test_colours_of_voc_are_read_by_its_colour_map(voc, save):
    root = "VOCdevkit/VOC2012/SegmentationClass"
    for number in range(2):
        save(f"{root}/2007_00000{number}.png", np.array([[voc_colour(0), voc_colour(15), (224, 224, 192)]], np.uint8))
    data = open_dataset(voc)
    assert data.read_labels(data.items[0]).tolist() == [[0, 15, 255]]


def test_names_of_another_set_in_the_layout(voc, write):
    write("VOCdevkit/VOC2012/class_names.txt", "_background_\n" + "".join(f"thing {i}\n" for i in range(1, 21)))
    assert open_dataset(voc).label_space.names[15] == "thing 15"


def test_boxes_only(tmp_path, save, photo, write):
    save("JPEGImages/a.jpg", photo())
    write("ImageSets/Main/train.txt", "a")
    write("Annotations/a.xml", "<annotation/>")
    with pytest.raises(DataError, match=r"VOC without SegmentationClass"):
        open_dataset(tmp_path)


def test_colour_map_by_the_published_values():
    """VOCdevkit: aeroplane 128,0,0; tvmonitor 0,64,128; void 224,224,192."""
    assert [voc_colour(i) for i in (0, 1, 20, 255)] == [(0, 0, 0), (128, 0, 0), (0, 64, 128), (224, 224, 192)]


def test_published_tables():
    assert len(ADE20K_150) == len(set(ADE20K_150)) == 150
    assert sorted(train for _, _, train, _ in CITYSCAPES if train != 255) == list(range(19))
    assert [label_id for label_id, *_ in CITYSCAPES] == list(range(34))


def test_cvats_segmentation_mask_export(save, photo, write, tmp_path):
    """Labels in colours, labelmap.txt, and a list default.txt, which names no split."""
    for name in ("a", "b"):
        save(f"JPEGImages/{name}.png", photo(1, 3))
        save(f"SegmentationClass/{name}.png", np.array([[(0, 0, 0), (250, 50, 83), (51, 221, 255)]], np.uint8))
        save(f"SegmentationObject/{name}.png", np.array([[(0, 0, 0), (128, 0, 0), (0, 128, 0)]], np.uint8))
    write("ImageSets/Segmentation/default.txt", "a\nb\n")
    write("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncoin:51,221,255::\nplank:250,50,83::\n")
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.names) == ("VOC", ("background", "coin", "plank"))
    assert data.read_labels(data.items[0]).tolist() == [[0, 2, 1]]
    assert sorted(item.split for item in data.items) == ["train", "val"]
