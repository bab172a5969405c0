"""Tables of classes in the forms that tools and people write: csv, lines, json, yaml."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.names.name_tables import colour_of, rows_of_csv, rows_of_lines
from denselab.errors import DataError

WEED = (128, 64, 128)
NAMED = [(0, "soil", None), (1, "weed", None)]
COLOURED = [(0, "soil", (0, 0, 0)), (1, "weed", WEED)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("id,name\n0,soil\n1,weed\n", NAMED),
        ("Value;Class\n0;soil\n1;weed\n", NAMED),
        ("label,name\n0,soil\n1,weed\n", NAMED),
        ("class_name\tclass_id\nsoil\t0\nweed\t1\n", NAMED),
        ("0,soil\n1,weed\n", NAMED),
        ("soil,0\nweed,1\n", NAMED),
        ("Name,R,G,B\nsoil,0,0,0\nweed,128,64,128\n", COLOURED),
        ("class_name,class_color\nsoil,0 0 0\nweed,128 64 128\n", COLOURED),
        ("class,red,green,blue\nsoil,0,0,0\nweed,128,64,128\n", COLOURED),
        ("id,name,color\n0,soil,#000000\n1,weed,#804080\n", COLOURED),
        ('name,rgb\nsoil,"0, 0, 0"\nweed,"(128, 64, 128)"\n', COLOURED),
        ("soil,0,0,0\nweed,128,64,128\n", COLOURED),
        ("0,soil,0,0,0\n1,weed,128,64,128\n", COLOURED),
        ("fname,is_valid\na.png,True\n", None),
        ("filename,label\na.png,dog\n", None),
        ("name,label\na.png,0\nb.png,1\n", None),
        ("a,b,c\n1,2,3\n", None),
    ],
)
def test_csv(write, text, rows):
    """All but the third were refused: "expected the columns name, r, g, b"."""
    assert rows_of_csv(write("classes.csv", text)) == rows


def test_an_id_twice(write):
    with pytest.raises(DataError, match=r"classes\.csv: id 1 is listed twice"):
        rows_of_csv(write("classes.csv", "id,name\n1,soil\n1,weed\n"))


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (["soil:0,0,0::", "weed:128,64,128::"], COLOURED),
        (["0 0 0\tsoil", "128 64 128\tweed"], COLOURED),
        (["0,0,0,soil", "128,64,128,weed"], COLOURED),
        (["soil 0 0 0", "weed 128 64 128"], COLOURED),
        (["0 soil 0 0 0", "1 weed 128 64 128"], COLOURED),
        (["0: tall weed, 128, 64, 128"], [(0, "tall weed", WEED)]),
        (["soil", "weed"], None),
        (["0 soil", "1 weed"], None),
        ([], None),
    ],
)
def test_lines(lines, rows):
    assert rows_of_lines(lines) == rows


@pytest.mark.parametrize(
    ("value", "colour"),
    [([128, 64, 128], WEED), ("#804080", WEED), ("804080", None), ("128, 64, 128", WEED), ("red", None), (7, None)],
)
def test_colours(value, colour):
    assert colour_of(value) == colour


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "id,name\n0,soil\n1,weed\n"),
        ("class_map.csv", "class_id,class_name\n0,soil\n1,weed\n"),
        ("label_map.json", json.dumps({"soil": 0, "weed": 1})),
        ("config.json", json.dumps({"num_labels": 2, "id2label": {"0": "soil", "1": "weed"}})),
        ("notes.json", json.dumps({"categories": [{"id": 0, "name": "soil"}, {"id": 1, "name": "weed"}]})),
        ("classes.yaml", "names:\n  0: soil\n  1: weed\n"),
        ("label_map.pbtxt", "item {\n  id: 1\n  name: 'weed'\n}\nitem { id: 0 name: 'soil' }\n"),
        ("labelmap.txt", "0 soil\n1 weed\n"),
        ("classes.txt", "soil,0\nweed,1\n"),
    ],
)
def test_names_of_numbers(save, photo, write, tmp_path, name, text):
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8))
    write(name, text)
    assert open_dataset(tmp_path).label_space.names == ("soil", "weed")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", json.dumps([{"id": 0, "name": "soil", "color": "#000000"}, {"id": 1, "name": "weed", "color": WEED}])),
        ("classes.json", json.dumps([{"name": "soil", "color": [0, 0, 0]}, {"name": "weed", "color": WEED}])),
        ("classes.json", json.dumps({"soil": [0, 0, 0], "weed": WEED})),
        ("classes.json", json.dumps({"0": {"name": "soil", "color": [0, 0, 0]}, "1": {"name": "weed", "color": WEED}})),
        ("classes.txt", "soil 0 0 0\nweed 128 64 128\n"),
        ("label_colors.txt", "0,0,0,soil\n128,64,128,weed\n"),
    ],
)  # fmt: skip
def test_names_of_colours(save, photo, write, tmp_path, name, text):
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8)[..., None] * np.array(WEED, np.uint8))
    write(name, text)
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("soil", "weed")
    assert data.label_space.classes[1].colour == WEED


@pytest.mark.parametrize("file", ["labels.csv", "classes.csv"])
def test_another_table_of_that_name_is_passed_over(save, photo, write, tmp_path, file):
    save("images/a.png", photo())
    save("masks/a.png", np.eye(6, 8, dtype=np.uint8))
    write(file, "fname,is_valid\na.png,True\n")
    assert open_dataset(tmp_path).label_space.names == ("class 0", "class 1")


def test_label_descriptions_of_itk_snap():
    """The number, and two of the colour's, were taken for the colour, and the rest of the line for the name."""
    lines = ['5 255 0 0 1 1 1 "Tumor"', '9     0  255    0        0.5  1  1    "Clear Label"']
    assert rows_of_lines(lines) == [(5, "Tumor", (255, 0, 0)), (9, "Clear Label", (0, 255, 0))]


def test_colour_tables_of_3d_slicer():
    assert rows_of_lines(["0 Background 0 0 0 0", "4 Liver_left 0 255 0 255"]) == [
        (0, "Background", (0, 0, 0)),
        (4, "Liver_left", (0, 255, 0)),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ["ID\tName\tRed\tGreen\tBlue", "0\tsoil\t0\t0\t0", "1\tweed\t128\t64\t128"],
        ["name r g b", "soil 0 0 0", "weed 128 64 128"],
        ["soil: #000000", "weed: #804080"],
        ["0 soil #000000", "1 weed #804080"],
    ],
)
def test_a_heading_and_colours_in_hexadecimal(lines):
    """The heading was the first name, and all the numbers a part of the others."""
    assert rows_of_lines(lines) == COLOURED
