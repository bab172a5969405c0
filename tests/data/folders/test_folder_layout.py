import re

import numpy as np
import pytest
from scipy.io import savemat

from denselab.data import open_dataset
from denselab.errors import DataError

IDS = [[0, 1, 2]]


def names_and_splits(data) -> dict[str, str]:
    return {item.name: item.split for item in data.items}


@pytest.mark.parametrize("images", ["images", "imgs", "image", "JPEGImages", "img", "pictures", "Input"])
@pytest.mark.parametrize(
    "labels", ["labels", "masks", "annotations", "gts", "gt", "label", "annot", "SegmentationClassRaw", "ground_truth"]
)
def test_usual_folder_names(save, photo, tmp_path, images, labels):
    for name in ("a", "b"):
        save(f"{images}/{name}.jpg", photo(1, 3))
        save(f"{labels}/{name}.png", IDS)
    data = open_dataset(tmp_path)
    assert sorted(item.name for item in data.items) == [f"{images}/a", f"{images}/b"]
    assert data.read_labels(data.items[0]).tolist() == IDS


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{s}/{n}", "labels/{s}/{n}"),
        ("{s}/images/{n}", "{s}/labels/{n}"),
        ("{s}_images/{n}", "{s}_masks/{n}"),
        ("img/{s}/x/{n}", "gt/{s}/x/{n}"),
    ],
)
def test_splits_on_either_side_of_the_tree(save, photo, tmp_path, image, label):
    """The same file names in train and val: they must not be confused."""
    for split, value in (("train", 1), ("val", 2), ("test", 3)):
        for number in ("0", "1"):
            save(image.format(s=split, n=number) + ".png", photo(1, 3))
            save(label.format(s=split, n=number) + ".png", [[0, value, value]])
    data = open_dataset(tmp_path)
    assert len(data.items) == 6
    for split, value in (("train", 1), ("val", 2), ("test", 3)):
        assert len(data.of_split(split)) == 2
        for item in data.of_split(split):
            assert data.read_labels(item).tolist() == [[0, value, value]]


def test_validation_and_training_are_val_and_train(save, photo, tmp_path):
    for split in ("training", "validation"):
        for number in ("0", "1"):
            save(f"images/{split}/{split}{number}.png", photo(1, 3))
            save(f"labels/{split}/{split}{number}.png", IDS)
    assert open_dataset(tmp_path).splits == ("train", "val")


@pytest.mark.parametrize(
    ("images", "labels"),
    [("pos{}", "pos{}_masks"), ("pos{}_images", "pos{}_masks"), ("2024-05-0{}", "2024-05-0{} labels")],
)
def test_folders_of_labels_called_by_those_of_pictures(save, photo, tmp_path, images, labels):
    """It was said to put all labels into one folder, where files of one name replace each other."""
    for place in (1, 2, 3):
        for time in range(4):
            save(f"{images.format(place)}/t{time:03}.png", photo())
            save(f"{labels.format(place)}/t{time:03}.png", np.full((24, 32), place + 4, np.uint8))
    with pytest.raises(DataError, match="3 folders may hold the labels") as told:
        open_dataset(tmp_path)
    joined = str(told.value).split("parts of one, ")[1].split("; ")[0]
    (tmp_path / "data.yaml").write_text("\n".join(re.findall(r"`([^`]*)`", joined)))
    dataset = open_dataset(tmp_path)
    assert len(dataset.items) == 12
    for item in dataset.items:
        assert np.unique(item.source.ids()).tolist() == [int(re.findall(r"\d", str(item.image.parent.name))[-1]) + 4]


@pytest.mark.parametrize("place", ["train.txt", "splits/train.txt", "ImageSets/Segmentation/train.txt"])
def test_list_files(save, photo, write, tmp_path, place):
    for number in range(4):
        save(f"imgs/{number:05d}_img.jpg", photo(1, 3))
        save(f"gts/{number:05d}_gt.png", IDS)
    write(place, "00000\n00001\n")
    write(place.replace("train", "val"), "00003\n")
    data = open_dataset(tmp_path)
    assert names_and_splits(data) == {"imgs/00000_img": "train", "imgs/00001_img": "train", "imgs/00003_img": "val"}
    assert any("1 picture in no list, left out: imgs/00002_img" in note for note in data.notes)


