"""The walk that all layouts of drawn shapes share, seen through each of them."""

import json

import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

RING = [[1, 1], [5, 1], [5, 4], [1, 4]]
XML = "<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
OBJECT = "<object><name>{name}</name><polygon>{points}</polygon></object>"


def cvat(shapes, size='width="8" height="6"', name="a.jpg"):
    return f'<image name="{name}" {size}>{shapes}</image>'


def cvat_file(*images):
    return f"<annotations>{''.join(images)}</annotations>"


def labelme_object(name="cat", ring=RING):
    return OBJECT.format(name=name, points="".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ring))


def coco(*annotations, **size):
    image = {"id": 3, "file_name": "a.jpg", **(size or {"height": 6, "width": 8})}
    annotations = [{"id": 7 + n, "image_id": 3, "category_id": 1, **a} for n, a in enumerate(annotations)]
    return json.dumps({"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]})


def labelme(*shapes, **size):
    shapes = [{"label": "cat", "shape_type": "polygon", **shape} for shape in shapes]
    return json.dumps({"imagePath": "a.jpg", "shapes": shapes, **size})


def via(*shapes):
    regions = [{"shape_attributes": shape, "region_attributes": {"kind": "cat"}} for shape in shapes]
    return json.dumps({"a": {"filename": "a.jpg", "regions": regions}})


def supervisely(*things, **size):
    things = [{"classTitle": "cat", "geometryType": "polygon", **thing} for thing in things]
    return json.dumps({"objects": things, **size})


def task(*values, **size):
    results = [{"type": "x", "value": {**value, "polygonlabels": ["cat"]}, **size} for value in values]
    return {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": results}]}


PER_CENT = [[12.5, 100 / 6], [62.5, 100 / 6], [62.5, 400 / 6], [12.5, 400 / 6]]
FLAT = [number for point in RING for number in point]
GOOD = {
    "labelme": ("a.json", labelme({"points": RING})),
    "via": ("via.json", via({"name": "rect", "x": 1, "y": 1, "width": 4, "height": 3})),
    "supervisely": ("set/ann/a.jpg.json", supervisely({"points": {"exterior": RING, "interior": []}})),
    "cvat": ("annotations.xml", cvat_file(cvat('<polygon label="cat" points="1,1;5,1;5,4;1,4"/>', size=""))),
    "labelme-xml": ("Annotations/a.xml", XML.format(name="a", size="", objects=labelme_object())),
    "label-studio-json": ("export.json", json.dumps([task({"points": PER_CENT})])),
    "coco": ("instances.json", coco({"segmentation": [FLAT], "area": 12}, height=None)),
}
PLACES = {"supervisely": "set/img/a.jpg", "labelme": "a.jpg"}


@pytest.fixture
def tool(save, photo, write, tmp_path):
    """tool(name, text): one picture a.jpg of 6 x 8 beside the annotation file of a tool; opens them."""

    def make(name, text=None):
        file, good = GOOD[name]
        save(PLACES.get(name, "images/a.jpg"), photo(6, 8))
        if name == "supervisely":
            write("meta.json", json.dumps({"classes": [{"title": "cat"}]}))
        write(file, good if text is None else text)
        return open_dataset(tmp_path)

    return make


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_measured_where_its_file_tells_no_size(tool, name):
    """CVAT, COCO, Supervisely and the LabelMe web tool were refused: "KeyError('height') is missing or wrong"."""
    data = tool(name)
    expected = [[0] * 8, *[[0, 1, 1, 1, 1, 0, 0, 0]] * 3, [0] * 8, [0] * 8]
    assert data.read_labels(data.items[0]).tolist() == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "labelme",
            labelme({"points": RING}, {"points": "x"}),
            "a.json: picture a.jpg: shape 2: `points` is x, and no",
        ),
        ("labelme", labelme({}), "a.json: picture a.jpg: shape 1: `points` is missing"),
        ("labelme", labelme({"points": RING}, imageHeight="six", imageWidth=8), "height 'six' and width 8; two whole"),
        ("via", via({"name": "rect", "x": 1, "width": 1, "height": 1}), "via.json: picture a.jpg: shape 1: `y` is mis"),
        ("via", via({"name": "circle", "cx": 1, "cy": 1}), "shape 1: `r` is missing"),
        ("supervisely", supervisely({"points": {}}), "a.jpg.json: picture a.jpg: shape 1: `exterior` is missing"),
        (
            "cvat",
            cvat_file(cvat('<tag label="x"/><polyline label="b"/><box label="cat" xtl="1" ytl="2,5"/>')),
            "annotations.xml: picture a.jpg: shape 2: `ytl` is '2,5', and no number; correct it or export it again",
        ),
        ("cvat", cvat_file(cvat('<mask label="cat" left="1"/>')), "picture a.jpg: shape 1: `top` is missing"),
        ("cvat", cvat_file(cvat('<polygon label="cat" points="1,1;2"/>')), "shape 1: `points` is [['1', '1'], ['2']]"),
        (
            "cvat",
            cvat_file(cvat('<polygon label="cat" points="1,1;5,1;5,4" z_order="top"/>')),
            "annotations.xml: picture a.jpg: `z_order` is 'top', and no number",
        ),
        (
            "labelme-xml",
            XML.format(name="a", size="", objects=labelme_object().replace("<x>1</x>", "<x>one</x>", 1)),
            "a.xml: picture a.jpg: shape 1: `x` is 'one', and no number",
        ),
        ("label-studio-json", json.dumps([task({"radiusX": 1, "radiusY": 1, "x": 5})]), "shape 1: `y` is missing"),
        (
            "coco",
            coco({"segmentation": [FLAT]}, {"bbox": [1, 2, 3]}),
            "instances.json: picture a.jpg: shape 2: `bbox` is [1, 2, 3]; x, y, width and height were expected",
        ),
        ("coco", coco({"segmentation": [FLAT], "area": "large"}), "picture a.jpg: `area` is 'large', and no number"),
        ("coco", coco({"segmentation": [FLAT]}, height="x", width=8), "picture a.jpg: height 'x' and width 8; two"),
        ("coco", coco({"segmentation": [FLAT]}).replace('"a.jpg"', "null"), "file_name None of image 3 is not a file"),
    ],
)
def test_what_is_missing_is_told_with_its_place(tool, name, text, message):
    """ "KeyError('ytl') is missing or wrong", or "a record in a.json, b.json and 40 more lacks something"."""
    with pytest.raises(DataError) as error:
        tool(name, text)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["labelme-xml", "label-studio-json", "supervisely"])
