import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.errors import DataError

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog", "color": [1, 2, 3]}]


def box(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def image(number, name, height=4, width=4):
    return {"id": number, "file_name": name, "height": height, "width": width}


def drawn(number, category, segmentation, area, crowd=0):
    return {
        "id": number,
        "image_id": 0,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
        "iscrowd": crowd,
    }


@pytest.fixture
def coco(save, photo, write, tmp_path):
    """coco(annotations, categories): writes two pictures, the first annotated, and opens them."""

    def make(annotations, categories=CATEGORIES):
        for name in ("a.jpg", "b.jpg"):
            save(f"images/{name}", photo(4, 4))
        content = {
            "images": [image(0, "a.jpg"), image(1, "b.jpg")],
            "categories": categories,
            "annotations": annotations,
        }
        write("instances.json", json.dumps(content))
        data = open_dataset(tmp_path)
        first = next(item for item in data.items if item.name == "images/a")
        return data, first

    return make


def test_small_objects_stay_on_top_whatever_their_order(coco):
    large, small = drawn(1, 1, box(0, 0, 4, 4), 16.0), drawn(2, 3, box(1, 1, 2, 2), 1.0)
    for annotations in ([large, small], [small, large]):
        data, first = coco(annotations)
        ids = first.source.ids()
        assert ids[1, 1] == 3
        assert (ids == 1).sum() == 15
        assert data.label_space.names == ("background", "cat", "dog")


def test_crowds_are_of_their_category_and_smaller_objects_lie_on_them(coco):
    """They were ignored, which lost every object painted with CVAT's brush: it exports all of them as crowds."""
    crowd = drawn(1, 1, {"size": [4, 4], "counts": [0, 16]}, 16.0, crowd=1)
    data, first = coco([drawn(2, 3, box(0, 0, 1, 4), 4.0), crowd])
    labels = data.read_labels(first)
    assert (labels[:, 0] == 2).all()
    assert (labels[:, 1:] == 1).all()


def test_what_is_painted_in_cvat_lies_on_top_of_polygons(coco):
    painted = {**drawn(1, 1, {"size": [4, 4], "counts": [0, 12, 4]}, 12.0, crowd=1), "attributes": {"occluded": False}}
    data, first = coco([painted, drawn(2, 3, box(2, 0, 4, 4), 8.0)])
    assert data.read_labels(first).tolist() == [[1, 1, 1, 2]] * 4
    assert any("but brush masks last" in note for note in data.notes)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 0], [3, 0], [3, 4], [1, 4]],
        [[[1, 0], [3, 0], [3, 4], [1, 4]]],
        [1, 0, 3, 0, 3, 4, 1, 4],
        [[1, 0, 3, 0, 3, 4, 1, 4], [2, 2, 3, 3]],
    ],
    ids=["pairs", "rings of pairs", "flat", "a ring of two points beside"],
)
def test_polygons_in_other_forms_are_drawn(coco, segmentation):
    """Pairs of labelme were taken as rings of one point each: the object became background without a word."""
    data, first = coco([drawn(1, 1, segmentation, 8.0)])
    assert data.read_labels(first).tolist() == [[0, 1, 1, 0]] * 4


def test_an_odd_number_of_coordinates_names_the_annotation(coco):
    with pytest.raises(DataError, match=r"instances\.json: annotation 7: a polygon of 7 numbers"):
        coco([drawn(7, 1, [[0, 0, 1, 0, 1, 1, 0]], 1.0)])


def test_an_outline_without_an_area_counts_as_its_box(coco):
    """Two points drew nothing, and the object was background."""
    data, first = coco([drawn(1, 3, box(0, 0, 1, 4), 4.0), {**drawn(2, 1, [[2, 0, 4, 2]], 0), "bbox": [2, 0, 2, 2]}])
    assert data.read_labels(first).tolist() == [[2, 0, 255, 255]] * 2 + [[2, 0, 0, 0]] * 2
    assert any("1 outline of fewer than three points: annotation 2" in note for note in data.notes)


def test_annotations_without_outline_and_box_are_named(coco):
    data, _ = coco([drawn(1, 3, box(0, 0, 1, 4), 4.0), {**drawn(9, 1, [], 0), "keypoints": [1, 1, 2]}])
    assert any("1 annotation without outline or box, left out: annotation 9" in note for note in data.notes)