def test_rule_of_names_is_told(save, photo, tmp_path):
    for number in ("001", "002"):
        save(f"images/img_{number}.png", photo(1, 3))
        save(f"masks/gt_{number}.png", IDS)
    data = open_dataset(tmp_path)
    assert any(note.startswith("paired img_001.png with gt_001.png") for note in data.notes)
    assert [item.source.path.name for item in data.items] == ["gt_001.png", "gt_002.png"]


def test_side_by_side_by_words(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"data/{name}.jpg", photo(1, 3))
        save(f"data/{name}_mask.png", IDS)
    data = open_dataset(tmp_path)
    assert [(item.name, item.source.path.name) for item in data.items] == [
        ("data/cat", "cat_mask.png"),
        ("data/dog", "dog_mask.png"),
    ]


def test_side_by_side_by_format(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"{name}.jpg", photo(1, 3))
        save(f"{name}.png", IDS)
    assert [item.source.path.suffix for item in open_dataset(tmp_path).items] == [".png", ".png"]


def test_pictures_in_the_root_beside_a_label_folder(save, photo, tmp_path):
    for name in ("cat", "dog"):
        save(f"{name}.jpg", photo(1, 3))
        save(f"masks/{name}.png", IDS)
    assert [item.name for item in open_dataset(tmp_path).items] == ["cat", "dog"]


def lines_of(error) -> list[str]:
    """The answers that a message offers, each as the text of a data.yaml."""
    offers = str(error.value).split("`images: ")[1:]
    return [f"images: {o.split('`')[0]}\nmasks: {o.split('`masks: ')[1].split('`')[0]}\n" for o in offers]


def test_two_label_folders_are_asked_about_whatever_their_classes(save, photo, tmp_path, write):
    """The one with more classes was taken: the colours drawn to look at, or the ids of instances."""
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels_coloured/{name}.png", np.array([[(0, 0, 0), (255, 0, 0), (0, 255, 0)]], np.uint8))
        save(f"labels_ids/{name}.png", np.array([[0, 1, 1]], np.uint8))
    with pytest.raises(DataError, match=r"2 folders may hold the labels") as error:
        open_dataset(tmp_path)
    assert "`masks: labels_coloured` (2 pairs, 3 colours)" in str(error.value)
    assert "`masks: labels_ids` (2 pairs, 2 values 0, 1)" in str(error.value)
    write("data.yaml", lines_of(error)[1])
    assert {item.source.path.parent.name for item in open_dataset(tmp_path).items} == {"labels_ids"}


@pytest.fixture
def retina(save, photo):
    """DRIVE's tree: in each split pictures, the vessels by one or two people, and the camera's field of view."""
    for split, word, numbers in (("training", "training", (21, 22)), ("test", "test", (1, 2))):
        for number in numbers:
            save(f"{split}/images/{number:02d}_{word}.png", photo(2, 4, number))
            save(f"{split}/mask/{number:02d}_{word}_mask.png", np.array([[0, 255, 255, 255]] * 2, np.uint8))
            save(f"{split}/1st_manual/{number:02d}_manual1.png", np.array([[0, 0, 255, 0]] * 2, np.uint8))
            if split == "test":
                save(f"{split}/2nd_manual/{number:02d}_manual2.png", np.array([[0, 0, 0, 255]] * 2, np.uint8))


@pytest.mark.usefixtures("retina")
def test_every_folder_that_pairs_within_a_split_is_offered(tmp_path, write):
    """The names of the vessels pair with the pictures within a split only: the field of view was learnt instead."""
    with pytest.raises(DataError, match=r"3 folders may hold the labels.*`ignore_mask: FOLDER`") as error:
        open_dataset(tmp_path)
    answer = next(line for line in lines_of(error) if "1st_manual" in line)
    assert answer == (
        "images: {train: training/images, test: test/images}\nmasks: {train: training/1st_manual, test: test/1st_manual}\n"
    )
    write("data.yaml", answer)
    data = open_dataset(tmp_path)
    assert [len(data.of_split(split)) for split in ("train", "val", "test")] == [1, 1, 2]
    assert all("manual1" in item.source.path.name for item in data.items)
    assert data.read_labels(data.items[0]).tolist() == [[0, 0, 1, 0]] * 2


