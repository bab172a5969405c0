import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

CLASSES = np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])


@pytest.fixture
def segnet(save, photo, write, tmp_path):
    for split, names in (("train", ("0001TP_006690", "0001TP_006720")), ("val", ("0016E5_07959",))):
        for name in names:
            save(f"{split}/{name}.png", photo(2, 6))
            save(f"{split}annot/{name}.png", CLASSES)
        write(f"{split}.txt", "".join(f"/{split}/{n}.png /{split}annot/{n}.png\n" for n in names))
    return tmp_path


def test_lists_with_a_leading_slash(segnet):
    data = open_dataset(segnet)
    assert data.layout == "CamVid (SegNet)"
    assert [(item.name, item.split) for item in data.items] == [
        ("train/0001TP_006690", "train"), ("train/0001TP_006720", "train"), ("val/0016E5_07959", "val"),
    ]  # fmt: skip


def test_the_11_classes_and_void(segnet):
    data = open_dataset(segnet)
    assert data.label_space.names[:4] == ("sky", "building", "pole", "road")
    assert data.label_space.num_classes == 11
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 255]]


def test_folders_without_lists(segnet):
    for split in ("train", "val"):
        (segnet / f"{split}.txt").unlink()
    data = open_dataset(segnet)
    assert data.layout == "CamVid (SegNet)"
    assert [len(data.of_split(split)) for split in ("train", "val")] == [2, 1]


def test_paths_of_the_machine_that_wrote_the_list(segnet, write):
    write("train.txt", "/SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png\n")
    assert len(open_dataset(segnet).of_split("train")) == 1


def test_list_lines_without_files_are_told(segnet, write):
    write("val.txt", "/val/0016E5_07959.png /valannot/0016E5_07959.png\n/val/x.png /valannot/x.png\n")
    assert any(
        "1 line of the lists with files that do not exist: /val/x.png" in note for note in open_dataset(segnet).notes
    )


def test_a_picture_in_both_lists_is_a_leak(segnet, write):
    line = "/train/0001TP_006690.png /trainannot/0001TP_006690.png\n"
    write("train.txt", line)
    write("val.txt", line)
    with pytest.raises(DataError, match=r"stand in the lists twice"):
        open_dataset(segnet)


def test_other_classes_in_the_same_layout_are_not_called_camvid(segnet, save):
    for split, name in (("train", "0001TP_006690"), ("train", "0001TP_006720"), ("val", "0016E5_07959")):
        save(f"{split}annot/{name}.png", np.array([[0, 1, 0, 1, 0, 1]] * 2))
    assert open_dataset(segnet).label_space.names == ("class 0", "class 1")


def test_colours_of_the_original_camvid(segnet, save):
    colours = np.array([[(128, 64, 128), (0, 0, 0), (64, 128, 64)] * 2] * 2, np.uint8)
    for split, name in (("train", "0001TP_006690"), ("train", "0001TP_006720"), ("val", "0016E5_07959")):
        save(f"{split}annot/{name}.png", colours)
    data = open_dataset(segnet)
    labels = data.read_labels(data.items[0])
    assert data.label_space.names[labels[0, 0]] == "Road"
    assert labels[0, 1] == 255
    assert data.label_space.names[labels[0, 2]] == "Animal"


def test_cvats_export_without_subsets(save, photo, write, tmp_path):
    """default/ beside defaultannot/ in colours, default.txt, label_colors.txt: no split is named."""
    for name in ("a", "b"):
        save(f"default/{name}.png", photo(1, 3))
        save(f"defaultannot/{name}.png", np.array([[(0, 0, 0), (250, 50, 83), (51, 221, 255)]], np.uint8))
    write("default.txt", "".join(f"/default/{name}.png /defaultannot/{name}.png\n" for name in ("a", "b")))
    write("label_colors.txt", "0 0 0 background\n51 221 255 coin\n250 50 83 plank\n")
    data = open_dataset(tmp_path)
    assert (data.layout, data.label_space.names) == ("CamVid (SegNet)", ("background", "coin", "plank"))
    assert sorted(item.split for item in data.items) == ["train", "val"]
    assert data.read_labels(data.items[0]).tolist() == [[0, 2, 1]]


def test_lists_that_lie_above_the_folder_they_are_written_for(save, photo, write, tmp_path):
    """RELLIS-3D: train.lst beside Rellis-3D/, whose paths begin below it."""
    for number in range(3):
        save(f"Rellis-3D/00000/node/{number}.jpg", photo())
        save(f"Rellis-3D/00000/node_label_id/{number}.png", [[0, 3, 33]])
        save(f"Rellis-3D/00000/node_label_color/{number}.png", [[[0, 0, 0], [0, 102, 0], [134, 255, 239]]])
    lines = [f"00000/node/{number}.jpg 00000/node_label_id/{number}.png" for number in range(3)]
    write("train.lst", "\n".join(lines[:2]))
    write("val.lst", lines[2])
    data = open_dataset(tmp_path)
    assert [item.split for item in data.items] == ["train", "train", "val"]
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 2]]
