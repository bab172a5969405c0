"""What is asked where folders of pictures and labels pair in several ways, and what is said where they do not."""

from itertools import product

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

IDS = [[0, 1, 2]]


def ticked(error) -> list[str]:
    return str(error.value).split("`")[1::2]


@pytest.mark.parametrize(
    ("images", "masks", "told"),
    [
        (("{}.jpg", "{}.png"), ("{}.png",), r"4 pictures in two formats \(images/a\.jpg, images/a\.png and 2 more\)"),
        (("{}.jpg",), ("{}.png", "{}.bmp"), r"4 label files in two formats \(masks/a\.bmp, masks/a\.png"),
    ],
)
def test_a_file_in_two_formats_is_named(save, photo, tmp_path, images, masks, told):
    """ "no label has the name of a picture" was said, where all have."""
    for number, name in enumerate("ab"):
        for form in images:
            save(f"images/{form.format(name)}", photo(1, 3, number))
        for form in masks:
            save(f"masks/{form.format(name)}", IDS)
    with pytest.raises(DataError, match=told):
        open_dataset(tmp_path)


def test_folders_in_another_language_that_hold_folders_are_asked_about(save, photo, write, tmp_path):
    """ "12 pictures, but no labels in a known layout" was all that was said: train and val lie in folders of both."""
    for split, names in (("entrenamiento", "abcd"), ("validacion", "ef")):
        for number, name in enumerate(names):
            save(f"datos/imagenes/{split}/{name}.png", photo(24, 32, number))
            save(f"datos/mascaras/{split}/{name}.png", np.tile(np.arange(3), (24, 11))[:, :32])
    with pytest.raises(DataError, match=r"but these may hold them: write in data\.yaml") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines == ["images: datos/imagenes", "masks: datos/mascaras"]
    write("data.yaml", "\n".join(lines))
    assert len(open_dataset(tmp_path).items) == 6


def test_each_of_two_annotators_can_be_taken(save, photo, write, tmp_path):
    """ "Join those of a picture into one" was all that was said of the masks of two readers."""
    for number, name in enumerate("abc"):
        save(f"images/{name}.jpg", photo(1, 3, number))
        save(f"masks/{name}_reader1.png", [[0, 1, 1]])
        save(f"masks/{name}_reader2.png", [[0, 0, 1]])
    with pytest.raises(DataError, match=r"6 label files .* several for each .*; or take one of them by") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert [line[-10:-2] for line in lines] == ["_reader1", "_reader2"]
    for line, row in zip(lines, ([0, 1, 1], [0, 0, 1]), strict=True):
        write("data.yaml", line)
        data = open_dataset(tmp_path)
        assert (len(data.items), data.read_labels(data.items[0]).tolist()) == (3, [row])


def test_labels_called_in_two_ways_are_asked_about(save, photo, write, tmp_path):
    """Cityscapes' ids of some pictures beside the train ids of others: 7 and 0 are both the road."""
    for number, name in enumerate("abcd"):
        save(f"images/{name}.jpg", photo(1, 3, number))
        save(f"labels/{name}_label{'Ids' if number < 2 else 'TrainIds'}.png", [[7, 11, 7]] if number < 2 else IDS)
    with pytest.raises(DataError, match="the labels are called in 2 ways, and may be numbered in as many") as asked:
        open_dataset(tmp_path)
    for line, pairs in zip(ticked(asked), (2, 2, 4), strict=True):
        write("data.yaml", line)
        assert len(open_dataset(tmp_path).items) == pairs


def test_folders_of_classes_are_told(save, photo, tmp_path):
    """masks/cat/a.png, masks/dog/b.png: a pattern was offered, and which class a mask shows would have been lost."""
    for number, name in enumerate("abcd"):
        save(f"images/{name}.jpg", photo(1, 3, number))
        save(f"masks/{('cat', 'dog')[number % 2]}/{name}.png", [[0, 255, 0]])
    with pytest.raises(
        DataError, match=r"folders that the pictures do not have \(cat, dog\)\. Where these are classes"
    ):
        open_dataset(tmp_path)