@pytest.mark.usefixtures("retina")
def test_an_ignore_mask_leaves_out_where_it_is_0(tmp_path, write):
    head = "images: {train: training/images, test: test/images}\nmasks: {train: training/1st_manual, test: test/1st_manual}\n"
    write("data.yaml", head + "ignore_mask: {train: training/mask, test: test/mask}\n")
    data = open_dataset(tmp_path)
    assert all(data.read_labels(item).tolist() == [[255, 0, 1, 0]] * 2 for item in data.items)
    assert any("4 of 4 pictures have one" in note for note in data.notes)


@pytest.mark.usefixtures("retina")
def test_an_ignore_mask_of_another_size_names_the_file(tmp_path, write, save):
    head = "images: training/images\nmasks: training/1st_manual\n"
    save("training/mask/21_training_mask.png", np.full((3, 3), 255, np.uint8))
    write("data.yaml", head + "ignore_mask: training/mask\n")
    data = open_dataset(tmp_path)
    with pytest.raises(
        DataError, match=r"21_training_mask\.png: ignore mask of 3x3, but the label 21_manual1\.png has 2x4"
    ):
        data.read_labels(next(item for item in data.items if "21" in item.name))


@pytest.mark.usefixtures("retina")
def test_one_pattern_for_each_split(tmp_path, write):
    write(
        "data.yaml",
        "images: {train: training/images, test: test/images}\n"
        "masks: {train: training/1st_manual, test: test/2nd_manual}\n"
        'pattern: {train: {image: "*_training", mask: "*_manual1"}, test: {image: "*_test", mask: "*_manual2"}}\n',
    )
    data = open_dataset(tmp_path)
    assert {item.source.path.name for item in data.of_split("test")} == {"01_manual2.png", "02_manual2.png"}
    assert len(data.items) == 4


def test_65535_beside_small_ids_is_left_out(save, photo, tmp_path):
    """It was a class of its own, beside which 255 would have been ignored."""
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", np.array([[0, 1, 65535]], np.uint16))
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("class 0", "class 1")
    assert data.read_labels(data.items[0]).tolist() == [[0, 1, 255]]


def test_predictions_are_no_labels(save, photo, tmp_path):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", IDS)
        save(f"predictions/{name}.png", IDS)
    assert {item.source.path.parent.name for item in open_dataset(tmp_path).items} == {"labels"}


def test_names_that_do_not_pair(save, photo, tmp_path):
    save("images/apple.png", photo(1, 3))
    save("labels/pear.png", IDS)
    with pytest.raises(
        DataError, match=r"no label has the name of a picture: images/apple\.png against labels/pear\.png.*`pattern:"
    ):
        open_dataset(tmp_path)


def test_pictures_that_differ_in_format_only_keep_their_suffix(save, photo, tmp_path):
    save("images/x/a.png", photo(1, 3))
    save("images/y/a.png", photo(1, 3))
    save("labels/x/a.png", IDS)
    save("labels/y/a.png", IDS)
    assert sorted(item.name for item in open_dataset(tmp_path).items) == ["images/x/a", "images/y/a"]


def test_names_file(save, photo, tmp_path, write):
    for name in ("a", "b"):
        save(f"images/{name}.png", photo(1, 3))
        save(f"labels/{name}.png", IDS)
    write("classes.txt", "background\ncrop\nweed\n")
    assert open_dataset(tmp_path).label_space.names == ("background", "crop", "weed")


def test_a_folder_that_one_side_has_more(save, photo, tmp_path):
    """Oxford-IIIT Pet: annotations/trimaps beside images."""
    for name in "ab":
        save(f"images/{name}.jpg", photo())
        save(f"annotations/trimaps/{name}.png", [[1, 2] * 4] * 6)
    assert [item.source.path.parent.name for item in open_dataset(tmp_path).items] == ["trimaps"] * 2


