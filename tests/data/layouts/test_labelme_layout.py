import json

import numpy as np
import pytest
from PIL import Image

from denselab.data import open_dataset
from denselab.errors import DataError


def shape(label, points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


@pytest.fixture
def labelme(save, photo, write, tmp_path):
    def make(shapes, size=(4, 6), **more):
        for name in ("a", "b"):
            save(f"{name}.jpg", photo(4, 6))
            content = {
                "imagePath": f"{name}.jpg",
                "imageData": None,
                "shapes": shapes,
                "imageHeight": size[0],
                "imageWidth": size[1],
                **more,
            }
            write(f"{name}.json", json.dumps(content))
        return tmp_path

    return make


def test_later_shapes_cover_earlier_ones(labelme):
    data = open_dataset(
        labelme([shape("dog", [[0, 0], [6, 0], [6, 4], [0, 4]]), shape("cat", [[1, 1], [3, 3]], "rectangle")])
    )
    assert data.label_space.names == ("background", "cat", "dog")
    assert data.read_labels(data.items[0]).tolist() == [[2] * 6, [2, 1, 1, 2, 2, 2], [2, 1, 1, 2, 2, 2], [2] * 6]


def test_background_is_what_no_shape_covers(labelme):
    data = open_dataset(labelme([shape("cat", [[0, 0], [2, 4]], "rectangle")]))
    assert data.read_labels(data.items[0]).tolist() == [[1, 1, 0, 0, 0, 0]] * 4


def test_labels_txt_one_folder_up_gives_the_ids(labelme, write, tmp_path):
    root = labelme([shape("cat", [[0, 0], [2, 4]], "rectangle"), shape("__ignore__", [[4, 0], [6, 4]], "rectangle")])
    (root / "set").mkdir()
    for file in [*root.glob("*.jpg"), *root.glob("*.json")]:
        file.rename(root / "set" / file.name)
    write("labels.txt", "__ignore__\n_background_\ndog\ncat\n")
    data = open_dataset(root / "set")
    assert data.label_space.names == ("background", "dog", "cat")
    assert data.read_labels(data.items[0]).tolist() == [[2, 2, 0, 0, 255, 255]] * 4


def test_size_from_the_picture_where_the_json_has_none(labelme):
    root = labelme([shape("cat", [[0, 0], [2, 4]], "rectangle")], size=(None, None))
    assert open_dataset(root).read(open_dataset(root).items[0]).labels.shape == (4, 6)


def test_circle_line_and_point(labelme):
    shapes = [
        shape("c", [[2, 2], [2, 1]], "circle"),
        shape("l", [[0, 0], [5, 3]], "line"),
        shape("p", [[3, 3]], "point"),
    ]
    data = open_dataset(labelme(shapes))
    assert set(np.unique(data.items[0].source.ids())) <= {0, 1, 2, 3}


def test_unknown_shape(labelme):
    with pytest.raises(DataError, match=r"a\.json: shape_type 'spline'; known are polygon"):
        open_dataset(labelme([shape("cat", [[0, 0]], "spline")]))


def test_json_without_pictures(labelme, tmp_path):
    root = labelme([shape("cat", [[0, 0], [2, 4]], "rectangle")])
    for picture in root.glob("*.jpg"):
        picture.unlink()
    with pytest.raises(DataError, match=r"no picture beside a\.json, b\.json"):
        open_dataset(root)


@pytest.mark.parametrize("folder", ["semantic_segmentation", "instance_segmentation"])
def test_our_drawing_agrees_with_the_tool_s_own(shared_data, folder):
    """labelme drew SegmentationClass from data_annotated; it includes the outline, so that we differ along borders only."""
    drawn = open_dataset(shared_data / "labelme" / folder / "data_annotated")
    for item in drawn.items:
        ids = item.source.ids()
        with Image.open(
            shared_data / "labelme" / folder / "data_dataset_voc" / "SegmentationClass" / f"{item.name}.png"
        ) as picture:
            theirs = np.array(picture)
        assert (ids == theirs).mean() > 0.985
        inner = (ids[1:-1, 1:-1] == ids[:-2, 1:-1]) & (ids[1:-1, 1:-1] == ids[2:, 1:-1])
        assert (ids[1:-1, 1:-1] == theirs[1:-1, 1:-1])[inner].mean() > 0.99


def test_shapes_of_x_anylabeling(labelme):
    square = [[1, 1], [3, 1], [3, 3], [1, 3]]
    cuboid = shape("box", [*square, *([x + 1, y + 1] for x, y in square)], "cuboid")
    data = open_dataset(labelme([shape("cat", square, "quadrilateral"), cuboid]))
    assert (data.items[0].source.ids() > 0).sum() == 4
    assert "2 shapes without an area (cuboids), left out" in data.notes


def test_shapes_without_a_label_are_left_out(labelme):
    """They were of a class called None."""
    bare = {**shape("", [[0, 0], [6, 0], [6, 4]]), "label": None}
    data = open_dataset(
        labelme([bare, shape(" ", [[0, 0], [6, 0], [6, 4]]), shape("cat", [[0, 0], [2, 4]], "rectangle")])
    )
    assert data.label_space.names == ("background", "cat")
    assert "4 shapes without a label, left out" in data.notes


def test_lines_and_points_are_told(labelme):
    """They have no area: how wide they are drawn is an invention."""
    data = open_dataset(labelme([shape("lane", [[0, 2], [6, 2]], "line"), shape("tip", [[1, 1]], "point")]))
    assert any("2 lines drawn 10 pixels wide and 2 points drawn with a radius of 5" in note for note in data.notes)


def test_image_path_leads_from_the_json_to_one_of_several_pictures_of_that_name(labelme, save, photo, tmp_path):
    """Cameras number their pictures alike: with the json files apart, none of them was found."""
    for number, (camera, label) in enumerate((("cam1", "cat"), ("cam2", "dog"))):
        save(f"images/{camera}/1.png", photo(4, 6))
        (tmp_path / f"json_{number}").mkdir(parents=True)
        content = {"imagePath": f"..\\images\\{camera}\\1.png", "imageHeight": 4, "imageWidth": 6}
        shapes = [shape(label, [[0, 0], [2, 4]], "rectangle")]
        (tmp_path / f"json_{number}" / "1.json").write_text(json.dumps({**content, "shapes": shapes}))
    data = open_dataset(tmp_path)
    drawn = {item.name: data.label_space.names[data.read_labels(item)[0, 0]] for item in data.items}
    assert drawn == {"images/cam1/1": "cat", "images/cam2/1": "dog"}


def test_numbered_names_are_pointed_out(labelme):
    """Older versions told objects of a class apart as car-1 and car-2: each became a class."""
    data = open_dataset(labelme([shape(name, [[0, 0], [2, 4]], "rectangle") for name in ("car-1", "car-2", "dog-1")]))
    note = "car-1, car-2 are classes of their own; where the number counts objects of one class, take it out"
    assert note in data.notes


def test_two_files_of_one_picture_are_joined(labelme, tmp_path):
    """The picture stood twice in the set, with half of its shapes each, and was said to be its own copy."""
    folder = labelme([shape("cat", [[0, 0], [2, 4]], "rectangle")])
    file = sorted(folder.glob("*.json"))[0]
    content = json.loads(file.read_text())
    second = {**content, "shapes": [shape("dog", [[4, 0], [6, 4]], "rectangle")]}
    (folder / f"{file.stem}_2.json").write_text(json.dumps(second))
    data = open_dataset(folder)
    assert len({item.image for item in data.items}) == len(data.items)
    names = [data.label_space.names[i] for i in data.read_labels(data.items[0])[0]]
    assert (names[0], names[-1]) == ("cat", "dog")
    assert any("1 picture annotated in several places, all shapes taken" in note for note in data.notes)