def test_parts_in_folders_with_numbers_can_be_joined(save, photo, write, tmp_path):
    """Either half was offered alone."""
    for part in (1, 2):
        for name in "ab":
            save(f"images_part{part}/{name}{part}.png", photo(1, 3, part))
            save(f"masks_part{part}/{name}{part}.png", IDS)
    with pytest.raises(DataError, match="or, where they are parts of one, `images:") as asked:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(ticked(asked)[4:6]))
    assert len(open_dataset(tmp_path).items) == 4


def test_tiles_are_parts_whatever_their_word(save, photo, tmp_path):
    """ "Tile 1" was taken for a folder of pictures, so that equal names in it and in "Tile 2" paired with nothing."""
    for tile in (1, 2):
        for name in "ab":
            save(f"Tile {tile}/images/{name}.jpg", photo(1, 3, tile))
            save(f"Tile {tile}/masks/{name}.png", [[0, tile, 3]])
    data = open_dataset(tmp_path)
    assert [(item.name, data.read_labels(item)[0, 1]) for item in data.items] == [
        (f"Tile {tile}/images/{name}", tile) for tile in (1, 2) for name in "ab"
    ]


@pytest.mark.parametrize(("images", "masks"), [("Images", "Category_ids"), ("图像", "标签"), ("fotos", "mascaras")])
def test_folders_whose_names_do_not_tell_are_asked_about(save, photo, write, tmp_path, images, masks):
    """ "put label PNGs of the same names into a folder labels/", where they are there in a folder of another name."""
    for number, name in enumerate("abc"):
        save(f"{images}/{name}.jpg", photo(12, 16, number))
        save(f"{masks}/{name}.png", IDS)
        save(f"People/{name}.png", [[0, 1, 1]])
    with pytest.raises(DataError, match="no folder is called as those of labels are, but these may hold them") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert sorted(lines[1::2]) == sorted(["masks: People", f"masks: {masks}"])
    write("data.yaml", f"{lines[0]}\nmasks: {masks}")
    data = open_dataset(tmp_path)
    assert data.read_labels(data.items[0]).tolist() == IDS


def test_a_folder_of_classes_beside_a_mask_of_the_field_of_view(save, photo, write, tmp_path):
    """Agriculture-Vision: the valid pixels in masks/ were learnt, since labels/CLASS/a.png pair with nothing."""
    for number, name in enumerate("abc"):
        save(f"images/{name}.jpg", photo(1, 3, number))
        save(f"masks/{name}.png", [[0, 255, 255]])
        for kind in ("cloud", "weeds"):
            save(f"labels/{kind}/{name}.png", [[0, 255, 0]])
    with pytest.raises(
        DataError, match=r"6 label files .*labels/cloud/a\.png.*Where the labels are those of masks"
    ) as asked:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(ticked(asked)))
    assert len(open_dataset(tmp_path).items) == 3


@pytest.mark.parametrize("home", ["Dataset_BUSI_with_GT/benign", "output"])
def test_the_folder_that_holds_everything_says_nothing(save, photo, write, tmp_path, home):
    """GT, and output, stood for what is in it: no labels were found, or no pictures."""
    for number, name in enumerate(("benign (1)", "benign (2)")):
        save(f"{home}/{name}.png", photo(6, 8, number))
        save(f"{home}/{name}_mask.png", [[0, 255]])
    write("train.txt", "benign (1)\n")
    write("val.txt", "benign (2)\n")
    assert [item.split for item in open_dataset(tmp_path).items] == ["train", "val"]


