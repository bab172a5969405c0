import json

import pytest

from denselab.data.listing.tree import read_tree
from denselab.data.names.name_files import name_list
from denselab.data.names.names import read_names
from denselab.errors import DataError


def names_in(tmp_path):
    labels, source = read_names(read_tree(tmp_path))
    return {label.id: label for label in labels}, source


def test_class_names_of_labelme(tmp_path, write):
    write("class_names.txt", "_background_\naeroplane\ntv/monitor\n")
    labels, source = names_in(tmp_path)
    assert [labels[i].name for i in range(3)] == ["background", "aeroplane", "tv/monitor"]
    assert labels[0].background
    assert source == "class_names.txt"


def test_leading_ignore_is_minus_one_in_labelme_and_255_in_files():
    labels = name_list(["__ignore__", "_background_", "car"])
    assert {label.id: label.name for label in labels} == {0: "background", 1: "car", 255: "ignore"}
    assert [label.ignore for label in labels] == [False, False, True]


def test_numbered_lines():
    assert {label.id: label.name for label in name_list(["0: sky", "7: road"])} == {0: "sky", 7: "road"}


def test_labelmap_of_voc_tools(tmp_path, write):
    write(
        "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncow:64,128,0::\nignored:224,224,192::\n"
    )
    labels, _ = names_in(tmp_path)
    assert labels[1].colour == (64, 128, 0)
    assert labels[2].ignore


def test_label_colors_of_camvid(tmp_path, write):
    write("label_colors.txt", "64 128 64\tAnimal\n0 0 0\t\tVoid\n")
    labels, _ = names_in(tmp_path)
    assert (labels[0].name, labels[0].colour) == ("Animal", (64, 128, 64))
    assert labels[1].ignore


def test_class_dict_csv(tmp_path, write):
    write("class_dict.csv", "name, r, g, b\nroad,128,64,128\n")
    labels, _ = names_in(tmp_path)
    assert (labels[0].name, labels[0].colour) == ("road", (128, 64, 128))


def test_dataset_meta(tmp_path, write):
    write(
        "dataset_meta.json", '{"label_map": {"0": "Void", "3": "Road"}, "segmentation_colors": [[0, 0, 0], [1, 2, 3]]}'
    )
    labels, _ = names_in(tmp_path)
    assert labels[0].ignore
    assert (labels[3].name, labels[3].colour) == ("Road", (1, 2, 3))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "what is this\n"),
        ("class_dict.csv", "a,b\n1,2\n"),
        ("dataset_meta.json", "{}"),
        ("dataset_meta.json", '{"label_map": {"0": "a", "1": "b"}, "segmentation_colors": [[0, 0, 0]]}'),
    ],
)
def test_bad_names_files_are_named(tmp_path, write, name, text):
    write(name, text)
    with pytest.raises(DataError, match=name):
        read_names(read_tree(tmp_path))


def test_no_names_file(tmp_path, write):
    write("readme.txt", "hello")
    assert read_names(read_tree(tmp_path)) == ((), "")


def test_a_colour_beyond_8_bits_names_the_file(write, tmp_path):
    write("label_colors.txt", "300 0 0 road\n0 0 0 void\n")
    with pytest.raises(DataError, match=r"label_colors\.txt: colour \(300, 0, 0\) of 'road'"):
        read_names(read_tree(tmp_path))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Label names.txt", "0 = soil\n1 = weed\n"),
        ("class-names.txt", "soil\nweed\n"),
        ("class_mapping.csv", "class_name,class_color\nsoil,0 0 0\nweed,128 64 128\n"),
        ("legend.csv", "class;R;G;B\nsoil;0;0;0\nweed;128;64;128\n"),
        ("class_names_colors.txt", "soil: #000000\nweed: #804080\n"),
    ],
)
def test_names_files_of_other_tools(tmp_path, write, file, text):
    """They were passed over, and the classes called by their colours."""
    write(file, text)
    labels, name = read_names(read_tree(tmp_path))
    assert ([label.name for label in labels], name) == (["soil", "weed"], file)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("meta/gtruth_codes.tsv", "label\tGT_code\nsoil\t0\nweed\t1\n"),
        ("category_id.txt", "0\tsoil\n1\tweed\n"),
        ("category.txt", "id\tname\n0\tsoil\n1\tweed\n"),
        ("label_num_dic_final.json", '{"soil": 0, "weed": 1}'),
        (
            "rs19-config.json",
            '{"labels": [{"name": "soil", "color": [1, 2, 3]}, {"name": "weed", "color": [4, 5, 6]}]}',
        ),
    ],
)
def test_names_files_of_public_sets(tmp_path, write, file, text):
    """BCSS, FoodSeg103, UECFoodPix, VSPW, RailSem19: the classes were left without names."""
    write(file, text)
    labels, name = read_names(read_tree(tmp_path))
    assert ([(label.id, label.name) for label in labels], name) == ([(0, "soil"), (1, "weed")], file)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_counts.json", '{"soil": 120, "weed": 7}'),
        ("my_labels.json", '{"images": [], "categories": [{"id": 1, "name": "weed"}]}'),
        ("model_config.json", '{"epochs": 1, "seed": 0}'),
        ("label_count.csv", "class,pixel_count\nsoil,9\nweed,4\n"),
    ],
)
def test_files_of_such_names_that_hold_other_things(tmp_path, write, file, text):
    write(file, text)
    assert read_names(read_tree(tmp_path)) == ((), "")


def test_many_json_files_of_such_a_name_go_with_pictures(tmp_path, write):
    for n in range(5):
        write(f"a{n}_label.json", '{"soil": 0, "weed": 1}')
    assert read_names(read_tree(tmp_path)) == ((), "")


def test_a_list_of_pictures_called_labels_is_no_names_file(tmp_path, write):
    """DAGM: Labels.txt says which picture has which label. Its lines were the names of classes."""
    write("Train/Label/Labels.txt", "1\n2\t0\t0002.PNG\t0\t0\n576\t1\t0576.PNG\t1\t0576_label.PNG\n")
    assert read_names(read_tree(tmp_path)) == ((), "")


@pytest.mark.parametrize(("targets", "told"), [({"2": "soil"}, {0: "background", 2: "soil"}), ({}, {}), (None, {})])
def test_mask_targets_of_fiftyone(tmp_path, write, targets, told):
    """Its dataset's metadata.json reserves 0 for the background; metadata.json of other tools is no names file."""
    write("metadata.json", json.dumps({"labels": ["a", "b"], "default_mask_targets": targets}))
    assert {label.id: label.name for label in read_names(read_tree(tmp_path))[0]} == told


def test_the_parts_of_a_set_may_each_have_the_names(tmp_path, write):
    """Virtual KITTI: Scene01/clone/colors.txt was passed over, and the classes were called by their colours."""
    for part in ("Scene01/clone", "Scene02/clone"):
        write(f"{part}/colors.txt", "Category r g b\nTerrain 210 0 200\nSky 90 200 255\n")
        write(f"{part}/frames/rgb/a.png", "")
    labels, source = names_in(tmp_path)
    assert [(label.name, label.colour) for label in labels.values()] == [
        ("Terrain", (210, 0, 200)),
        ("Sky", (90, 200, 255)),
    ]
    assert source == "Scene01/clone/colors.txt, Scene02/clone/colors.txt"
    write("Scene02/clone/colors.txt", "Category r g b\nRoad 210 0 200\nSky 90 200 255\n")
    with pytest.raises(DataError, match="id 0 is 'Terrain' in one names file and 'Road' in Scene02"):
        names_in(tmp_path)