def test_missing_areas_are_measured(coco):
    """Objects without `area` all had 0, so that a large one could hide the small one before it."""
    small, large = drawn(1, 3, box(1, 1, 2, 2), 0), drawn(2, 1, box(0, 0, 4, 4), 0)
    del small["area"], large["area"]
    _, first = coco([small, large])
    assert first.source.ids()[1, 1] == 3


def test_turned_boxes_are_ignored_where_they_lie(coco):
    """CVAT notes the turn beside the box: columns 1 and 2, turned by a quarter, are rows 1 and 2."""
    turned = {"id": 2, "image_id": 0, "category_id": 1, "bbox": [1, 0, 2, 4], "attributes": {"rotation": 90.0}}
    data, first = coco([drawn(1, 3, box(0, 0, 4, 1), 4.0), turned])
    assert data.read_labels(first).tolist() == [[2] * 4, [255] * 4, [255] * 4, [0] * 4]


def test_annotations_of_no_picture_are_refused(coco):
    """Ids as text beside ids as numbers left every picture empty."""
    with pytest.raises(DataError, match=r"1 annotation of image_id '0', which is not among `images`"):
        coco([{**drawn(1, 1, box(0, 0, 2, 2), 4.0), "image_id": "0"}])


def test_pixels_and_pictures_without_annotation_are_background(coco):
    data, first = coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    other = next(item for item in data.items if item is not first)
    assert data.read_labels(first)[3, 3] == 0
    assert not data.read_labels(other).any()
    assert any("1 picture without annotation" in note for note in data.notes)


def test_unused_category_0_is_the_heading_of_roboflow(coco):
    data, _ = coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)], [{"id": 0, "name": "animals"}, *CATEGORIES])
    assert data.label_space.names == ("background", "cat", "dog")


def test_used_category_0_moves_the_background(coco):
    data, first = coco([drawn(1, 0, box(0, 0, 2, 4), 8.0)], [{"id": 0, "name": "mouse"}, {"id": 1, "name": "cat"}])
    assert data.label_space.names == ("mouse", "cat", "background")
    assert data.read_labels(first).tolist() == [[0, 0, 2, 2]] * 4


def test_category_named_background(coco):
    data, _ = coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)], [{"id": 1, "name": "background"}])
    assert data.label_space.names == ("background (not labelled)", "background")


def test_boxes_without_outline_are_ignored(coco):
    """They were background: a network learnt that the object in the box is nothing."""
    with_box = {"id": 2, "image_id": 0, "category_id": 1, "segmentation": [], "bbox": [1, 0, 3, 2], "iscrowd": 0}
    data, first = coco([drawn(1, 3, box(0, 0, 2, 4), 8.0), with_box])
    assert data.read_labels(first).tolist() == [[2, 2, 255, 255]] * 2 + [[2, 2, 0, 0]] * 2
    assert any("1 box without outline: left out (ignore)" in note for note in data.notes)


def test_unknown_category(coco):
    with pytest.raises(DataError, match=r"instances\.json: category_id 8 is in no category"):
        coco([drawn(1, 8, box(0, 0, 2, 2), 4.0)])


@pytest.mark.parametrize("number", [1.7, True, "1.7", None])
def test_ids_that_are_no_whole_numbers(coco, number):
    """1.7 was cut off to 1, and its objects became another class."""
    categories = [*CATEGORIES, {"id": number, "name": "cow"}]
    with pytest.raises(DataError, match=r"a record in .*instances\.json"):
        coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)], categories)
    with pytest.raises(DataError, match=r"a record in .*instances\.json"):
        coco([drawn(1, number, box(0, 0, 2, 2), 4.0)])


def test_ids_as_tables_write_them(coco):
    data, first = coco([drawn(1, "3", box(0, 0, 2, 2), 4.0)], [{"id": 1.0, "name": "cat"}, CATEGORIES[1]])
    assert data.label_space.names == ("background", "cat", "dog")
    assert first.source.ids()[0, 0] == 3


def test_captions_only(coco):
    with pytest.raises(DataError, match=r"captions, boxes or picture lists only"):
        coco([{"id": 1, "image_id": 0, "caption": "a cat"}])