def test_what_cannot_be_read_is_said_first(save, photo, tmp_path):
    """A stack of labels for a stack of pictures: "rename them" was said."""
    import numpy as np
    import tifffile

    for name in ("train-volume", "train-labels"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((5, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"train-labels\.tif: a stack of shape 5 x 8 x 8.*each slice as a file"):
        open_dataset(tmp_path)


def test_pictures_of_two_dates_are_asked_about(save, photo, write, tmp_path):
    """LEVIR-CD: A and B go with each label. "No label has the name of a picture" was said, and all have."""
    for split in ("train", "val"):
        for number in range(2):
            for date in "AB":
                save(f"{split}/{date}/{split}_{number}.png", photo(1, 3, number))
            save(f"{split}/label/{split}_{number}.png", [[0, 255, 0]])
    with pytest.raises(DataError, match="several pictures go with each label, of which one counts") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines[0] == "images: {train: train/A, val: val/A}"
    write("data.yaml", "\n".join(lines[2:4]))
    items = open_dataset(tmp_path).items
    assert [(item.image.parent.name, item.split) for item in items] == [("B", "train")] * 2 + [("B", "val")] * 2


def test_label_folders_within_one_are_offered(save, photo, write, tmp_path):
    """Sugar beets: annotations/dlp/iMapCleaned beside colorCleaned. "Join those of a picture into one" was all."""
    for day in ("day1", "day2"):
        for name in "ab":
            save(f"{day}/images/rgb/{day}{name}.png", photo(1, 3, 1))
            save(f"{day}/annotations/dlp/iMapCleaned/{day}{name}.png", IDS)
            save(f"{day}/annotations/dlp/colorCleaned/{day}{name}.png", [[[0, 0, 0], [0, 255, 0], [255, 0, 0]]])
    with pytest.raises(DataError, match="or take those of one folder: write in data.yaml") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    chosen = next(n for n, line in enumerate(lines) if "iMapCleaned" in line)
    write("data.yaml", "\n".join(lines[chosen - 1 : chosen + 1]))
    data = open_dataset(tmp_path)
    assert (len(data.items), data.read_labels(data.items[0]).tolist()) == (4, IDS)


def test_pictures_and_labels_with_endings_of_their_own(save, photo, write, tmp_path):
    """ACDC, Dark Zurich: a_rgb_anon beside a_gt_labelIds, a_gt_labelColor and others: "rename them" was said."""
    for name in ("f_01", "f_02"):
        save(f"rgb_anon/train/{name}_rgb_anon.png", photo(1, 3, 1))
        save(f"gt/train/{name}_gt_labelIds.png", IDS)
        save(f"gt/train/{name}_gt_labelTrainIds.png", [[1, 0, 1]])
    with pytest.raises(DataError, match=r"_gt_labelIds") as asked:
        open_dataset(tmp_path)
    write("data.yaml", next(line for line in ticked(asked) if "_gt_labelIds" in line))
    data = open_dataset(tmp_path)
    assert (len(data.items), data.read_labels(data.items[0]).tolist()) == (2, IDS)


def test_the_pictures_are_asked_about_where_the_labels_are_plain(save, photo, tmp_path):
    """EndoVis: left_frames or right_frames. "2 folders may hold the labels" was said."""
    for name in "ab":
        for side in ("left", "right"):
            save(f"{side}_frames/{name}.png", photo(1, 3, 1))
        save(f"labels/{name}.png", IDS)
    with pytest.raises(DataError, match="2 folders may hold the pictures"):
        open_dataset(tmp_path)


def test_copies_outside_of_the_splits_are_asked_about(save, photo, write, tmp_path):
    """Cracks: images/ has all pictures of train/images and test/images. "No label has the name of a picture"."""
    for home, names in (("train/", "abc"), ("test/", "de"), ("", "abcde")):
        for name in names:
            save(f"{home}images/{name}.png", photo(1, 3, ord(name)))
            save(f"{home}masks/{name}.png", IDS)
    with pytest.raises(DataError, match="5 pictures both in folders of splits and outside") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines[0] == "images: {train: train/images, test: test/images}"
    write("data.yaml", "\n".join(lines[:2]))
    assert [item.split for item in open_dataset(tmp_path).items].count("test") == 2


def test_files_of_objects_in_folders_that_say_nothing(save, photo, tmp_path):
    """SegPC: x/106.bmp with y/106_1.bmp and 106_2.bmp. "No labels in a known layout" was said."""
    for number in (106, 107):
        save(f"x/{number}.bmp", photo(12, 16, number))
        for cell in (1, 2):
            save(f"y/{number}_{cell}.bmp", np.tile([0, 20, 40, 0], (12, 4)))
    with pytest.raises(DataError, match=r"4 label files are called by a picture, several for each"):
        open_dataset(tmp_path)


def test_folders_that_say_nothing_above_one_of_the_same_name(save, photo, write, tmp_path):
    """RailSem19: jpgs/rs19_val beside uint8/rs19_val. "No labels in a known layout" was said."""
    for name in "ab":
        save(f"jpgs/rs19_val/{name}.jpg", photo(12, 16))
        save(f"uint8/rs19_val/{name}.png", np.tile([0, 1, 2, 2], (12, 4)))
    with pytest.raises(DataError, match="but these may hold them") as asked:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(ticked(asked)))
    assert len(open_dataset(tmp_path).items) == 2


def test_one_folder_of_labels_for_two_of_pictures(save, photo, write, tmp_path):
    """Lizard: the line that joins them paired nothing."""
    for part in (1, 2):
        for name in "ab":
            save(f"lizard_images{part}/Lizard_Images{part}/{name}{part}.png", photo(1, 3))
            save(f"lizard_labels/Labels/{name}{part}.png", IDS)
    with pytest.raises(DataError, match="or, where they are parts of one, `images:") as asked:
        open_dataset(tmp_path)
    write("data.yaml", "\n".join(ticked(asked)[4:6]))
    assert len(open_dataset(tmp_path).items) == 4


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (("labels/final/{}.png", "labels/original/{}.png"), "images: .\nmasks: labels/final\n"),
        (("labels/{}_all_classes.png", "labels/{}_all_objects.png"), "pattern: {image: '*', mask: '*_all_classes'}\n"),
    ],
)
def test_the_label_files_that_were_not_chosen_are_no_pictures_without_a_label(
    save, photo, write, tmp_path, labels, line
):
    """MONAI Label, RectLabel: "10 pictures without a label" were told beside five pictures that have one."""
    for number, name in enumerate("abc"):
        save(f"{name}.png", photo(1, 3, number))
        for label in labels:
            save(label.format(name), IDS)
    write("data.yaml", line)
    data = open_dataset(tmp_path)
    assert len(data) == 3
    assert not data.without_label


