"""Pictures and labels of quite other names, which a table or a json pairs."""

import json

import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

IDS = [[0, 1, 2]]
NAMES = {"alder": "t7", "birch": "t3", "cedar": "t9"}


@pytest.fixture
def unlike(save, photo):
    """unlike("images/{}.jpg", "masks/{}.png"): pictures and labels whose names share nothing; the label tells whose."""

    def make(image: str, label: str) -> None:
        for number, (picture, mask) in enumerate(NAMES.items()):
            save(image.format(picture), photo(1, 3, number))
            save(label.format(mask), [[number, 1, 2]])

    return make


def paired(root):
    data = open_dataset(root)
    assert [data.read_labels(item)[0, 0] for item in data.items] == [0, 1, 2]
    return data


@pytest.mark.parametrize(
    ("file", "head", "row"),
    [
        ("pairs.csv", "image,mask\n", "images/{}.jpg,masks/{}.png\n"),
        ("pairs.csv", "", "images/{}.jpg,masks/{}.png\n"),  # no heading: the folder tells
        ("data.tsv", "name\tannotation\n", "D:\\me\\images\\{}.jpg\tD:\\me\\masks\\{}.png\n"),
        ("metadata.jsonl", "", '{{"file_name": "{}.jpg", "mask": "{}.png"}}\n'),
        ("training.odgt", "", '{{"fpath_img": "images/{}.jpg", "fpath_segm": "masks/{}.png", "width": 3}}\n'),
        ("list.csv", "n,images,masks,collage\n", "1,{0}.jpg,{1}.png,collage/{0}.jpg\n"),
    ],
)
def test_a_table_pairs_them(unlike, write, tmp_path, file, head, row):
    """They were refused: "rename them", or a pattern that no names of theirs share."""
    unlike("images/{}.jpg", "masks/{}.png")
    write(file, head + "".join(row.format(*pair) for pair in NAMES.items()))
    assert f"pairs from {file}" in paired(tmp_path).notes


def test_a_json_of_records_gives_pairs_and_splits(unlike, write, tmp_path):
    """MONAI's list of a data set."""
    unlike("imgs/{}.jpg", "lbls/{}.png")
    records = [{"image": f"./imgs/{picture}.jpg", "label": f"./lbls/{mask}.png"} for picture, mask in NAMES.items()]
    write("dataset.json", json.dumps({"training": records[:2], "validation": records[2:]}))
    data = paired(tmp_path)
    assert [item.split for item in data.items] == ["train", "train", "val"]


def test_tables_of_two_splits(unlike, write, tmp_path):
    unlike("pictures/{}.jpg", "gt/{}.png")
    rows = [f"pictures/{picture}.jpg,gt/{mask}.png\n" for picture, mask in NAMES.items()]
    write("train.csv", "".join(["img,label\n", *rows[:2]]))
    write("val.csv", "".join(["img,label\n", *rows[2:]]))
    data = paired(tmp_path)
    assert [item.split for item in data.items] == ["train", "train", "val"]
    assert "pairs from train.csv, val.csv" in data.notes


def test_one_folder_holds_all_and_the_column_tells(unlike, write, tmp_path):
    unlike("files/{}.png", "files/{}.png")
    write("pairs.csv", "mask,image\n" + "".join(f"files/{m}.png,files/{p}.png\n" for p, m in NAMES.items()))
    assert [item.image.stem for item in paired(tmp_path).items] == list(NAMES)


def test_without_a_word_the_first_is_the_picture(unlike, write, tmp_path):
    unlike("files/{}.png", "files/{}.png")
    write("pairs.csv", "".join(f"{p}.png,{m}.png\n" for p, m in NAMES.items()))
    assert [item.image.stem for item in paired(tmp_path).items] == list(NAMES)


def test_two_files_of_one_name_are_told_apart_by_the_column(save, photo, write, tmp_path):
    """0.png is a picture and a label, of another picture."""
    for number in range(3):
        save(f"images/{number}.png", photo(1, 3, number))
        save(f"masks/{number + 7}.png", [[number, 1, 2]])
    save("masks/0.png", IDS)
    write("pairs.csv", "image,mask\n" + "".join(f"{n}.png,{n + 7}.png\n" for n in range(3)))
    with pytest.raises(DataError, match=r"pairs images/0\.png with masks/7\.png, but by its name"):
        open_dataset(tmp_path)
    (tmp_path / "masks/0.png").unlink()
    assert len(paired(tmp_path).items) == 3