def test_label_folders_within_one_are_asked_about_with_lines_that_tell_them_apart(save, photo, write, tmp_path):
    """Both lines named the folder above the two."""
    for name in "ab":
        save(f"rgb/{name}.png", photo(1, 3))
        save(f"gt/labels/{name}.png", IDS)
        save(f"gt/colour/{name}.png", [[[0, 0, 0], [9, 0, 0], [9, 0, 0]]])
    with pytest.raises(DataError, match=r"`masks: gt/colour` .* `masks: gt/labels`"):
        open_dataset(tmp_path)
    write("data.yaml", "images: rgb\nmasks: gt/labels\n")
    assert open_dataset(tmp_path).label_space.num_classes == 3


@pytest.mark.parametrize("above", [("train", "train", "val"), ("",) * 3])
def test_the_lines_cover_all_sequences(save, photo, write, tmp_path, above):
    """They named the folder of the first one of each split; without splits each sequence had a message of its own."""
    for sequence, split in enumerate(above):
        for number in range(2):
            home = f"{split}/seq{sequence}".lstrip("/")
            save(f"{home}/Images/{number:06}.png", photo(1, 3, sequence * 2 + number))
            save(f"{home}/Labels/{number:06}.png", [[0, 1, sequence]])
            save(f"{home}/LabelsColor/{number:06}.png", [[[0, 0, 0], [9, 0, 0], [9, 0, 0]]])
    with pytest.raises(DataError, match=r"2 folders may hold the labels.*\(6 pairs, 2 values 0, 1\)") as asked:
        open_dataset(tmp_path)
    first, second = re.findall(r"`((?:images|masks): [^`]*)`", str(asked.value))[:2]
    write("data.yaml", f"{first}\n{second}\n")
    data = open_dataset(tmp_path)
    assert len(data) == 6
    assert all(data.read_labels(item)[0, 2] == int(item.name.split("seq")[1][0]) for item in data.items)


def test_a_folder_of_pictures_within_the_label_folder(save, photo, tmp_path):
    """iSAID: Semantic_masks/images was taken for pictures, and there were no labels."""
    for name in "ab":
        save(f"train/images/{name}.png", photo(1, 3))
        save(f"train/Semantic_masks/images/{name}_color.png", IDS)
        save(f"train/Instance_masks/images/{name}_id.png", [[0, 1, 1]])
    data = open_dataset(tmp_path)
    assert [item.source.path.name for item in data.items] == ["a_color.png", "b_color.png"]


def test_maps_of_matlab_in_any_folder(save, photo, tmp_path):
    """PASCAL-Context's lie in trainval/; other files of MATLAB are no labels."""
    for name in "ab":
        save(f"JPEGImages/{name}.png", photo(2, 3))
        (tmp_path / "trainval").mkdir(exist_ok=True)
        savemat(tmp_path / f"trainval/{name}.mat", {"LabelMap": np.array(IDS * 2, np.uint16)})
    savemat(tmp_path / "splits.mat", {"train": np.zeros((2, 2))})
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == IDS * 2


def test_camvid_as_it_was_published(save, photo, write, tmp_path):
    for name in "ab":
        save(f"701_StillsRaw_full/{name}.png", photo(1, 3))
        save(f"LabeledApproved_full/{name}_L.png", [[[0, 0, 0], [9, 0, 0], [9, 0, 0]]])
    write("label_colors.txt", "0 0 0\t\tVoid\n9 0 0\t\tRoad\n")
    assert open_dataset(tmp_path).label_space.names == ("Road",)


def test_several_files_of_each_picture_need_joining(save, photo, tmp_path):
    """The message advised a pattern, which cannot join them: it takes the masks of one class."""
    for name in "ab":
        save(f"images/{name}.png", photo(1, 3))
        for part in ("MA", "HE", "OD"):
            save(f"masks/{part}/{name}_{part}.png", [[0, 255, 0]])
    with pytest.raises(DataError, match=r"6 label files are called by a picture, several for each") as told:
        open_dataset(tmp_path)
    assert "or take one of them by `pattern: {image: '*', mask: '*_HE'}`" in str(told.value)