def test_run_lengths_of_another_size_name_the_json(coco):
    _, first = coco([drawn(1, 1, {"size": [2, 2], "counts": [4]}, 1.0)])
    with pytest.raises(DataError, match=r"instances\.json: run lengths are for 2x2"):
        first.source.ids()


def test_missing_pictures(coco, tmp_path):
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    (tmp_path / "images" / "b.jpg").unlink()
    assert any("1 picture of the json not found: b.jpg" in note for note in open_dataset(tmp_path).notes)


def test_broken_json(coco, write, tmp_path):
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    write("instances.json", '{"images": [')
    with pytest.raises(DataError, match=r"instances\.json: not JSON"):
        open_dataset(tmp_path)


def test_splits_by_file_and_by_folder_of_roboflow(save, photo, write, tmp_path):
    """Both splits hold a picture of the same name."""
    for split, side in (("train", 2), ("valid", 3)):
        save(f"{split}/a.jpg", photo(4, 4))
        annotations = [drawn(1, 1, box(0, 0, side, side), 4.0)]
        content = {"images": [image(0, "a.jpg")], "categories": CATEGORIES, "annotations": annotations}
        write(f"{split}/_annotations.coco.json", json.dumps(content))
    data = open_dataset(tmp_path)
    assert {item.split: int((item.source.ids() == 1).sum()) for item in data.items} == {"train": 4, "val": 9}


def test_instances_and_stuff_are_asked_about(save, photo, write, tmp_path):
    save("images/a.jpg", photo(4, 4))
    content = {
        "images": [image(0, "a.jpg")],
        "categories": CATEGORIES,
        "annotations": [drawn(1, 1, box(0, 0, 2, 2), 4.0)],
    }
    write("annotations/instances_train2017.json", json.dumps(content))
    write("annotations/stuff_train2017.json", json.dumps(content))
    with pytest.raises(
        DataError, match=r"`annotations: annotations/instances_train2017\.json` or `annotations: annotations/stuff"
    ):
        open_dataset(tmp_path)
    write("data.yaml", "annotations: {train: annotations/stuff_train2017.json}\n")
    assert open_dataset(tmp_path).layout == "COCO stuff"


def test_panoptic(save, photo, write, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.jpg", photo(1, 4))
        save(
            f"annotations/panoptic_train/{name}.png", np.array([[(1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 0)]], np.uint8)
        )
    segments = [
        {"id": 1, "category_id": 1, "iscrowd": 0},
        {"id": 2, "category_id": 3, "iscrowd": 0},
        {"id": 256, "category_id": 1, "iscrowd": 1},
    ]
    annotations = [{"image_id": i, "file_name": f"{n}.png", "segments_info": segments} for i, n in enumerate("ab")]
    content = {"images": [image(0, "a.jpg"), image(1, "b.jpg")], "categories": CATEGORIES, "annotations": annotations}
    write("annotations/panoptic_train.json", json.dumps(content))
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("cat", "dog")
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 0, 255]]


@pytest.mark.parametrize("odd", ["", None, float("inf"), float("nan")])
def test_a_coordinate_that_is_no_number_names_the_json(coco, odd):
    """The first two ended as a fault of ours; the others were drawn as if they were numbers, with a warning of numpy."""
    data, first = coco([drawn(1, 1, [[odd, 0, 2, 0, 2, 2]], 4.0)])
    with pytest.raises(DataError, match=r"instances\.json.*cannot be drawn"):
        data.read_labels(first)


