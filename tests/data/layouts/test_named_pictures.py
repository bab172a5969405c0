"""Pictures that an annotation calls otherwise than the disk does: found where one is meant, and told."""

import json
import unicodedata

import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]


@pytest.fixture
def told(save, photo, write, tmp_path):
    """told({name in the json: file}, height=, width=): a COCO set of a square in each; its data set."""

    def make(names, **more):
        for number, file in enumerate(names.values()):
            save(f"images/{file}", photo(6, 8, number))
        images = [{"id": n, "file_name": name, "height": 6, "width": 8, **more} for n, name in enumerate(names)]
        drawn = [{"id": n, "image_id": n, "category_id": 1, "segmentation": SQUARE} for n in range(len(names))]
        document = {"images": images, "annotations": drawn, "categories": [{"id": 1, "name": "cat"}]}
        write("annotations.json", json.dumps(document))
        return open_dataset(tmp_path)

    return make


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("IMG_1.JPG", "img_1.jpg"),  # Windows does not tell them apart
        ("a.jpg", "a.png"),  # converted since
        ("my%20photo.png", "my photo.png"),
        (unicodedata.normalize("NFD", "café.png"), "café.png"),  # macOS
        ("8b13f8a9-IMG_1.JPG", "img_1.jpg"),  # an upload to Label Studio
    ],
)
def test_one_that_differs_in_its_writing_is_found_and_told(told, name, file):
    """They were beside the json, and "put them beside it" was all that was said."""
    data = told({name: file, "other.png": "other.png"})
    assert [item.image.name for item in data.items] == sorted([file, "other.png"])
    [note] = [note for note in data.notes if "under another name" in note]
    assert note.startswith("1 picture found under another name than the annotation's: ")
    assert note.endswith(f" is images/{file}")


def test_the_prefix_of_an_upload_is_not_worth_a_note(told):
    data = told({"8b13f8a9-a.png": "a.png", "b.png": "b.png"})
    assert len(data.items) == 2
    assert not any("another name" in note for note in data.notes)


def test_folders_tell_pictures_of_one_name_apart(told):
    data = told({"old/day1/a.jpg": "day1/a.png", "old/day2/a.jpg": "day2/a.png"})
    assert [item.name for item in data.items] == ["images/day1/a", "images/day2/a"]
    with pytest.raises(DataError, match=r"a\.jpg of annotations\.json may be images/day1/a\.png, images/day2/a\.png"):
        told({"a.jpg": "day1/a.png", "b.png": "day2/a.png"})


def test_masks_are_no_pictures_of_another_suffix(told, save):
    save("masks/a.png", [[0, 1]])
    with pytest.raises(DataError, match=r"none of the pictures that annotations\.json names is there \(a\.jpg\)"):
        told({"a.jpg": "b.png"})


def test_a_number_behind_a_point_is_no_suffix(told):
    """slice_1.50 was taken for slice_1.png, another picture."""
    data = told({"slice_1.25": "slice_1.25.png", "slice_1.50": "slice_1.png"})
    assert [item.image.name for item in data.items] == ["slice_1.25.png"]
    assert "1 picture of the json not found: slice_1.50" in data.notes


def test_a_label_picture_of_the_very_name_is_none(told, save):
    """ZeroWaste: data/a.PNG and sem_seg/a.PNG: "give its folder in file_name" was said."""
    for name in ("a.png", "b.png"):
        save(f"sem_seg/{name}", [[0, 1]])
    with pytest.raises(DataError, match=r"the labels may be COCO instances, or the label pictures in sem_seg"):
        told({"a.png": "a.png", "b.png": "b.png"})