def test_a_table_that_says_more_than_the_names(unlike, save, photo, write, tmp_path):
    """One picture was paired by its name, and the others left out, though the table has them all."""
    unlike("images/{}.jpg", "masks/{}.png")
    save("images/oak.jpg", photo(1, 3, 9))
    save("masks/oak.png", [[3, 1, 2]])
    write("pairs.csv", "image,mask\n" + "".join(f"{p}.jpg,{m}.png\n" for p, m in [*NAMES.items(), ("oak", "oak")]))
    assert len(open_dataset(tmp_path).items) == 4


def test_two_labels_of_a_picture_are_refused(unlike, write, tmp_path):
    unlike("images/{}.jpg", "masks/{}.png")
    write("pairs.csv", "image,mask\nalder.jpg,t7.png\nalder.jpg,t3.png\n")
    with pytest.raises(DataError, match=r"pairs\.csv: images/alder\.jpg has two labels, masks/t7\.png and masks/t3"):
        open_dataset(tmp_path)


def test_rows_that_name_no_pair_are_passed_over(unlike, write, tmp_path):
    unlike("images/{}.jpg", "masks/{}.png")
    write("info.csv", "image,size\nalder.jpg,4 MB\nbirch.jpg,3 MB\n")
    with pytest.raises(DataError, match=r"no label has the name of a picture.*pairs\.csv which belong together"):
        open_dataset(tmp_path)


def test_paths_start_from_the_folder_of_the_table(save, photo, write, tmp_path):
    """Hugging Face's metadata.jsonl in each split: names that train and test share were left out of both."""
    for split, masks in {"train": ("t7", "t3"), "test": ("t3", "t7")}.items():
        for number, (picture, mask) in enumerate(zip(("alder", "birch"), masks, strict=True)):
            save(f"{split}/images/{picture}.jpg", photo(1, 3, number + 2 * (split == "test")))
            save(f"{split}/masks/{mask}.png", [[number, 1, 2]])
        rows = [
            {"image": f"images/{p}.jpg", "mask": f"masks/{m}.png"}
            for p, m in zip(("alder", "birch"), masks, strict=True)
        ]
        write(f"{split}/metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    data = open_dataset(tmp_path)
    assert [(item.name, data.read_labels(item)[0, 0]) for item in data.items] == [
        ("test/images/alder", 0),
        ("test/images/birch", 1),
        ("train/images/alder", 0),
        ("train/images/birch", 1),
    ]


def test_a_manifest_of_ground_truth(unlike, write, tmp_path):
    """SageMaker names both by their addresses in a bucket, three folders deep."""
    unlike("images/{}.jpg", "output/{}.png")
    rows = [{"source-ref": f"s3://b/images/{p}.jpg", "road-ref": f"s3://b/x/output/{m}.png"} for p, m in NAMES.items()]
    write("manifests/output/output.manifest", "".join(json.dumps(row) + "\n" for row in rows))
    paired(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset.json", {"dataset": {n: {"images": [f"raw/{n}.png"], "label": f"raw/{m}.png"} for n, m in NAMES.items()}}),
        ("list.json", [{"image": {"path": f"raw/{n}.png"}, "mask": {"path": f"raw/{m}.png"}} for n, m in NAMES.items()]),
        ("list.json", {"data": {"all": [{"img": f"raw/{n}.png", "gt": f"raw/{m}.png"} for n, m in NAMES.items()]}}),
    ],
)  # fmt: skip
def test_records_within_records_pair(unlike, write, tmp_path, file, content):
    """nnU-Net's dataset.json may name the files of each case; only records of one level were read."""
    unlike("raw/{}.png", "raw/{}.png")
    write(file, json.dumps(content))
    data = paired(tmp_path)
    assert f"pairs from {file}" in data.notes