def test_several_pictures_of_one_label_are_told_with_the_line_that_takes_all(save, photo, write, tmp_path):
    """Three exposures of each scene: "rename them" was said, which one label for three pictures does not allow."""
    for scene in range(3):
        save(f"masks/scene{scene}_mask.png", [[0, 1, scene]])
        for number, end in enumerate(("ev-2", "ev0", "ev+2")):
            save(f"images/scene{scene}_{end}.jpg", photo(1, 3, 3 * scene + number))
    with pytest.raises(DataError, match="9 pictures are called by a label and more, several for each") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert len(lines) == 4
    for line, pictures in zip(lines, (9, 3, 3, 3), strict=True):
        write("data.yaml", line)
        data = open_dataset(tmp_path)
        read = {item.name: data.read_labels(item).tolist()[0][2] for item in data.items}
        assert len(read) == pictures
        assert all(name.startswith(f"images/scene{value}_") for name, value in read.items())


@pytest.mark.parametrize("splits", [("",), ("train/", "test/")])
def test_folders_of_one_name_go_with_each_other(save, photo, write, tmp_path, splits):
    """SECOND's im1 with label1, im2 with label2: im1 with label2 was offered alike, and both pairs together were not."""
    for split in splits:
        for view in (1, 2):
            for name in "ab":
                save(f"{split}im{view}/{name}.png", photo(1, 3, view))
                save(f"{split}label{view}/{name}.png", [[0, view, 3]])
    with pytest.raises(DataError, match="2 folders may hold the labels") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    for keys, views in zip((lines[0:2], lines[2:4], lines[4:6]), ([1], [2], [1, 2]), strict=True):
        write("data.yaml", "\n".join(keys))
        data = open_dataset(tmp_path)
        read = {item.name: data.read_labels(item).tolist()[0][1] for item in data.items}
        assert read == {f"{s}im{view}/{name}": views.index(view) + 1 for s in splits for view in views for name in "ab"}


