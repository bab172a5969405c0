import pytest

from denselab.data.listing.tree import bare_stem, folder_role, read_tree, split_in_name, words
from denselab.errors import NoSuchPath


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SegmentationClassPNG", ("segmentation", "class", "png")),
        ("JPEGImages", ("jpeg", "images")),
        ("trainannot", ("train", "annot")),
        ("train_images", ("train", "images")),
        ("leftImg8bit", ("left", "img", "8", "bit")),
        ("ImagesTr", ("images", "tr")),
        ("img_0001", ("img", "0001")),
        ("training", ("training",)),
    ],
)
def test_words_of_names(name, expected):
    assert words(name) == expected


@pytest.mark.parametrize(
    "name", ["images", "imgs", "Image", "JPEGImages", "img", "pictures", "train_images", "input_images", "image_2"]
)
def test_image_folders(name):
    assert folder_role(name) == "image"


@pytest.mark.parametrize(
    "name",
    [
        "labels",
        "masks",
        "annotations",
        "gts",
        "gt",
        "label",
        "trainannot",
        "SegmentationClass",
        "SegmentationClassPNG",
        "ground_truth",
        "1st_manual",
    ],
)
def test_label_folders(name):
    assert folder_role(name) == "label"


@pytest.mark.parametrize("name", ["predictions", "SegmentationObject", "instances", "panoptic_val", "overlays"])
def test_folders_of_results_are_neither(name):
    assert folder_role(name) == "other"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("images_val", "val"),
        ("validation", "val"),
        ("ImagesTr", "train"),
        ("testing", "test"),
        ("validset", "val"),
        ("trainlist", "train"),
        ("DUTS-TE", "test"),
        ("trainids", None),
        ("values", None),
        ("trainval", None),
        ("a", None),
    ],
)
def test_split_of_names(name, expected):
    assert split_in_name(name) == expected


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("img_001", "gt_001"),
        ("002_image", "002_annotation"),
        ("00000_img", "00000_gt"),
        ("21_training", "21_manual"),
        ("cat", "cat_mask"),
    ],
)
def test_bare_stems_agree(picture, label):
    assert bare_stem(picture) == bare_stem(label) != ""


def test_hidden_files_are_left_out(tmp_path, write):
    write("a/b.txt", "x")
    write("a/.hidden.txt", "x")
    for folder in ("@eaDir/a.jpg", "#recycle", "__MACOSX"):  # of a NAS: thumbnails and its bin
        write(f"a/{folder}/SYNOPHOTO_THUMB_M.jpg", "x")
    write(".git/config", "x")
    tree = read_tree(tmp_path)
    assert [str(f) for f in tree.files] == ["a/b.txt"]
    assert tree.has("a")
    assert tree.has("a/b.txt")
    assert not tree.has("b.txt")
    assert [str(f) for f in tree.below("a").files] == ["b.txt"]


def test_missing_folder(tmp_path):
    with pytest.raises(NoSuchPath, match="does not exist"):
        read_tree(tmp_path / "nowhere")
