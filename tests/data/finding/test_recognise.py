from pathlib import PurePosixPath

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.layouts.coco import find_coco_files
from denselab.data.listing.tree import read_tree
from denselab.errors import DataError, NoSuchPath


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(NoSuchPath, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"the folder is empty"):
        open_dataset(tmp_path / "empty")


def test_a_file_is_no_data_set(save, photo):
    with pytest.raises(DataError, match=r"a file; give the folder"):
        open_dataset(save("a.png", photo()))


def test_no_pictures(tmp_path, write):
    write("notes.txt", "hello")
    with pytest.raises(DataError, match=r"no picture .* among 1 file \(\.txt\)"):
        open_dataset(tmp_path)


def test_pictures_without_labels(tmp_path, save, photo):
    save("images/a.png", photo())
    with pytest.raises(DataError, match=r"1 picture, but no labels.*`masks: FOLDER` in data.yaml"):
        open_dataset(tmp_path)


def two_pictures(save, photo, below):
    for name in ("a", "b"):
        save(f"{below}/images/{name}.png", photo(seed=sum(map(ord, below + name))))
        save(f"{below}/labels/{name}.png", [[0, 1]])


def test_the_one_data_set_in_a_sub_folder_is_taken(tmp_path, save, photo):
    two_pictures(save, photo, "download/data")
    data = open_dataset(tmp_path)
    assert [item.name for item in data.items] == ["images/a", "images/b"]
    assert "the data set is in download/data; a data.yaml for it goes there" in data.notes


def test_several_data_sets_are_listed(tmp_path, save, photo):
    two_pictures(save, photo, "first")
    for name in ("x", "y"):
        save(f"second/images/{name}.png", photo())
        save(f"second/labels/{name}.png", [[0, 1]])
    with pytest.raises(DataError, match=r"holds 2 data sets; open one of them: first, second"):
        open_dataset(tmp_path)


def test_several_data_sets_whose_ids_differ_show_their_tables(tmp_path, save, photo, write):
    """Two sets below one folder, each with its classes.json: 1 is road here and sky there."""
    for name, table in (("first", '["ground", "road"]'), ("second", '["ground", "sky"]')):
        for number in range(2):
            save(f"{name}/images/{name}{number}.png", photo())
            save(f"{name}/labels/{name}{number}.png", [[0, 1]])
        write(f"{name}/classes.json", table)
    with pytest.raises(
        DataError,
        match=r"first, second\. Their ids mean different classes \(first: 0 ground, 1 road; second: 0 ground, 1 sky\)",
    ):
        open_dataset(tmp_path)


def test_shapes_beside_label_pictures_are_asked_about(tmp_path, save, photo, write):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo())
        save(f"masks/{name}.png", [[0, 1]])
    write(
        "annotations.json",
        '{"images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}], "categories": [{"id": 1, "name": "x"}],'
        ' "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}]}',
    )
    with pytest.raises(
        DataError,
        match=r"may be COCO instances, or the label pictures in masks.*`layout: coco` or `layout: folders`",
    ):
        open_dataset(tmp_path)
    write("data.yaml", "layout: folders\n")
    assert open_dataset(tmp_path).layout == "folders"
    write("data.yaml", "layout: coco\n")
    assert open_dataset(tmp_path).layout == "COCO instances"


