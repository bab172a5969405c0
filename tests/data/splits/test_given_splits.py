"""Splits that files beside the data name, whatever they are called, wherever they lie, and whatever the layout is."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

NAMES = "abcdefgh"
GIVEN = {"train": list("abcd"), "val": list("ef"), "test": list("gh")}


def lines(names):
    return "".join(f"{name}\n" for name in names)


def table(column, value, names=NAMES):
    return f"file,{column}\n" + "".join(f"{name}.png,{value(name)}\n" for name in names)


def split_of(name):
    return next(split for split, names in GIVEN.items() if name in names)


@pytest.fixture
def pairs(save, photo):
    for seed, name in enumerate(NAMES):
        save(f"images/{name}.png", photo(seed=seed))
        save(f"masks/{name}.png", [[0, 1] * 4] * 6)


def splits_of(path):
    data = open_dataset(path)
    return {split: [item.image.stem[0] for item in data.of_split(split)] for split in data.splits}


THREE = ("train", "val", "test")


@pytest.mark.parametrize(
    "files",
    [
        {f"{split}list.txt": lines(GIVEN[split]) for split in THREE},
        {f"kvasir_{split}.txt": lines(GIVEN[split]) for split in THREE},
        {f"metadata/{split}.txt": lines(GIVEN[split]) for split in THREE},
        {f"images/{split}.csv": "name\n" + lines(GIVEN[split]) for split in THREE},
        {f"{split}.tsv": "img\tgt\n" + lines(f"images/{n}.png\tmasks/{n}.png" for n in GIVEN[split]) for split in THREE},
        {f"{split}.json": json.dumps([f"{n}.png" for n in GIVEN[split]]) for split in THREE},
        {f"{split}.json": json.dumps([{"image": f"{n}.png"} for n in GIVEN[split]]) for split in THREE},
        {"annotations/trainval.txt": lines("abcdef"), "annotations/val.txt": lines("ef"), "annotations/test.txt": lines("gh")},
        {"split.txt": lines(f"{n}.png {split_of(n)}" for n in NAMES)},
        {"splits.yaml": json.dumps(GIVEN)},
        {"meta.csv": table("Which part", split_of)},
        {"meta.csv": table("is_valid,is_test", lambda n: f"{n in 'ef'},{n in 'gh'}")},
    ],
    ids=lambda files: next(iter(files)),
)  # fmt: skip
@pytest.mark.usefixtures("pairs")
def test_what_is_named_keeps_its_split(tmp_path, write, files):
    """All of them were passed over, and a new split was drawn: pictures that were held out were trained on."""
    for name, text in files.items():
        write(name, text)
    assert splits_of(tmp_path) == GIVEN


@pytest.mark.parametrize("where", ["splits/fold_{}/{}.txt", "{1}_fold{0}.txt", "lists/split{}_{}.txt"])
@pytest.mark.usefixtures("pairs")
def test_lists_of_folds(tmp_path, write, where):
    for number, held in enumerate(("ab", "gh")):
        write(where.format(number, "train"), lines(n for n in NAMES if n not in held))
        write(where.format(number, "val"), lines(held))
    assert splits_of(tmp_path) == {"train": list("cdefgh"), "val": list("ab")}
    [note] = [note for note in open_dataset(tmp_path).notes if note.startswith("the first of 2 folds")]
    write("data.yaml", note.split("`")[1])
    assert splits_of(tmp_path) == {"train": list("abcdef"), "val": list("gh")}


@pytest.mark.usefixtures("pairs")
def test_folds_as_decimals_and_pictures_in_none(tmp_path, write):
    write("folds.csv", table("fold", lambda n: -1 if n in "gh" else f"{NAMES.index(n) % 2}.0"))
    assert splits_of(tmp_path) == {"train": list("bdf"), "val": list("ace"), "test": list("gh")}


@pytest.mark.usefixtures("pairs")
def test_files_that_name_no_picture_are_no_lists(tmp_path, write):
    write("results.csv", "epoch,train,val\n1,0.5,0.4\n")
    write("done.csv", "epoch,train,val\n1,1,0\n")
    write("test_scores.csv", "name,iou\nmean,0.4\n")
    write("notes/train_log.txt", "step 1\n")
    write("eval_results.csv", table("iou", lambda n: 0.5))
    assert sorted(splits_of(tmp_path)) == ["train", "val"]
    assert any("no split given" in note for note in open_dataset(tmp_path).notes)


@pytest.mark.usefixtures("pairs")
def test_lists_may_lie_above_the_data(tmp_path, write):
    (tmp_path / "data").mkdir()
    for folder in ("images", "masks"):
        (tmp_path / folder).rename(tmp_path / "data" / folder)
    for split in THREE:
        write(f"{split}.txt", lines(GIVEN[split]))
    assert splits_of(tmp_path) == GIVEN


@pytest.mark.parametrize("name", ["splits_final.pkl", "split_idx.npy", "splits.mat"])
@pytest.mark.usefixtures("pairs")
def test_a_form_that_is_not_read_is_told(tmp_path, write, name):
    write(name, "x")
    [note] = [note for note in open_dataset(tmp_path).notes if name in note]
    assert "is not read; write the names of the pictures to hold out into val.txt" in note


@pytest.mark.usefixtures("pairs")
def test_splits_as_numbers_are_told(tmp_path, write):
    write("list_eval_partition.csv", table("partition", lambda n: THREE.index(split_of(n))))
    [note] = [note for note in open_dataset(tmp_path).notes if "list_eval_partition.csv" in note]
    assert "0, 1, 2" in note


@pytest.mark.usefixtures("pairs")
def test_a_pattern_leaves_the_lists_in_force(tmp_path, write):
    write("data.yaml", 'images: images\nmasks: masks\npattern: {image: "*", mask: "*"}\n')
    write("val.txt", "e\nf\n")
    assert splits_of(tmp_path) == {"train": list("abcdgh"), "val": list("ef")}


def coco(tmp_path, write, photo, save, names):
    for seed, name in enumerate(names):
        save(f"images/{name}.png", photo(seed=seed))
    rows = [{"id": n, "file_name": f"{name}.png", "height": 6, "width": 8} for n, name in enumerate(names)]
    drawn = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[1, 1, 6, 1, 6, 5]]} for n in range(len(names))
    ]
    data = {"images": rows, "annotations": drawn, "categories": [{"id": 1, "name": "rust"}]}
    write("annotations.json", json.dumps(data))


def cvat(tmp_path, write, photo, save, names):
    box = '<box label="rust" xtl="1" ytl="1" xbr="5" ybr="5"/>'
    images = [f'<image id="{n}" name="{name}.png" width="8" height="6">{box}</image>' for n, name in enumerate(names)]
    write("annotations.xml", f"<annotations>{''.join(images)}</annotations>")
    for seed, name in enumerate(names):
        save(f"images/{name}.png", photo(seed=seed))


@pytest.mark.parametrize("make", [coco, cvat])
def test_every_layout_has_its_lists(tmp_path, write, photo, save, make):
    """The lists beside COCO's and CVAT's files were not looked at."""
    make(tmp_path, write, photo, save, NAMES)
    for split in THREE:
        write(f"{split}.txt", lines(GIVEN[split]))
    assert splits_of(tmp_path) == GIVEN


@pytest.mark.parametrize("make", [coco, cvat])
def test_one_file_for_folders_of_splits(tmp_path, write, photo, save, make):
    make(tmp_path, write, photo, save, [f"{split}/{n}" for split in THREE for n in GIVEN[split]])
    assert splits_of(tmp_path) == GIVEN


@pytest.mark.parametrize(
    ("train", "test"),
    [("DUTS-TR/DUTS-TR-{}", "DUTS-TE/DUTS-TE-{}"), ("trn/{}", "tst/{}"), ("train/{}", "holdout/{}")],
)
def test_words_of_folders(tmp_path, save, photo, train, test):
    """te, tst and holdout were no splits: what stood there was trained on."""
    for seed, name in enumerate(NAMES):
        where = train if name in "abcd" else test
        save(f"{where.format('Image')}/{name}.png", photo(seed=seed))
        save(f"{where.format('Mask')}/{name}.png", [[0, 255] * 4] * 6)
    splits = splits_of(tmp_path)
    assert splits["test"] == list("efgh")
    assert sorted(splits["train"] + splits["val"]) == list("abcd")


@pytest.mark.usefixtures("pairs")
def test_a_picture_in_two_lists_is_refused(tmp_path, write):
    write("x_train.txt", lines("abcde"))
    write("x_val.txt", lines("ef"))
    with pytest.raises(DataError, match="'e' stands in both"):
        open_dataset(tmp_path)


def test_pictures_of_equal_names_in_two_folders_are_all_paired(tmp_path, save, photo, write):
    """A pattern took the last of them and lost the others without a word."""
    for site in ("one", "two"):
        for seed, name in enumerate("abc"):
            save(f"{site}/{name}_img.png", photo(seed=seed))
            save(f"{site}/{name}_gt.png", np.full((6, 8), site == "two", np.uint8))
    write("data.yaml", 'pattern: {image: "*_img", mask: "*_gt"}\nlabels: [a, b]\n')
    data = open_dataset(tmp_path)
    assert len(data) == 6
    assert all(data.read_labels(item).max() == item.name.startswith("two") for item in data.items)


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("split", {"train": "train", "val": "val", "test": "extra"}),
        ("Usage", {"train": "Training", "val": "dev", "test": "spare"}),
        ("dataset_split", {"train": "train_1", "val": "validation set", "test": "unlabelled"}),
    ],
)
def test_other_words_in_a_column_of_splits_are_told(tmp_path, write, column, words):
    """One word that is no split, and the whole column was passed over in silence: a new split was drawn."""
    write("metadata.csv", table(column, lambda n: words[split_of(n)]))
    assert splits_of(tmp_path) == {"train": list("abcd"), "val": list("ef")}
    notes = open_dataset(tmp_path).notes
    assert any(f"says {words['test']} in 2 rows, which is no split" in note for note in notes)


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("list_eval_partition.txt", lines(f"{n}.png {NAMES.index(n) % 3}" for n in NAMES), "numbers in the place of"),
        ("train_test_split.txt", lines(f"{i + 1} {int(i < 5)}" for i in range(8)), "numbers in the place of"),
        ("meta.csv", table("split", lambda n: "north" if n < "c" else "south"), "'split' holds north, south"),
        ("splits.toml", "val = ['a']\n", "is not read"),
    ],
)
def test_splits_that_are_not_read_are_told(tmp_path, write, file, text, told):
    """CelebA's partition was taken for a list of val, for its name; CUB's split and words of one's own were passed over."""
    write(file, text)
    assert sorted(splits_of(tmp_path)) == ["train", "val"]
    notes = open_dataset(tmp_path).notes
    assert any(told in note for note in notes)
    assert any("no split given" in note for note in notes)


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metadata.jsonl", lines(json.dumps({"file_name": f"images/{n}.png", "split": split_of(n)}) for n in NAMES)),
        ("metadata.json", json.dumps([{"image": f"{n}.png", "split": split_of(n)} for n in NAMES])),
        ("meta.csv", table("cv_fold", lambda n: "test" if n in "gh" else f"fold_{int(n not in 'ef')}")),
    ],
)
def test_records_and_numbered_folds(tmp_path, write, file, content):
    write(file, content)
    assert splits_of(tmp_path) == GIVEN