@pytest.mark.parametrize(
    "change", [("images", "file_name", 5), ("categories", "id", [1]), ("annotations", "image_id", {})]
)
def test_records_of_another_form_name_the_json(coco, tmp_path, change):
    """They ended as a fault of ours: TypeError, KeyError."""
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    group, key, value = change
    document = json.loads((tmp_path / "instances.json").read_text())
    document[group][0][key] = value
    (tmp_path / "instances.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"instances\.json"):
        open_dataset(tmp_path)


def test_a_size_from_nowhere(coco, tmp_path):
    """931 GiB were asked for."""
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    document = json.loads((tmp_path / "instances.json").read_text())
    document["images"][0]["height"] = 99999999999
    (tmp_path / "instances.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"instances\.json: gives the size 99999999999x"):
        data.read_labels(data.items[0])


@pytest.fixture
def two_files(save, photo, write, tmp_path):
    """two_files(train categories, val categories): one picture in each, a square of 2 x 2 of category 1."""

    def make(train, val):
        for split, categories in (("train", train), ("valid", val)):
            save(f"{split}/{split}.jpg", photo(4, 4))
            content = {"images": [image(0, f"{split}.jpg")], "annotations": [drawn(1, 1, box(0, 0, 2, 2), 4.0)]}
            rows = [{"id": number, "name": name} for number, name in categories]
            write(f"{split}/_annotations.coco.json", json.dumps({**content, "categories": rows}))
        data = open_dataset(tmp_path)
        return data, {item.split: data.label_space.names[data.read_labels(item)[0, 0]] for item in data.items}

    return make


def test_categories_are_matched_by_name_where_the_files_number_them_differently(two_files):
    """The ids of the last json stood for all: what is rust in train was called paint."""
    data, names = two_files([(1, "rust"), (2, "paint")], [(1, "paint"), (2, "rust")])
    assert names == {"train": "rust", "val": "paint"}
    assert data.label_space.names == ("background", "rust", "paint")
    note = next(note for note in data.notes if "matched by name" in note)
    assert "1 rust, 2 paint" in note
    assert "1 paint, 2 rust" in note


def test_categories_of_one_file_only_get_a_free_id(two_files):
    data, names = two_files([(1, "rust")], [(1, "paint"), (2, "rust")])
    assert names == {"train": "rust", "val": "paint"}
    assert data.label_space.names == ("background", "rust", "paint")


def test_a_name_with_two_ids_cannot_be_matched(two_files):
    with pytest.raises(DataError, match=r"'rust' has two ids here \(1 rust, 2 rust\)"):
        two_files([(1, "rust"), (2, "rust")], [(1, "paint")])


def test_two_categories_with_one_id_are_refused(coco):
    """The last of them took all objects of both."""
    with pytest.raises(DataError, match=r"instances\.json: category id 1 is 'cat' and 'dog'; give each"):
        coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)], [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}])


def test_names_that_differ_in_capitals_are_pointed_out(two_files):
    data, _ = two_files([(1, "Rust")], [(1, "rust")])
    assert any("differ in capitals only are classes of their own: Rust and rust" in note for note in data.notes)


def two_jobs(save, photo, write, first, second):
    """Two json files for one picture: jobs of one task."""
    save("images/a.jpg", photo(4, 4))
    save("images/b.jpg", photo(4, 4))
    for name, label_id, left in ((first, 1, 0), (second, 3, 2)):
        shape = drawn(1, label_id, box(left, 0, left + 2, 4), 8)
        content = {"images": [image(0, "a.jpg"), image(1, "b.jpg")], "categories": CATEGORIES, "annotations": [shape]}
        write(name, json.dumps(content))


def test_one_picture_in_two_files_is_one_picture(save, photo, write, tmp_path):
    """It became two pictures with half of the labels each, which could stand in train and in val."""
    two_jobs(save, photo, write, "annotations/job_1.json", "annotations/job_2.json")
    data = open_dataset(tmp_path)
    assert [item.name for item in data.items] == ["images/a", "images/b"]
    assert data.read_labels(data.items[0]).tolist() == [[1, 1, 2, 2]] * 4
    assert "2 pictures annotated in several places, all shapes taken: images/a, images/b" in data.notes


def test_two_versions_of_the_labels_are_refused(save, photo, write, tmp_path):
    """TACO's annotations_unofficial.json beside annotations.json: of an outline with two classes the last one counted."""
    for name in ("a.jpg", "b.jpg"):
        save(f"images/{name}", photo(4, 4))
    for file, label_id in (("annotations.json", 1), ("annotations_new.json", 3)):
        shapes = [drawn(1, 1, box(0, 0, 2, 2), 4), drawn(2, label_id, box(2, 2, 4, 4), 4)]
        content = {"images": [image(0, "a.jpg"), image(1, "b.jpg")], "categories": CATEGORIES, "annotations": shapes}
        write(file, json.dumps(content))
    with pytest.raises(DataError, match=r"annotations\.json and .*annotations_new\.json: an outline of .*two versions"):
        open_dataset(tmp_path)
    write("annotations_new.json", (tmp_path / "annotations.json").read_text())
    assert open_dataset(tmp_path).items