def test_labels_beside_the_folder_of_the_data_set_are_asked_about(save, photo, tmp_path):
    """Semantic Drone: the colours lie beside the folder of pictures and ids, and were not mentioned."""
    for name in "ab":
        save(f"dataset/drone/original_images/{name}.png", photo(1, 3))
        save(f"dataset/drone/label_images/{name}.png", IDS)
        save(f"colour_masks/{name}.png", [[[0, 0, 0], [9, 0, 0], [9, 0, 0]]])
    with pytest.raises(DataError, match=r"`masks: colour_masks` .* `masks: dataset/drone/label_images`"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_labels_that_count_from_another_number_are_not_paired_with_their_neighbours(
    save, photo, tmp_path, first, second
):
    """Nine of ten pictures were learnt with the label of the next one; two files without a partner were all it said."""
    for n in range(10):
        save(f"images/img_{n + first}.jpg", photo(1, 3))
        save(f"masks/mask_{n + second}.png", IDS)
    with pytest.raises(DataError, match=rf"10 pictures are numbered from {first}, but their labels from {second}"):
        open_dataset(tmp_path)
    lone = (0, 10) if first == 0 else (10, 0)
    (tmp_path / f"images/img_{lone[0]}.jpg").unlink()
    (tmp_path / f"masks/mask_{lone[1]}.png").unlink()
    assert len(open_dataset(tmp_path).items) == 9


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("train.csv", "image,mask\nimages/img_1.png,masks/mask_2.png\n"),
        ("data.tsv", "mask\timage\nC:\\me\\masks\\mask_2.png\tC:\\me\\images\\img_1.png\n"),
        ("dataset.json", '{"training": [{"image": "./images/img_1.png", "label": "./masks/mask_2.png"}]}'),
        ("metadata.jsonl", '{"file_name": "img_1.png", "mask": "mask_2.png"}\n'),
    ],
)
def test_a_table_that_pairs_otherwise_than_the_names_is_refused(save, photo, write, tmp_path, file, text):
    """MONAI's dataset.json was read for its split alone, and its pairs were passed over without a word."""
    for n in (1, 2):
        save(f"images/img_{n}.png", photo(1, 3))
        save(f"masks/mask_{n}.png", IDS)
    write(file, text.replace("mask_2", "mask_1"))
    assert open_dataset(tmp_path).items
    write(file, text)
    with pytest.raises(DataError, match=rf"{file}: pairs images/img_1\.png with masks/mask_2\.png, but by its name"):
        open_dataset(tmp_path)


def test_a_second_mask_of_a_picture_is_not_left_out(save, photo, tmp_path):
    """BUSI: what only the second mask shows became background, and "add the picture" was the remedy."""
    for number in (1, 2):
        save(f"benign/benign ({number}).png", photo(6, 8, number))
        save(f"benign/benign ({number})_mask.png", [[0, 255]])
    save("benign/benign (2)_mask_1.png", [[255, 0]])
    told = r"1 label file of pictures that have another \(benign/benign \(2\)_mask_1\.png\)"
    with pytest.raises(DataError, match=told):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["masks/{picture}/{kind}.png", "labels/{kind}/{picture}.png"])
def test_folders_of_a_picture_or_of_a_class_are_told(save, photo, tmp_path, name):
    """A mask for each object (Segment Anything) or for each class: "rename them" was said."""
    for picture in ("p0", "p1"):
        save(f"images/{picture}.jpg", photo())
        for kind in ("cat", "dog"):
            save(name.format(picture=picture, kind=kind), [[0, 255]])
    with pytest.raises(DataError, match=r"4 label files are called by a picture, several for each .*join those"):
        open_dataset(tmp_path)


def test_labelme_numbers_the_labels_of_each_picture_for_itself(save, photo, write, tmp_path):
    """labelme_json_to_dataset: 1 is cat in one folder and dog in the next, and nothing was said."""
    for name, labels in (("a", "_background_\ncat\n"), ("b", "_background_\ndog\n")):
        save(f"{name}_json/img.png", photo())
        save(f"{name}_json/label.png", [[0, 1]])
        write(f"{name}_json/label_names.txt", labels)
    with pytest.raises(
        DataError, match=r"id 1 is 'cat' in one folder and 'dog' in b_json.*give the folder of the json"
    ):
        open_dataset(tmp_path)
    write("b_json/label_names.txt", "_background_\ncat\ndog\n")
    assert open_dataset(tmp_path).label_space.names[:2] == ("background", "cat")


