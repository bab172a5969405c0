import numpy as np

from denselab.data import open_dataset


def test_union_of_the_masks(save, photo, tmp_path):
    for name in ("x1", "x2", "x3"):
        save(f"{name}/images/{name}.png", np.dstack([photo(1, 4), np.full((1, 4), 255, np.uint8)]))
        save(f"{name}/masks/m1.png", [[255, 0, 0, 0]])
        save(f"{name}/masks/m2.png", [[0, 0, 255, 0]])
    data = open_dataset(tmp_path)
    assert data.layout == "one mask per object"
    assert data.label_space.names == ("background", "object")
    sample = data.read(data.items[0])
    assert sample.labels.tolist() == [[1, 0, 1, 0]]
    assert sample.image.shape == (1, 4, 3)


def test_splits_by_folder(save, photo, tmp_path):
    for split in ("train", "val"):
        for name in ("x1", "x2"):
            save(f"{split}/{name}/images/{name}.png", photo(1, 2))
            for mask in ("m1", "m2"):
                save(f"{split}/{name}/masks/{mask}.png", [[255, 0]])
    assert [len(open_dataset(tmp_path).of_split(s)) for s in ("train", "val")] == [2, 2]


def test_ordinary_folders_are_not_taken_for_objects(save, photo, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 2))
        save(f"masks/{name}.png", [[0, 1]])
    assert open_dataset(tmp_path).layout == "folders"


def test_the_innermost_split_counts_but_not_a_pictures_own_name(save, photo, tmp_path):
    """train/val held training pictures here, and validation pictures in every other layout."""
    for folder in ("train/x1", "train/x2", "train/val/x3", "train/val/test_4"):
        name = folder.rpartition("/")[2]
        save(f"{folder}/images/{name}.png", photo(1, 2))
        for mask in ("m1", "m2"):
            save(f"{folder}/masks/{mask}.png", [[255, 0]])
    data = open_dataset(tmp_path)
    assert {item.name.rpartition("/")[2]: item.split for item in data.items} == {
        "x1": "train", "x2": "train", "x3": "val", "test_4": "val",
    }  # fmt: skip