def test_one_picture_in_the_files_of_two_splits_is_refused(save, photo, write, tmp_path):
    two_jobs(save, photo, write, "annotations/instances_train.json", "annotations/instances_val.json")
    with pytest.raises(DataError, match=r"images/a is in train and in val; keep it in one of them"):
        open_dataset(tmp_path)


def test_points_as_objects(coco):
    """{"x": 1, "y": 1} were outlines of fewer than three points: left out."""
    ring = [{"x": x, "y": y} for x, y in ((1, 1), (3, 1), (3, 3), (1, 3))]
    _, first = coco([drawn(1, 1, [ring], 4)])
    assert (first.source.ids() == 1).sum() == 4


def test_run_lengths_that_break_off_name_the_file_and_the_picture(coco):
    with pytest.raises(DataError, match=r"instances\.json: picture a\.jpg: run lengths end within a number"):
        coco([drawn(1, 1, {"size": [4, 4], "counts": "b'd0d0'"}, 0)])


def test_one_name_with_two_ids(coco):
    """ "label table: name 'cat' is listed twice", without a file."""
    data, _ = coco([drawn(1, 1, box(0, 0, 2, 2), 4)], [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}])
    assert data.label_space.names == ("background", "cat (1)", "cat (2)")


def test_names_that_differ_in_blanks_are_pointed_out(coco):
    data, _ = coco([drawn(1, 1, box(0, 0, 2, 2), 4)], [{"id": 1, "name": "wet road"}, {"id": 2, "name": "Wet-Road "}])
    assert any("capitals or blanks only are classes of their own: wet road and 'Wet-Road '" in n for n in data.notes)


def test_a_shape_that_lies_outside_for_the_greater_part_is_told(coco):
    """Coordinates per cent, or of a larger copy: what was left inside the picture was taken without a word."""
    data, _ = coco([drawn(1, 1, box(1, 1, 40, 40), 0), drawn(2, 3, box(0, 0, 2, 2), 4)])
    [fault] = [fault for fault in check_dataset(data, quiet=True).warnings if fault.kind == "lost shape"]
    assert "1 of 2 shapes of images/a.jpg: mostly outside of it" in fault.message


def test_one_name_of_two_ids_is_told(coco):
    data, _ = coco([drawn(0, 1, box(0, 0, 2, 2), 4)], [{"id": 1, "name": "cat"}, {"id": 3, "name": "cat"}])
    assert "cat: one name for several ids, which are classes of their own" in data.notes


def test_an_annotation_of_nothing_is_no_box(coco):
    """COCO Annotator writes a box of 0 x 0 where nothing was drawn: the picture became weakly labelled by no box."""
    data, first = coco(
        [{**drawn(1, 1, [], 0), "bbox": [0, 0, 0, 0]}, {**drawn(2, 1, box(0, 0, 2, 2), 4), "image_id": 1}]
    )
    assert data.read_labels(first).tolist() == [[0] * 4] * 4
    assert not any("boxes alone" in note for note in data.notes)
    assert any("1 annotation without outline or box, left out: annotation 1" in note for note in data.notes)


