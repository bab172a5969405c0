import pickle

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.dataset import require_trainable
from denselab.errors import DataError


@pytest.fixture
def ten(save, photo, tmp_path):
    """Ten pictures with the ids 0..2 and 255."""
    for number in range(10):
        save(f"images/{number}.png", photo(4, 6, number))
        save(f"labels/{number}.png", np.array([[0, 1, 2, 255, 0, number % 2]] * 4))
    return tmp_path


def test_labels_are_class_indices_with_ignore(ten):
    data = open_dataset(ten)
    item = next(item for item in data.items if item.name == "images/3")
    labels = data.read_labels(item)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 2, 255, 0, 1]] * 4
    assert labels.flags.writeable


def test_splits_and_items(ten):
    data = open_dataset(ten, val_fraction=0.3, seed=1)
    assert data.splits == ("train", "val")
    assert len(data.of_split("train")) == 7
    assert len(data.of_split("val")) == 3
    assert data.of_split("test") == ()
    assert len({item.name for item in data.items}) == 10
    with pytest.raises(DataError, match="use train, val or test"):
        data.of_split("valid")


def test_length_and_short_reprs(ten):
    """A notebook once printed every item with its whole encoding for a bare `data`."""
    data = open_dataset(ten)
    assert len(data) == 10
    assert repr(data) == f"<Dataset {ten}: folders, 3 classes, 8 train, 2 val>"
    assert repr(data.items[0]) == f"<Item images/0: {data.items[0].split}, labels from 0.png>"


def test_opening_twice_gives_the_same(ten):
    assert open_dataset(ten, seed=5) == open_dataset(ten, seed=5)


def test_data_set_pickles_for_loader_processes(ten):
    data = pickle.loads(pickle.dumps(open_dataset(ten)))
    assert data.read(data.items[0]).labels.shape == (4, 6)


def test_sizes_that_differ_name_both_files(ten, save):
    save("labels/3.png", [[0, 1]])
    data = open_dataset(ten)
    item = next(item for item in data.items if item.name == "images/3")
    with pytest.raises(DataError, match=r"picture 4x6 in .*images/3\.png but label 1x2 in .*labels/3\.png"):
        data.read(item)


def test_id_outside_the_table_names_file_and_id(ten, save):
    data = open_dataset(ten)
    save("labels/3.png", [[0, 77]])
    item = next(item for item in data.items if item.name == "images/3")
    with pytest.raises(DataError, match=r"labels/3\.png: label id 77 is not in the label table"):
        data.read_labels(item)


def test_fast_lookup_agrees_with_the_label_table(save, photo, tmp_path, write):
    """Ids 0, 4, 200, 254 as classes and 9, 255 as ignore: the table of 256 entries against LabelSpace.encode."""
    rows = ", ".join(f"{{id: {i}, name: c{i}}}" for i in (0, 4, 200, 254))
    write("data.yaml", f"labels: [{rows}, {{id: 9, name: x, role: ignore}}, {{id: 255, name: y, role: ignore}}]\n")
    for number in range(4):
        save(f"images/{number}.png", photo(1, 6))
        save(f"labels/{number}.png", np.array([[0, 4, 200, 254, 9, 255]]))
    data = open_dataset(tmp_path)
    ids = data.items[0].source.ids()
    assert data.read_labels(data.items[0]).tolist() == data.label_space.encode(ids).tolist() == [[0, 1, 2, 3, 255, 255]]


def test_all_256_ids_as_classes(save, photo, tmp_path, write):
    write("data.yaml", "encoding: index\nlabels: [" + ", ".join(f"c{i}" for i in range(256)) + "]\n")
    for number in range(2):
        save(f"images/{number}.png", photo(16, 16))
        save(f"labels/{number}.png", np.arange(256).reshape(16, 16))
    data = open_dataset(tmp_path)
    labels = data.read_labels(data.items[0])
    assert labels.dtype == np.uint16
    assert labels.ravel().tolist() == list(range(256))


def test_smeared_masks_are_read_by_threshold(save, tmp_path, photo):
    mask = np.zeros((64, 64), np.uint8)
    mask[13:45, 13:45] = 255
    for number in range(3):
        save(f"images/{number}.png", photo(64, 64))
        save(f"masks/{number}.jpg", mask, quality=60)
    data = open_dataset(tmp_path)
    assert "threshold 128" in data.encoding
    assert np.array_equal(data.read_labels(data.items[0]) == 1, mask == 255)


def test_unreadable_picture_stays_an_item_that_names_itself(ten):
    """check counts it as a fault; opening does not fail on it."""
    (ten / "images" / "4.png").write_bytes(b"nothing")
    data = open_dataset(ten)
    assert len(data.items) == 10
    with pytest.raises(DataError, match=r"images/4\.png: not a picture"):
        data.read(next(item for item in data.items if item.name == "images/4"))


def test_notes_on_picture_modes(save, tmp_path, photo):
    for number in range(2):
        save(f"images/{number}.png", np.dstack([photo(3, 3), np.full((3, 3), 9, np.uint8)]))
        save(f"labels/{number}.png", [[0, 1, 1]] * 3)
    assert any("alpha channel; it is dropped" in note for note in open_dataset(tmp_path).notes)


def test_partners_that_are_missing(ten, save, photo):
    save("images/lonely.png", photo())
    save("labels/widow.png", [[0]])
    data = open_dataset(ten)
    assert [path.name for path in data.without_label] == ["lonely.png"]
    assert [path.name for path in data.without_image] == ["widow.png"]
    assert sum("1 " in note and ", left out" in note for note in data.notes) == 2


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_val_fraction_outside_0_to_1(ten, fraction):
    with pytest.raises(DataError, match="val_fraction"):
        open_dataset(ten, val_fraction=fraction)


def test_one_picture_opens_but_cannot_train(save, tmp_path, photo):
    save("images/a.png", photo())
    save("labels/a.png", np.zeros((6, 8), np.uint8))
    data = open_dataset(tmp_path)
    assert data.splits == ("val",)
    with pytest.raises(DataError, match="1 picture with labels; training needs at least two"):
        require_trainable(data)


def test_empty_split_cannot_train(ten):
    data = open_dataset(ten)
    require_trainable(data)
    from dataclasses import replace

    with pytest.raises(DataError, match="no picture in val"):
        require_trainable(replace(data, items=data.of_split("train")))


def test_synthetic_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = open_dataset("synthetic:4")
    assert len(data.of_split("train")) == 4
    assert len(data.of_split("val")) == 1
    assert "sky" in data.label_space.names
    assert data.root.is_relative_to(tmp_path)


@pytest.mark.parametrize("name", ["synthetic:0", "synthetic:many", "synthetic:²"])
def test_synthetic_with_a_bad_number(name):
    with pytest.raises(DataError, match="write synthetic or synthetic:N"):
        open_dataset(name)


def test_nothing_is_written_into_the_data(ten):
    before = {path: path.stat().st_mtime_ns for path in ten.rglob("*")}
    open_dataset(ten).read(open_dataset(ten).items[0])
    assert {path: path.stat().st_mtime_ns for path in ten.rglob("*")} == before