def test_two_sets_of_label_pictures_for_the_same_names_are_not_chosen_between(save, photo, tmp_path):
    """The first by name was taken, "pixels before shapes", though both were pixels."""
    for folder in ("first", "second"):
        for name in ("a", "b"):
            save(f"{folder}/images/{name}.png", photo())
            save(f"{folder}/labels/{name}.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(DataError, match="holds 2 data sets; open one of them: first, second"):
        open_dataset(tmp_path)


EXPECTED = {
    "camvid": ("CamVid (SegNet)", 468, 11),
    "membrane": ("folders", 20, 2),
    "coco_fruit": ("COCO instances", 18, 4),
    "coco_panoptic": ("COCO panoptic", 2, 133),
    "cityscapes_mini": ("Cityscapes", 1, 19),
    "palette_voc": ("folders", 5, 4),
    "ade20k_mini": ("ADE20K", 3, 150),
    "nuclei": ("one mask per object", 60, 2),
    "steel": ("folders", 840, 4),
    "tiff16": ("folders", 4, 2),
    "labelme/primitives": ("labelme json", 1, 8),
    "labelme/tutorial": ("labelme json", 1, 5),
    "labelme/semantic_segmentation": ("VOC", 3, 21),
    "labelme/instance_segmentation": ("VOC", 3, 21),
    "labelme/instance_segmentation/data_dataset_coco": ("COCO instances", 3, 21),
    "labelme/instance_segmentation/data_annotated": ("labelme json", 3, 21),
    "labelme/video_annotation": ("VOC", 5, 3),
    "layouts/camvid_dataset": ("CamVid (SegNet)", 4, 31),
    "layouts/cityscapes_dataset/dataset": ("Cityscapes", 4, 19),
    "layouts/cityscapes_dataset/train_dataset": ("Cityscapes", 4, 19),
    "layouts/voc_dataset/voc_dataset1": ("VOC", 1, 21),
    "layouts/kitti_dataset/kitti_segmentation": ("KITTI", 2, 19),
    "layouts/ade20k2017_dataset/dataset": ("ADE20K full release", 2, 1),
    "layouts/mapillary_vistas_dataset": ("Mapillary Vistas", 3, 3),
    "layouts/labelme_dataset": ("LabelMe xml", 1, 8),
    "layouts/cvat_dataset/for_images/export_project": ("CVAT for images", 6, 3),
    "layouts/cvat_dataset/for_images/export_task": ("CVAT for images", 2, 3),
    "layouts/coco_dataset/coco": ("COCO panoptic", 2, 2),
    "layouts/coco_dataset/coco_instances": ("COCO instances", 2, 4),
    "layouts/coco_dataset/coco_roboflow": ("COCO instances", 2, 4),
    "layouts/coco_dataset/coco_stuff": ("COCO stuff", 2, 3),
    "layouts/common_semantic_segmentation_dataset/dataset": ("folders", 2, 5),
    "layouts/common_semantic_segmentation_dataset/non_standard_dataset": ("folders", 2, 7),
}
UNREADABLE = {"tiff16": 2, "layouts/coco_dataset/coco_panoptic": 1}


@pytest.mark.parametrize("folder", EXPECTED)
def test_real_folders_open_without_a_line_of_code(shared_data, folder):
    data = open_dataset(shared_data / folder)
    layout, pictures, classes = EXPECTED[folder]
    assert (data.layout, len(data.items), data.label_space.num_classes) == (layout, pictures, classes)
    failures = []
    for item in data.items[:8]:
        try:
            data.read(item)
        except DataError as error:
            failures.append(str(error))
    assert len(failures) == UNREADABLE.get(folder, 0), failures
    assert all("stack" in failure for failure in failures)


REFUSED = {
    "crop_weed": "2 folders may hold the labels",
    "labelme": "holds 9 data sets; open one of them",
    "layouts": "data sets; open one of them",
    "layouts/kitti_dataset/kitti_raw": "no pixel labels",
    "layouts/kitti_dataset/kitti_3d": "no pixel labels",
    "layouts/kitti_dataset/kitti_detection": "no pixel labels",
    "layouts/coco_dataset/coco_captions": "captions, boxes or picture lists only",
    "layouts/coco_dataset/coco_image_info": "captions, boxes or picture lists only",
    "layouts/coco_dataset/coco_labels": "captions, boxes or picture lists only",
    "layouts/voc_dataset/voc_dataset2": "VOC without SegmentationClass",
    "layouts/voc_dataset/voc_dataset3": "VOC without SegmentationClass",
    "layouts/cvat_dataset/for_video": "CVAT video tracks",
    "layouts/cityscapes_dataset": "holds 2 data sets; open one of them: dataset, train_dataset",
    "layouts/mapillary_vistas_dataset/train": "one split of Mapillary Vistas; open the folder above it",
}


@pytest.mark.parametrize("folder", REFUSED)
def test_real_folders_that_cannot_be_used_say_why(shared_data, folder):
    with pytest.raises(DataError, match=REFUSED[folder]):
        open_dataset(shared_data / folder)


def test_ready_predictions_are_not_taken_for_labels(shared_data):
    data = open_dataset(shared_data / "ade20k_mini")
    assert {item.source.path.parent.name for item in data.items} == {"annotations"}


def test_panoptic_and_detection_json_of_one_picture_agree(shared_data):
    """Two files of the same ground truth: where neither ignores, the classes are the same but for overlaps of shapes."""
    panoptic = open_dataset(shared_data / "coco_panoptic")
    detection = PurePosixPath("panoptic_coco_detection_format.json")
    found = find_coco_files(read_tree(shared_data / "coco_panoptic"), [(detection, None)])
    for item, other in zip(panoptic.items, found.items, strict=True):
        first, second = item.source.ids(), other.source.ids()
        both = (first != 0) & (second != 0) & (second != 255)
        assert np.array_equal(first[both], second[both])
        assert both.mean() > 0.8


def test_parts_of_one_set_are_joined_by_the_lines_that_are_told(save, photo, write, tmp_path):
    """Sites with pictures of the same names: "open one of them" was all that was said."""
    for folder in ("north", "south"):
        two_pictures(save, photo, folder)
    with pytest.raises(DataError, match="or, where they are parts of one, write in data.yaml") as told:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(str(told.value).split("`")[1::2]))
    items = open_dataset(tmp_path).items
    assert len(items) == 4
    assert all(item.image.parts[-3] == item.source.path.parts[-3] for item in items)


