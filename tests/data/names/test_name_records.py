"""Names in files of tools that are called otherwise than names files are; they count where they fit the labels."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset

IDS = np.arange(48).reshape(6, 8) % 3
RED, BLUE = (255, 0, 0), (0, 0, 255)
COLOURS = np.array([(0, 0, 0), RED, BLUE], np.uint8)[IDS]
BUILDING, ROAD = {"Value": 1, "Name": "Building", "Color": [9, 0, 0]}, {"Value": 2, "Name": "Road", "Color": [0, 9, 0]}
SPEC = [
    {"displayName": n, "color": {"red": r, "blue": b}} for n, r, b in (("soil", 0, 0), ("crop", 1, 0), ("weed", 0, 1))
]
MAP = {
    "0": {"class-name": "BACKGROUND", "hex-color": "#000000"},
    "1": {"class-name": "scratch", "hex-color": "#ff0000", "confidence": 0.0},
    "2": {"class-name": "dent", "hex-color": "#0000ff"},
}


def labelled(save, photo, labels):
    for i in range(3):
        save(f"images/{i}.png", photo(seed=i))
        save(f"labels/{i}.png", labels)


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("esri_model_definition.emd", {"Framework": "", "Classes": [ROAD, BUILDING]}, ("background", "Building", "Road")),
        ("defect_map.json", {"0": "ok", "1": "scratch", "2": "dent"}, ("ok", "scratch", "dent")),
        (
            "label_classes.json",
            [{"png_index": 2, "class_name": "dent", "color": "#00ff00ff"}, {"png_index": 1, "class_name": "scratch", "color": "#ff0000ff"}],
            ("background", "scratch", "dent"),
        ),
        ("labels/mapping.json", {"classes": {"floor": 0, "scratch": 1, "dent": 2}}, ("floor", "scratch", "dent")),
        ("ids.json", {"floor": 0, "scratch": 1, "dent": 2}, ("floor", "scratch", "dent")),
        ("my_dataset.yaml", {"train_images_dir": "x", "classes": ["floor", "scratch", "dent"]}, ("floor", "scratch", "dent")),
        ("config.yml", {"data": {"class_names": ["floor", "scratch", "dent"]}}, ("floor", "scratch", "dent")),
        ("tool.json", {"settings": {"classes": [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}]}}, ("background", "a", "b")),
    ],
)  # fmt: skip
def test_names_of_numbers(save, photo, write, tmp_path, file, content, names):
    """ArcGIS, LandingLens, Hasty: "nothing says what the ids mean" stood beside the file that says it."""
    labelled(save, photo, IDS)
    write(file, json.dumps(content))
    data = open_dataset(tmp_path)
    assert data.label_space.names == names
    assert f"class names from {file}" in data.notes
    assert np.array_equal(data.read_labels(data.items[0]), IDS)


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("import.jsonl", {"mask": {"annotationSpecColors": SPEC}}, ("soil", "crop", "weed")),
        ("train.manifest", {"mask-ref-metadata": {"internal-color-map": MAP}}, ("BACKGROUND", "scratch", "dent")),
        (
            "annotation_definitions.json",
            {"definitions": [
                {"spec": [{"label_id": 1, "label_name": "Box"}, {"label_id": 2, "label_name": "Crate"}]},
                {"spec": [{"label_name": "Crate", "pixel_value": [0, 0, 255, 255]}, {"label_name": "Box", "pixel_value": [255, 0, 0, 255]}]},
            ]},
            ("background", "Box", "Crate"),
        ),
        (
            "classes/classes.json",
            [{"id": 7001, "name": "car", "color": "#ff0000"}, {"id": 7002, "name": "van", "color": "#0000ff"}],
            ("background", "car", "van"),
        ),
    ],
)  # fmt: skip
def test_names_of_colours(save, photo, write, tmp_path, file, content, names):
    """Vertex AI, Lookout for Vision, Unity's SOLO, SuperAnnotate: colours without names, called by their numbers."""
    labelled(save, photo, COLOURS)
    write(file, json.dumps(content))
    data = open_dataset(tmp_path)
    assert data.label_space.names == names
    assert np.array_equal(data.read_labels(data.items[0]), IDS)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("esri_model_definition.emd", {"Classes": [ROAD]}),  # not that of these labels: 1 has no name
        ("export.json", {"images": [], "classes": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}),
        ("cameras.json", {"cameras": [{"id": 1, "name": "left"}, {"id": 2, "name": "right"}]}),
        ("label_map.jsonl", {"map": {"1": "0.png", "2": "1.png"}}),
        ("tool.json", {"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}),
        ("tool.json", {"labels": [{"id": 1, "label": "a", "points": []}, {"id": 2, "label": "b", "points": []}]}),
        ("statistics.json", {"classes": {"a": 12, "b": 31}}),
        ("config.yml", {"classes": ["scratch", "dent"]}),  # without the background, or others: not these numbers
        ("legend.json", {"classes": [{"name": "a", "color": "#ff0000"}, {"name": "b", "color": "#0000ff"}]}),  # of colours
        ("tool.emd", "{"),
        ("tool.yaml", "classes: [{1: a, id: 1}, {2: b, id: 2}]\n"),
        ("tool.jsonl", '{"classes": {"1": "a", "2": "b"}}\n{"classes": {"1": "b", "2": "a"}}\n{"classes": '),
    ],
)  # fmt: skip
def test_a_table_that_may_be_about_other_things_does_not_count(save, photo, write, tmp_path, file, content):
    labelled(save, photo, IDS)
    write(file, content if isinstance(content, str) else json.dumps(content))
    assert open_dataset(tmp_path).label_space.names == ("class 0", "class 1", "class 2")


def test_a_table_of_numbers_says_nothing_of_two_valued_masks(save, photo, write, tmp_path):
    labelled(save, photo, 255 * (IDS > 0))
    write("tool.json", json.dumps({"classes": [{"id": n, "name": f"thing {n}"} for n in range(1, 5)]}))
    assert open_dataset(tmp_path).label_space.names == ("background", "foreground")


def test_names_beside_a_pattern(save, photo, write, tmp_path):
    """With `pattern` in data.yaml no names file was read at all."""
    for name in "ab":
        save(f"{name}_photo.png", photo())
        save(f"{name}_annotated.png", IDS)
    write("data.yaml", "pattern: {image: '*_photo', mask: '*_annotated'}\n")
    write("classes.txt", "sky\nroad\ncar\n")
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("sky", "road", "car")
    assert "class names from classes.txt" in data.notes


def test_a_colour_that_no_name_has_is_offered_with_the_others(save, photo, write, tmp_path):
    """CVAT's labelmap.txt without its background: one row was offered, which does not stand alone."""
    labelled(save, photo, COLOURS)
    write("labelmap.txt", "car:255,0,0::\nvan:0,0,255::\n")
    note = next(note for note in open_dataset(tmp_path).notes if "in no table" in note)
    write("data.yaml", note.split("`")[1])
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("car", "van", "background")
    assert np.array_equal(data.read_labels(data.items[0]), (IDS - 1) % 3)