@pytest.mark.usefixtures("pairs")
def test_metadata_that_cannot_be_read_are_no_splits(tmp_path, write):
    write("metadata.jsonl", "{")
    assert any("no split given" in note for note in open_dataset(tmp_path).notes)


def test_the_names_of_the_pictures_say_the_split(save, photo, tmp_path):
    """train_1.bmp beside testA_1.bmp in one folder (GlaS): a new split was drawn, and test was trained on."""
    names = {"train_1": "train", "train_2": "train", "val_1": "val", "testA_1": "test", "testB_1": "test"}
    for seed, name in enumerate(names):
        save(f"images/{name}.png", photo(seed=seed))
        save(f"masks/{name}.png", [[0, 1] * 4] * 6)
    data = open_dataset(tmp_path)
    assert {item.image.stem: item.split for item in data.items} == names
    assert "split from the names of the pictures" in data.notes


def test_names_that_all_say_the_same_split_say_nothing(save, photo, tmp_path):
    for seed in range(4):
        save(f"images/COCO_val2014_{seed}.png", photo(seed=seed))
        save(f"masks/COCO_val2014_{seed}.png", [[0, 1] * 4] * 6)
    assert open_dataset(tmp_path).splits == ("train", "val")


def test_valid_beside_empty_is_no_split(save, photo, tmp_path):
    """DeepFish: pictures with fish in valid/, those without in empty/. All with fish were held out."""
    for number in range(4):
        for kind in ("valid", "empty"):
            save(f"images/{kind}/{kind}{number}.png", photo(seed=number))
            save(f"masks/{kind}/{kind}{number}.png", [[0, 255 * (kind == "valid")] * 4] * 6)
    data = open_dataset(tmp_path)
    assert {item.split for item in data.items if "valid" in item.name} == {"train", "val"}
    assert any("the folder valid is no split" in note for note in data.notes)


