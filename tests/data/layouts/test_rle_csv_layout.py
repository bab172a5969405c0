"""Run lengths in csv files of contests."""

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.read.polygons import starts_mask
from denselab.errors import DataError


def encoded(mask, order="columns"):
    """The run lengths of a mask, pixel for pixel: the slow way."""
    flat = [bool(v) for v in (mask.T if order == "columns" else mask).ravel()]
    runs, position = [], 0
    while position < len(flat):
        if flat[position]:
            end = position
            while end < len(flat) and flat[end]:
                end += 1
            runs += [position + 1, end - position]
            position = end
        position += 1
    return " ".join(map(str, runs))


@pytest.fixture
def masks(save, photo):
    """Three pictures of 12x20, the first two with a disc and a box."""
    for name in ("a", "b", "c"):
        save(f"train_images/{name}.jpg", photo(12, 20))
    rows, columns = np.mgrid[:12, :20]
    box = np.zeros((12, 20), bool)
    box[2:5, 3:15] = True
    return (rows - 6) ** 2 + (columns - 10) ** 2 <= 16, box


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_runs_by_brute_force(order):
    mask = np.random.default_rng(0).random((5, 7)) < 0.4
    assert np.array_equal(starts_mask(encoded(mask, order), (5, 7), order), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 3 2 4", "do not rise"),
        ("0 3", "do not rise"),
        ("30 9", "reach pixel 38"),
        ("1 2 3", "3 numbers"),
        ("x 2", "not whole"),
    ],
)
def test_wrong_runs_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        starts_mask(text, (5, 7), "columns")


@pytest.mark.parametrize(
    "text",
    [
        "ImageId,EncodedPixels,ClassId\na.jpg,{0},3\nb.jpg,{1},4\n",
        "ImageId,ClassId,EncodedPixels\na.jpg,3,{0}\nb.jpg,4,{1}\n",
        "ImageId_ClassId,EncodedPixels\na.jpg_3,{0}\na.jpg_4,\nb.jpg_3,\nb.jpg_4,{1}\n",
    ],
    ids=["class last", "class first", "joined"],
)
def test_the_forms_of_the_class(masks, write, tmp_path, text):
    write("train.csv", text.format(*map(encoded, masks)))
    write("sample_submission.csv", "ImageId,EncodedPixels,ClassId\nx.jpg,1 1,1\n")
    data = open_dataset(tmp_path)
    assert data.layout == "run lengths in csv"
    assert [(e.id, e.name) for e in data.label_space.entries] == [(0, "background"), (3, "class 3"), (4, "class 4")]
    for item, mask, label_id in zip(data.items, masks, (3, 4), strict=True):
        assert np.array_equal(item.source.ids(), np.where(mask, label_id, 0))
    assert [path.name for path in data.without_label] == ["c.jpg"]


def test_one_class_and_pictures_without_any(masks, write, tmp_path):
    """Airbus: ImageId, EncodedPixels; a picture without ships has an empty cell; several rows for a picture."""
    write("train.csv", f"ImageId,EncodedPixels\na.jpg,{encoded(masks[0])}\na.jpg,{encoded(masks[1])}\nb.jpg,\n")
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "object")
    assert np.array_equal(data.items[0].source.ids() > 0, masks[0] | masks[1])
    assert not data.items[1].source.ids().any()


def test_pictures_without_a_row_are_taken_where_data_yaml_says_so(masks, write, tmp_path):
    write("train.csv", f"ImageId,EncodedPixels\na.jpg,{encoded(masks[0])}\nb.jpg,{encoded(masks[1])}\n")
    assert any("`unlisted: background` in data.yaml" in note for note in open_dataset(tmp_path).notes)
    write("data.yaml", "unlisted: background\n")
    data = open_dataset(tmp_path)
    assert len(data) == 3
    assert not data.items[2].source.ids().any()


def test_named_classes_and_those_that_count_from_0(masks, write, tmp_path):
    write("train.csv", "Image_Label,EncodedPixels\na.jpg_Fish,{}\nb.jpg_Sugar,{}\n".format(*map(encoded, masks)))
    assert open_dataset(tmp_path).label_space.names == ("background", "Fish", "Sugar")
    write("train.csv", "ImageId,EncodedPixels,ClassId\na.jpg,{},0\nb.jpg,{},1\n".format(*map(encoded, masks)))
    write("classes.txt", "0 background\n1 dent\n2 rust\n")
    data = open_dataset(tmp_path)
    assert [(e.id, e.name) for e in data.label_space.entries] == [(0, "background"), (1, "dent"), (2, "rust")]
    assert any("each id is one higher" in note for note in data.notes)


def test_runs_along_the_rows_are_asked_about(masks, write, tmp_path):
    """Carvana and Sartorius number pixels along the rows: read down the columns, the discs were in pieces."""
    rows = [encoded(mask, "rows") for mask in masks]
    write("train_masks.csv", "img,rle_mask\na.jpg,{}\nb.jpg,{}\n".format(*rows))
    with pytest.raises(DataError, match="write in data.yaml `run_order: rows`, or `run_order: columns`"):
        open_dataset(tmp_path)
    write("data.yaml", "run_order: rows\n")
    data = open_dataset(tmp_path)
    assert np.array_equal(data.items[0].source.ids() > 0, masks[0])


def test_two_tables_are_asked_about_unless_they_are_splits(masks, write, tmp_path):
    row = "ImageId,EncodedPixels\n{}.jpg,{}\n"
    write("old.csv", row.format("a", encoded(masks[0])))
    write("new.csv", row.format("b", encoded(masks[1])))
    with pytest.raises(DataError, match=r"2 tables.*`annotations: new.csv` or `annotations: old.csv`"):
        open_dataset(tmp_path)
    write("data.yaml", "annotations: {train: old.csv, val: new.csv}\n")
    assert [(item.name[-1], item.split) for item in open_dataset(tmp_path).items] == [("a", "train"), ("b", "val")]


def test_a_cell_longer_than_pythons_limit(save, photo, write, tmp_path):
    """131,072 characters are csv's own limit; the run lengths of a large picture are longer."""
    long = encoded(np.indices((200, 300)).sum(axis=0) % 2 == 0)
    assert len(long) > 131_072
    save("images/a.png", photo(200, 300))
    save("images/b.png", photo(200, 300))
    write("train.csv", f"id,encoding\na,{long}\nb,1 5\n")
    write("data.yaml", "run_order: columns\n")
    assert int(open_dataset(tmp_path).items[0].source.ids().sum()) == 30_000
