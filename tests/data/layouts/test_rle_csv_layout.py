"""Run lengths in csv files of contests."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.label_files.polygons import starts_mask
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
        (f"2 {2**63 - 1}", "more than any picture has pixels"),
        (f"1 {2**63 - 1} 5 1", "more than any picture has pixels"),
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


@pytest.mark.parametrize("name", ["²", "9" * 12])
def test_a_class_of_digits_that_is_no_number_is_a_name(masks, write, tmp_path, name):
    """The first ended as a fault of ours: ValueError."""
    rows = (f"{file}.jpg,{encoded(mask)},{name}" for file, mask in zip("ab", masks, strict=True))
    write("train.csv", "\n".join(["ImageId,EncodedPixels,ClassId", *rows, ""]))
    assert open_dataset(tmp_path).label_space.names == ("background", name)


def test_runs_along_the_rows_are_asked_about(masks, write, tmp_path):
    """Carvana and Sartorius number pixels along the rows: read down the columns, the discs were in pieces."""
    rows = [encoded(mask, "rows") for mask in masks]
    write("train_masks.csv", "img,rle_mask\na.jpg,{}\nb.jpg,{}\n".format(*rows))
    with pytest.raises(DataError, match="write in data.yaml `run_order: rows`, or `run_order: columns`"):
        open_dataset(tmp_path)
    write("data.yaml", "run_order: rows\n")
    data = open_dataset(tmp_path)
    assert np.array_equal(data.items[0].source.ids() > 0, masks[0])


def counted_from_before(mask):
    """The run lengths of SIIM-ACR: down the columns, from 0, each start counted from the end of the run before."""
    numbers = list(map(int, encoded(mask).split()))
    told, end = [], 0
    for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
        told += [start - 1 - end, length]
        end = start - 1 + length
    return " ".join(map(str, told))


def test_starts_that_are_counted_from_the_run_before(masks, write, tmp_path):
    """SIIM-ACR: a blank before the name of the column, -1 for a picture without a pneumothorax."""
    a, b = map(counted_from_before, masks)
    write("train-rle.csv", f"ImageId, EncodedPixels\na, {a}\na, {b}\nb, {b}\nc, -1\n")
    data = open_dataset(tmp_path)
    assert np.array_equal(data.items[0].source.ids() > 0, masks[0] | masks[1])
    assert np.array_equal(data.items[1].source.ids() > 0, masks[1])
    assert not data.items[2].source.ids().any()
    assert any("counted from the end of the run before" in note for note in data.notes)


def test_one_row_that_is_wrong_among_those_is_named(masks, write, tmp_path):
    """Of long tables some rows are looked at; any other that could not be read ended the reading without its file."""
    a, b = map(counted_from_before, masks)
    lines = [f"a, {a}", *(f"b, {b}" if n == 0 else f"b, {a}" for n in range(256)), "c, 1 2 3"]
    write("train-rle.csv", "ImageId, EncodedPixels\n" + "\n".join([lines[0], lines[-1], *lines[1:-1]]) + "\n")
    data = open_dataset(tmp_path)
    assert any("counted from the end of the run before" in note for note in data.notes)
    with pytest.raises(DataError, match="train-rle.csv: 3 numbers"):
        data.items[2].source.ids()


def test_one_row_that_does_not_rise_changes_no_other(masks, write, tmp_path):
    """Starts counted from the first pixel end outside the picture if they are added up: the wrong row is named."""
    write("train.csv", f"ImageId,EncodedPixels\na.jpg,{encoded(masks[0])}\nb.jpg,9 3 5 2\n")
    data = open_dataset(tmp_path)
    assert np.array_equal(data.items[0].source.ids() > 0, masks[0])
    with pytest.raises(DataError, match="do not rise"):
        data.items[1].source.ids()


def test_names_of_folder_and_slice(save, photo, masks, write, tmp_path):
    """UW-Madison: case2_day1_slice_0001 is case2/case2_day1/scans/slice_0001_20_12_1.50_1.50.png."""
    rows = ["id,class,segmentation"]
    for case in (2, 20):
        for day in (1, 2):
            save(f"train/case{case}/case{case}_day{day}/scans/slice_0001_20_12_1.50_1.50.png", photo(12, 20))
            name, day_mask = f"case{case}_day{day}_slice_0001", encoded(masks[day - 1], "rows")
            rows += [f"{name},large_bowel,", f"{name},small_bowel,{day_mask}", f"{name},stomach,"]
    write("train.csv", "\n".join(rows))
    write("data.yaml", "run_order: rows\n")
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "large_bowel", "small_bowel", "stomach")
    assert len(data) == 4
    for item in data.items:
        day = 1 if "_day1" in item.name else 2
        assert np.array_equal(item.source.ids(), np.where(masks[day - 1], 2, 0))
    assert {item.group for item in data.items} == {"train/case2", "train/case20"}, "a case stays in one split"


def test_pictures_that_are_dicom_are_named(write, tmp_path):
    write("train-rle.csv", "ImageId, EncodedPixels\n1.2.276, 10 3 5 2\n")
    (tmp_path / "1.2.276.dcm").write_bytes(b"DICM")
    with pytest.raises(DataError, match="as DICOM .*save them as PNG with the same names"):
        open_dataset(tmp_path)


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


def test_attributes_behind_a_class(masks, write, tmp_path):
    """iMaterialist's 6_12_45 is class 6 with two attributes: each combination was a class of its own."""
    disc, box = map(encoded, masks)
    write("train.csv", f"ImageId,EncodedPixels,ClassId\na.jpg,{disc},6_12_45\nb.jpg,{box},6\nc.jpg,{box},23_1\n")
    data = open_dataset(tmp_path)
    assert [(entry.id, entry.name) for entry in data.label_space.classes] == [
        (0, "background"), (6, "class 6"), (23, "class 23"),
    ]  # fmt: skip
    assert any("what is behind is left out" in note for note in data.notes)


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (["shirt", "top", "skirt"], ["background", "shirt", "skirt"]),
        (["background", "shirt", "top", "skirt"], ["background", "shirt", "skirt"]),
    ],
)
def test_names_that_count_from_0_as_the_table(masks, write, tmp_path, listed, told):
    """iMaterialist's class 0, a shirt, was called "top", which is 1, and the last one had no name."""
    disc, box = masks
    write(
        "label_descriptions.json",
        json.dumps({"categories": [{"id": n, "name": name} for n, name in enumerate(listed)]}),
    )
    rows = f"a,{encoded(disc)},12,20,0\na,{encoded(box)},12,20,2\nb,{encoded(disc)},12,20,0\n"
    write("train.csv", "ImageId,EncodedPixels,Height,Width,ClassId\n" + rows)
    assert [entry.name for entry in open_dataset(tmp_path).label_space.entries] == told


def test_a_column_for_each_class(masks, write, tmp_path):
    """A pivoted table (id, large_bowel, stomach) was "pictures, but no labels"."""
    disc, box = masks
    write("train.csv", f"id,Disc,box,n\na,{encoded(disc)},,1\nb,,{encoded(box)},2\nc,,,3\n")
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "Disc", "box")
    labels = [data.read_labels(item) for item in data.items]
    assert np.array_equal(labels[0], disc)
    assert np.array_equal(labels[1], 2 * box)
    assert not labels[2].any()


@pytest.mark.parametrize(
    "table",
    [
        "id,size,note\na,12 20,new\nb,12 20,old\n",
        "id,left,right\na,1 2 9 9,5 5 20 20\nb,1 2 9 9,\n",  # boxes
        "id,left,right\na,1 2 9 9 1 9,5 5 7 5 7 9\nb,,\n",  # outlines
    ],
)
def test_other_columns_of_numbers_are_no_run_lengths(masks, write, tmp_path, table):
    write("table.csv", table)
    with pytest.raises(DataError, match="no labels in a known layout"):
        open_dataset(tmp_path)