def test_valid_beside_images_is_one(save, photo, tmp_path):
    for number in range(4):
        home = "valid/" if number > 2 else ""
        save(f"{home}images/{number}.png", photo(seed=number))
        save(f"{home}masks/{number}.png", [[0, 255] * 4] * 6)
    assert [item.split for item in open_dataset(tmp_path).items].count("val") == 1


@pytest.mark.parametrize("column", ["sequence_id", "patient"])
def test_a_table_tells_what_belongs_together(save, photo, write, tmp_path, column):
    """CVC-ClinicDB: frames 1 to 612 of 29 videos, which metadata.csv alone tells. Frames of one video were divided."""
    rows = []
    for number in range(12):
        save(f"images/{number}.png", photo(seed=number))
        save(f"masks/{number}.png", [[0, 1] * 4] * 6)
        rows.append(f"{number},{number % 4},images/{number}.png")
    write("metadata.csv", f"frame_id,{column},image\n" + "\n".join(rows))
    data = open_dataset(tmp_path)
    assert all(len({item.split for item in data.items if int(item.name[7:]) % 4 == group}) == 1 for group in range(4))
    assert f"pictures of one {column} (metadata.csv) belong together" in data.notes


def test_a_picture_in_rows_of_several_groups_is_told(save, photo, write, tmp_path):
    """The last row won without a word, so that the frames of one patient could train and be measured."""
    for number in range(6):
        save(f"images/{number}.png", photo(seed=number))
        save(f"masks/{number}.png", [[0, 1] * 4] * 6)
    rows = [f"{n}.png,{n // 2}" for n in range(6)]
    write("metadata.csv", "image,patient\n" + "\n".join([*rows, "1.png,2", "5.png,2"]))
    data = open_dataset(tmp_path)
    assert "pictures of one patient (metadata.csv) belong together; of several the first counts: images/1" in data.notes


def test_a_column_of_one_value_or_of_as_many_as_pictures_tells_nothing(save, photo, write, tmp_path):
    for number in range(4):
        save(f"images/{number}.png", photo(seed=number))
        save(f"masks/{number}.png", [[0, 1] * 4] * 6)
    write("metadata.csv", "image,case,scene\n" + "\n".join(f"{n}.png,{n},9" for n in range(4)))
    assert not any("belong together" in note for note in open_dataset(tmp_path).notes)