def test_folders_of_one_name_go_with_each_other_in_turn(save, photo, write, tmp_path):
    """Fish: Trout/Trout/0.png beside "Trout/Trout GT/0.png", below two folders more, which no one had looked into."""
    for fish in ("Trout", "Sea Bass"):
        for number in range(2):
            save(f"Fish/Fish/{fish}/{fish}/{number}.png", photo(seed=len(fish) + number))
            save(f"Fish/Fish/{fish}/{fish} GT/{number}.png", [[0, 255] * 4] * 6)
    with pytest.raises(DataError, match=r"2 folders may hold the labels; .*where they are parts of one, ") as told:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(str(told.value).split("parts of one, ")[1].split("`")[1:4:2]))
    items = open_dataset(tmp_path).items
    assert len(items) == 4
    assert all(item.image.parts[-3] == item.source.path.parts[-3] for item in items)


def test_one_set_in_two_formats_is_not_joined(save, photo, tmp_path):
    """CVC-ClinicDB: PNG/ and TIF/ were offered as parts of one, and a picture of val would have trained as well."""
    for form in ("png", "tif"):
        for number in range(3):
            save(f"{form.upper()}/Original/{number}.{form}", photo(seed=number))
            save(f"{form.upper()}/Ground Truth/{number}.{form}", [[0, 255] * 4] * 6)
    with pytest.raises(DataError, match="they have the same pictures in other formats") as told:
        open_dataset(tmp_path)
    assert "data.yaml" not in str(told.value)


def test_names_between_the_folder_and_its_data_set_are_read(save, photo, write, tmp_path):
    """UECFoodPix: data/category.txt, and the pictures in data/SET/train."""
    for number in range(2):
        save(f"data/SET/train/img/{number}.png", photo(seed=number))
        save(f"data/SET/train/mask/{number}.png", [[0, 1] * 4] * 6)
    write("data/category.txt", "id\tname\n0\tplate\n1\trice\n")
    assert open_dataset(tmp_path).label_space.names == ("plate", "rice")


@pytest.mark.parametrize("home", ["MSD/{}", "{}", "Class1/{}"])
def test_splits_below_a_folder_are_one_data_set(save, photo, tmp_path, home):
    """MSD, LaPa: the folder above that of train and test "holds 2 data sets"."""
    for split in ("train", "test"):
        for number in range(2):
            save(f"{home.format(split)}/image/{number}.png", photo(seed=number))
            save(f"{home.format(split)}/mask/{number}.png", [[0, 1] * 4] * 6)
    assert [item.split for item in open_dataset(tmp_path).items].count("test") == 2


def test_numbered_folders_are_one_data_set_unless_they_are_copies(save, photo, tmp_path):
    """VSPW has 3,536 videos, of which each was a data set of its own."""
    for video in range(3):
        for number in range(2):
            save(f"data/{video}_x/origin/{number:04}.png", photo(seed=10 * video + number))
            save(f"data/{video}_x/mask/{number:04}.png", [[0, 1] * 4] * 6)
    data = open_dataset(tmp_path)
    assert len(data.items) == 6
    assert any("the 3 folders 0_x, 1_x, 2_x are read as parts of one data set" in note for note in data.notes)
    for video in range(3):
        for number in range(2):
            save(f"data/{video}_x/origin/{number:04}.png", photo(seed=number))
    with pytest.raises(DataError, match="holds 3 data sets"):
        open_dataset(tmp_path)