def test_a_bitmap_beside_its_label_of_the_same_name(save, photo, tmp_path):
    """001.bmp beside 001.png (white blood cells): "no labels in a known layout" was said."""
    for number in range(3):
        save(f"{number:03}.bmp", photo(12, 16, number))
        save(f"{number:03}.png", np.tile([0, 0, 1, 2], (12, 4)))
    data = open_dataset(tmp_path)
    assert [(item.image.suffix, item.source.path.suffix) for item in data.items] == [(".bmp", ".png")] * 3


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("RUGD_frames-with-annotations", "RUGD_annotations"),
        ("Image", "GT_Object"),  # COD10K
        ("CXR_png", "masks"),  # beside test/, whose pictures have none
    ],
)
def test_folders_of_public_sets(save, photo, tmp_path, images, masks):
    """ "No labels in a known layout", or "no label has the name of a picture"."""
    for name in "ab":
        save(f"{images}/{name}.png", photo(1, 3))
        save(f"{masks}/{name}.png", [[0, 1, 1]])
    save("test/c.png", photo(1, 3))
    items = open_dataset(tmp_path).items
    assert [item.image.parent.name for item in items] == [images] * 2


def test_labels_in_folders_called_by_their_picture(save, photo, write, tmp_path):
    """Drishti-GS: GT/p1/SoftMap/p1_cup.png and p1_disc.png. The pattern that was offered paired nothing."""
    for split, names in (("Training", ("p1", "p2")), ("Test", ("p3", "p4"))):
        for name in names:
            save(f"{split}/Images/{name}.png", photo(1, 3))
            for part in ("cup", "disc"):
                save(f"{split}/GT/{name}/SoftMap/{name}_{part}.png", [[0, 255, 0]])
    with pytest.raises(DataError, match="several for each .* or take one of them by") as told:
        open_dataset(tmp_path)
    write("data.yaml", str(told.value).split("`")[1])
    items = open_dataset(tmp_path).items
    assert [item.source.path.name for item in items] == [f"p{n}_cup.png" for n in (3, 4, 1, 2)]


def test_a_table_above_the_data_set_pairs(save, photo, write, tmp_path):
    """Kaggle's forests: meta_data.csv beside the folder of the pictures. "No label has the name of a picture"."""
    for picture, label in (("a1", "q8"), ("b2", "r5")):
        save(f"Forest/images/{picture}.png", photo(1, 3))
        save(f"Forest/masks/{label}.png", [[0, 1, 1]])
    write("meta_data.csv", "image,mask\na1.png,q8.png\nb2.png,r5.png\n")
    pairs = [(item.image.stem, item.source.path.stem) for item in open_dataset(tmp_path).items]
    assert pairs == [("a1", "q8"), ("b2", "r5")]


@pytest.mark.parametrize("home", ["patch_{}", "frames/tile{}", "iid{}"])
def test_a_folder_for_each_picture_and_its_label(save, photo, tmp_path, home):
    """patch_0001/image.tif beside patch_0001/label.tif: the folder's name is that of pictures, and was passed over."""
    for number in range(3):
        save(f"{home.format(number)}/image.png", photo(1, 3, number))
        save(f"{home.format(number)}/label.png", [[0, 1, number]])
    items = open_dataset(tmp_path).items
    assert [item.image.parent for item in items] == [item.source.path.parent for item in items]
    assert len(items) == 3


def test_numbered_folders_of_labels_go_with_numbered_folders_of_pictures(save, photo, tmp_path):
    """TNBC: Slide_01 beside GT_01. "The labels lie in folders that the pictures do not have" was said."""
    for slide in ("01", "02", "03"):
        for number in (1, 2):
            save(f"Slide_{slide}/{slide}_{number}.png", photo(1, 3, number))
            save(f"GT_{slide}/{slide}_{number}.png", [[0, 255, 0]])
    items = open_dataset(tmp_path).items
    assert [item.image.stem for item in items] == [item.source.path.stem for item in items]
    assert len(items) == 6