def test_trainval_and_test_are_two_parts(save, photo, write, tmp_path):
    """TN3K: trainval-image was a folder of its own kind beside test-image, which has the same names in it."""
    for part, names in (("trainval", "0123"), ("test", "01")):
        for name in names:
            save(f"{part}-image/000{name}.jpg", photo(1, 4, int(name)))
            save(f"{part}-mask/000{name}.png", [[0, 0, 255, 255 * (part == "test")]])
    write("fold0.json", '{"train": [0, 1], "val": [2, 3]}')
    data = open_dataset(tmp_path)
    assert [(item.name, item.split) for item in data.items if item.split != "train"] == [
        ("test-image/0000", "test"),
        ("test-image/0001", "test"),
        ("trainval-image/0002", "val"),
        ("trainval-image/0003", "val"),
    ]
    assert data.read_labels(data.items[0]).tolist() == [[0, 0, 1, 1]]
    assert data.read_labels(data.items[-1]).tolist() == [[0, 0, 1, 0]]


def test_layers_of_an_editor_are_parts_of_one_label(save, photo, tmp_path):
    """foto-sky.png and foto-road.png: either was offered as the labels, and the other would have been lost."""
    rows = np.zeros((2, 2, 3, 4), np.uint8)
    rows[0, :, 0] = (255, 0, 0, 255)
    rows[1, :, 2] = (0, 255, 0, 255)
    for number in range(2):
        save(f"a{number}.jpg", photo(2, 3, number))
        for layer, name in zip(rows, ("sky", "road"), strict=True):
            save(f"a{number}-{name}.png", layer)
    with pytest.raises(
        DataError, match=r"4 label files .* IMAGE-CLASS-NUMBER\.png, which is read from a folder labels/"
    ):
        open_dataset(tmp_path)
    (tmp_path / "labels").mkdir()
    for file in tmp_path.glob("*-*.png"):
        file.rename(tmp_path / f"labels/{file.stem}-0.png")
    data = open_dataset(tmp_path)
    assert data.label_space.names == ("background", "road", "sky")
    assert data.read_labels(data.items[0]).tolist() == [[2, 0, 1]] * 2