def test_the_name_of_the_folder_that_holds_all_says_nothing_of_its_parts(save, photo, tmp_path):
    """EBHI-SEG/Polyp/image: "seg" in the name of the whole kept the line that joins the parts back."""
    for kind in ("Polyp", "Normal"):
        for number in range(2):
            save(f"EBHI-SEG/{kind}/image/{kind}{number}.png", photo(seed=number))
            save(f"EBHI-SEG/{kind}/label/{kind}{number}.png", [[0, 255] * 4] * 6)
    with pytest.raises(DataError, match="or, where they are parts of one, write in data.yaml"):
        open_dataset(tmp_path)


def test_parts_with_splits_of_their_own_are_joined_by_the_lines_that_are_told(save, photo, write, tmp_path):
    """DIVA-HisDB's manuscripts, each with its training and test: only one of them could be opened."""
    for number, part in enumerate(("CB55", "CS18")):
        for split in ("training", "test"):
            for name in "ab":
                save(f"{part}/img/{split}/{name}.jpg", photo(1, 3, number))
                save(f"{part}/gt/{split}/{name}.png", [[0, 1, 2 * number]])
    with pytest.raises(DataError, match="or, where they are parts of one, write in data.yaml") as asked:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(str(asked.value).split("`")[1::2]))
    data = open_dataset(tmp_path)
    assert {item.split for item in data.items if "/training/" in item.name} == {"train", "val"}
    assert {item.split for item in data.items if "/test/" in item.name} == {"test"}
    assert {item.name[:4]: data.read_labels(item).tolist()[0][2] for item in data.items} == {"CB55": 0, "CS18": 2}


def test_parts_that_share_pictures_are_not_joined_unseen(save, photo, tmp_path):
    """Two versions of a set, the labels of two people: the line that joins them has each picture twice."""
    for number, part in enumerate(("v1", "v2")):
        for name in "ab":
            save(f"{part}/images/{name}.png", photo(1, 3, ord(name)))
            save(f"{part}/masks/{name}.png", [[0, 1, number]])
    with pytest.raises(DataError, match=r"v1/images/a\.png, v2/images/a\.png are the same picture"):
        open_dataset(tmp_path)


def test_pictures_beside_the_data_set_are_told(save, photo, tmp_path):
    """Bijie's non-landslide/image has no masks, and was left out without a word."""
    for name in "ab":
        save(f"landslide/image/{name}.png", photo(1, 3, ord(name)))
        save(f"landslide/mask/{name}.png", [[0, 0, 255]])
        save(f"non-landslide/image/no{name}.png", photo(1, 3, ord(name) + 9))
    told = str(open_dataset(tmp_path).notes)
    assert "2 pictures elsewhere, not used (non-landslide/image/noa.png, non-landslide/image/nob.png)" in told


def test_folders_of_masks_beside_each_other_are_no_data_set(save, photo, tmp_path):
    """TUFTS' Segmentation/ has two kinds of masks: one was taken for the pictures, and the radiographs were left out."""
    for name in "12345":
        save(f"Radiographs/{name}.JPG", photo(1, 3, int(name)))
        for kind in ("Segmentation/teeth_mask", "Segmentation/maxillomandibular", "Expert/mask"):
            save(f"{kind}/{name}.png", [[0, 255, 255]])
    with pytest.raises(DataError, match=r"`images: Radiographs` and `masks: Segmentation/teeth_mask`"):
        open_dataset(tmp_path)


def test_pictures_beside_parts_of_a_data_set_are_told(save, photo, tmp_path):
    for kind in ("dent", "scratch"):
        for name in "ab":
            save(f"{kind}/img/{kind}_{name}.png", photo(1, 3, ord(name) + len(kind)))
            save(f"{kind}/mask/{kind}_{name}.png", [[0, 0, 255]])
    save("sound/img/c.png", photo(1, 3))
    with pytest.raises(DataError, match=r"parts of one, write .*; 1 picture elsewhere, not used \(sound/img/c\.png\)"):
        open_dataset(tmp_path)