def test_two_records_of_one_picture_are_joined(tool, write, name, tmp_path):
    """The picture stood in the set twice, with a part of its shapes each; other tools' were joined."""
    other = [[6, 5], [8, 5], [8, 6], [6, 6]]
    if name == "label-studio-json":
        more = [[x * 100 / 8, y * 100 / 6] for x, y in other]
        data = tool(name, json.dumps([task({"points": PER_CENT}), task({"points": more})]))
    else:
        tool(name)
        if name == "labelme-xml":
            write("Annotations/b.xml", XML.format(name="a", size="", objects=labelme_object(ring=other)))
        else:
            write("set/ann/a.json", supervisely({"points": {"exterior": other, "interior": []}}))
        data = open_dataset(tmp_path)
    assert len(data.items) == 1
    assert data.read_labels(data.items[0])[[1, 5], [1, 7]].tolist() == [1, 1]
    assert any("1 picture annotated in several places, all shapes taken" in note for note in data.notes)


def test_collections_of_labelme_have_pictures_of_one_name(save, photo, write, tmp_path):
    """Annotations/day/a.xml went to Images/night/a.jpg, the last picture of that name."""
    for collection, name in (("day", "cat"), ("night", "dog")):
        save(f"Images/{collection}/a.jpg", photo(6, 8))
        write(f"Annotations/{collection}/a.xml", XML.format(name="a", size="", objects=labelme_object(name)))
    data = open_dataset(tmp_path)
    drawn = {item.name: data.label_space.names[data.read_labels(item).max()] for item in data.items}
    assert drawn == {"Images/day/a": "cat", "Images/night/a": "dog"}


def test_annotations_of_labelme_without_their_picture_are_told(tool, write, tmp_path):
    """They were passed over in silence."""
    tool("labelme-xml")
    write("Annotations/gone.xml", XML.format(name="gone", size="", objects=labelme_object()))
    assert "1 xml file without a picture: Annotations/gone.xml" in open_dataset(tmp_path).notes


def test_a_name_of_cvat_that_several_pictures_have_is_refused(save, photo, write, tmp_path):
    """It was "not found"."""
    for folder in ("one", "two"):
        save(f"pictures/{folder}/a.jpg", photo(6, 8))
    write("annotations.xml", cvat_file(cvat("")))
    with pytest.raises(
        DataError, match=r"a\.jpg of annotations\.xml may be pictures/one/a\.jpg, pictures/two/a\.jpg; give its folder"
    ):
        open_dataset(tmp_path)


def test_pictures_that_cvat_does_not_name_are_told(tool, save, photo, tmp_path):
    tool("cvat")
    save("images/b.jpg", photo(6, 8))
    assert [path.name for path in open_dataset(tmp_path).without_label] == ["b.jpg"]


def test_an_outline_with_a_hole_lies_on_what_is_larger(tool):
    """Of all shapes those with holes were drawn first, below the boxes that are ignored."""
    ring = [0, 0, 8, 0, 8, 6, 0, 6]
    holed = {"segmentation": [FLAT, [2, 2, 3, 2, 3, 3, 2, 3]], "area": 11, "category_id": 1}
    text = json.loads(coco({"segmentation": [ring], "area": 48, "category_id": 2}, holed))
    text["categories"].append({"id": 2, "name": "grass"})
    data = tool("coco", json.dumps(text))
    assert data.read_labels(data.items[0])[1:4].tolist() == [
        [2, 1, 1, 1, 1, 2, 2, 2],
        [2, 1, 2, 1, 1, 2, 2, 2],
        [2, 1, 1, 1, 1, 2, 2, 2],
    ]


def test_pictures_that_differ_by_their_suffix_alone_keep_it(tool, save, photo, tmp_path):
    save("images/a.png", photo(6, 8))
    regions = json.loads(via())
    data = tool("via", json.dumps({**regions, "b": {"filename": "a.png", "regions": []}}))
    assert [item.name for item in data.items] == ["images/a.jpg", "images/a.png"]