def test_a_size_of_0_is_that_of_the_picture(coco, tmp_path):
    """Every label was "0x0", and the remedy was a label table."""
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    document = json.loads((tmp_path / "instances.json").read_text())
    document["images"] = [{**record, "height": 0, "width": 0} for record in document["images"]]
    (tmp_path / "instances.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0])[:2, :2].tolist() == [[1, 1], [1, 1]]
    assert check_dataset(data, quiet=True).would_train


def test_lvis_names_pictures_by_the_end_of_an_address(coco, tmp_path):
    """KeyError('file_name')."""
    coco([drawn(1, 1, box(0, 0, 2, 2), 4.0)])
    document = json.loads((tmp_path / "instances.json").read_text())
    for record in document["images"]:
        record["coco_url"] = f"http://images.cocodataset.org/train2017/{record.pop('file_name')}"
    (tmp_path / "instances.json").write_text(json.dumps(document))
    assert [item.name for item in open_dataset(tmp_path).items] == ["images/a", "images/b"]


def test_what_cannot_be_drawn_is_told_with_its_picture(coco):
    """One json holds all pictures: "run lengths are for 4x3" did not say whose."""
    data, _ = coco([drawn(1, 1, {"size": [3, 4], "counts": [0, 12]}, 12)])
    [fault] = [fault for fault in check_dataset(data, quiet=True).errors if fault.kind == "unreadable label"]
    assert fault.message == "images/a.jpg: run lengths are for 3x4, but the picture has 4x4"


def test_run_lengths_along_the_rows_are_asked_about(coco, write):
    """A script that counts along the rows tore each object to pieces, and nothing was said."""
    rows = {"size": [4, 4], "counts": [1, 3, 13 - 1]}  # the first row from its second pixel on
    columns = {"size": [4, 4], "counts": [4, 1, 3, 1, 3, 1, 3]}
    for runs, box_of in ((rows, [1, 0, 3, 1]), (columns, [1, 0, 3, 1])):
        annotation = {**drawn(1, 1, runs, 3), "bbox": box_of}
        if runs is rows:
            with pytest.raises(DataError, match=r"along the rows the run lengths fill the boxes.*`run_order: rows`"):
                coco([annotation])
            write("data.yaml", "run_order: rows\n")
        data, first = coco([annotation])
        assert data.read_labels(first).tolist() == [[0, 1, 1, 1], *[[0] * 4] * 3] or runs is columns
        write("data.yaml", "")


def test_a_ring_within_another_is_a_hole_where_the_area_says_so(coco):
    """Contours of a mask: what the area leaves out was filled."""
    rings = [*box(0, 0, 4, 4), *box(1, 1, 3, 3)]
    data, first = coco([drawn(1, 1, rings, 12)])
    assert data.read_labels(first).tolist() == [[1] * 4, [1, 0, 0, 1], [1, 0, 0, 1], [1] * 4]
    assert "1 outline with holes, as the area tells: annotation 1" in data.notes
    for area in (16, 20):  # COCO's own union, and both rings added up
        data, first = coco([drawn(1, 1, rings, area)])
        assert data.read_labels(first).tolist() == [[1] * 4] * 4
    data, first = coco([drawn(1, 1, [*box(0, 0, 1, 4), *box(3, 0, 4, 4)], 8)])
    assert data.read_labels(first).tolist() == [[1, 0, 0, 1]] * 4


def test_a_json_in_a_folder_of_any_name_within_annotations(save, photo, write, tmp_path):
    """LIVECell: annotations/LIVECell/livecell_coco_train.json. "None of the pictures is there" was said."""
    for split in ("train", "test"):
        save(f"images/{split}_images/{split}.png", photo(12, 16))
        content = {
            "images": [{"id": 1, "file_name": f"{split}.png", "height": 12, "width": 16}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]]}],
            "categories": [{"id": 1, "name": "cell"}],
        }
        write(f"annotations/LIVECell/coco_{split}.json", json.dumps(content))
    assert [item.split for item in open_dataset(tmp_path).items] == ["test", "train"]


def test_an_id_of_two_pictures_is_refused(save, photo, write, tmp_path):
    """Both got the annotations of both without a word, as merged files have them."""
    for name in ("a.jpg", "b.jpg"):
        save(f"images/{name}", photo(4, 4))
    images = [image(0, "a.jpg"), image(0, "b.jpg")]
    shapes = [drawn(1, 1, box(0, 0, 2, 2), 4.0)]
    write("instances.json", json.dumps({"images": images, "categories": CATEGORIES, "annotations": shapes}))
    with pytest.raises(
        DataError, match=r"instances\.json: a\.jpg and b\.jpg have the same id in `images`, 0; give each"
    ):
        open_dataset(tmp_path)


def test_run_lengths_of_a_quintillion_pixels_are_refused(coco):
    """They were drawn at the size that they claim, to look which way they go: memory ran out."""
    runs = {"size": [10**9, 10**9], "counts": [0, 10**18]}
    _, first = coco([drawn(1, 1, runs, 4.0) | {"bbox": [0, 0, 4, 4]}])
    with pytest.raises(DataError, match="run lengths are for 1000000000x1000000000, but the picture has 4x4"):
        first.source.ids()