def test_kinds_of_labels_by_each_annotator_can_be_taken(save, photo, write, tmp_path):
    """CryoNuSeg: "Annotator 1/label masks" beside "Annotator 2/mask binary"; joining them was all that was said."""
    for name in "ab":
        save(f"tissue images/{name}.png", photo(1, 3, ord(name)))
        for number, kind in product((1, 2), ("label masks", "mask binary")):
            save(f"Annotator {number} (manual)/{kind}/{name}.png", [[0, number, 1 if kind == "mask binary" else 2]])
    with pytest.raises(DataError, match="or take those of one folder") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert len(lines) == 8
    for number in range(4):
        write("data.yaml", "\n".join(lines[2 * number : 2 * number + 2]))
        data = open_dataset(tmp_path)
        assert [item.source.path.parent.name for item in data.items] == [
            ("label masks", "mask binary")[number // 2]
        ] * 2


def test_labels_with_the_letters_of_who_drew_them_are_taken_by_one_line(save, photo, write, tmp_path):
    """plot1_AB.png, plot2_CD.png: a line was offered for those of either alone."""
    for number in range(4):
        save(f"images/plot{number}.jpg", photo(1, 3, number))
        save(f"masks/plot{number}_{'AB' if number % 2 else 'CD'}.png", [[0, 1, number]])
    with pytest.raises(DataError, match="where they are numbered alike") as asked:
        open_dataset(tmp_path)
    write("data.yaml", ticked(asked)[-1])
    data = open_dataset(tmp_path)
    assert [data.read_labels(item).tolist()[0][2] for item in data.items] == [0, 1, 2, 3]


def test_a_line_that_would_not_take_all_is_not_offered(save, photo, write, tmp_path):
    """`*_*` of a_1_2 means the label a_1."""
    for scene in "ab":
        save(f"masks/{scene}.png", IDS)
        for end in ("1_2", "3_4"):
            save(f"images/{scene}_{end}.jpg", photo(1, 3, ord(scene) + len(end)))
    with pytest.raises(DataError, match=r"Write pairs\.csv, .* to give the label to all of them; or, to take") as asked:
        open_dataset(tmp_path)
    for line in ticked(asked)[1:]:
        write("data.yaml", line)
        assert len(open_dataset(tmp_path).items) == 2


def test_folders_of_two_days_go_with_each_other_by_what_they_are_called(save, photo, write, tmp_path):
    """Each day's pictures were offered with the labels of the other day, and no line took both days."""
    for day in ("2024-03-01", "2024-03-08"):
        for number, name in enumerate("ab"):
            save(f"Aufnahmen {day}/{name}.jpg", photo(24, 32, number))
            save(f"Masken {day}/{name}.png", np.tile(np.arange(3), (24, 11))[:, :32])
    with pytest.raises(DataError, match=r"or, where they are parts of one,") as asked:
        open_dataset(tmp_path)
    *each, images, masks = ticked(asked)
    assert each == [
        f"{what} {day}" for day in ("2024-03-01", "2024-03-08") for what in ("images: Aufnahmen", "masks: Masken")
    ]
    write("data.yaml", f"{images}\n{masks}")
    assert [len(open_dataset(tmp_path).items), len(each)] == [4, 4]


def test_folders_called_by_a_split_and_a_letter(save, photo, write, tmp_path):
    """ISTD: "27 pictures, but no labels" was all that was said of train_A, train_B and train_C."""
    for split, names in (("train", "abcd"), ("test", "ef")):
        for number, name in enumerate(names):
            for letter in "AC":
                save(f"{split}/{split}_{letter}/{name}.png", photo(24, 32, number + ord(letter)))
            save(f"{split}/{split}_B/{name}.png", np.tile([0, 255], (24, 16)))
    with pytest.raises(DataError, match="may hold them") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines[:2] == [
        "images: {train: train/train_A, test: test/test_A}",
        "masks: {train: train/train_B, test: test/test_B}",
    ]
    write("data.yaml", "\n".join(lines[:2]))
    assert [item.split for item in open_dataset(tmp_path).items].count("test") == 2


def test_kinds_of_labels_by_the_ends_of_names_that_begin_anew_in_each_split(save, photo, write, tmp_path):
    """NightCity: "a file for each object or class: join those of a picture into one", of ids, train ids and colours."""
    for split, names in (("train", "abc"), ("val", "ab")):
        for number, name in enumerate(names):
            save(f"images/{split}/{name}.png", photo(24, 32, number))
            for end, ids in (("labelIds", [7, 11, 26]), ("trainIds", [0, 2, 13])):
                save(f"label/{split}/{name}_{end}.png", np.tile(ids, (24, 11))[:, :32])
    with pytest.raises(DataError, match="called in 2 ways") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines[1] == "pattern: {image: '*', mask: '*_trainIds'}"
    write("data.yaml", lines[1])
    assert [sorted(item.split for item in open_dataset(tmp_path).items).count(s) for s in ("train", "val")] == [3, 2]


def test_equal_names_in_folders_that_differ_are_no_matter_of_endings(save, photo, write, tmp_path):
    """Hi-UCD: `pattern: {image: '*_train', mask: '*_val'}` was offered; it is the year that is to be chosen."""
    for number, name in enumerate(("0_a", "1_a", "2_a")):
        for year in ("2018", "2019"):
            save(f"image/{year}/9/{name}.png", photo(24, 32, number))
        save(f"mask/2018_2019/9/{name}.png", np.tile(np.arange(3), (24, 11))[:, :32])
    with pytest.raises(DataError, match="several pictures go with each label, of which one counts") as asked:
        open_dataset(tmp_path)
    lines = ticked(asked)
    assert lines[:2] == ["images: image/2018/9", "masks: mask/2018_2019/9"]
    write("data.yaml", "\n".join(lines[:2]))
    assert len(open_dataset(tmp_path).items) == 3


def test_names_of_one_folder_that_end_in_the_same_numbers(save, photo, write, tmp_path):
    """Blender: "16 pictures, but no labels" was all that was said of render0001.png beside index0001.png."""
    for number in range(4):
        save(f"render{number:04}.png", photo(24, 32, number))
        save(f"index{number:04}.png", np.tile(np.arange(3), (24, 11))[:, :32])
    with pytest.raises(DataError, match="nothing is called as labels are") as asked:
        open_dataset(tmp_path)
    (line,) = ticked(asked)
    assert line == "pattern: {image: render*, mask: index*}"
    write("data.yaml", line)
    assert len(open_dataset(tmp_path).items) == 4
