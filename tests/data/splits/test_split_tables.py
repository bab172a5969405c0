"""One file that gives all splits: csv with a column, json, folds."""

import json

import pytest

from denselab.data import open_dataset
from denselab.data.listing.tree import read_tree
from denselab.data.splits.split_tables import find_table, read_table
from denselab.errors import DataError

TRAIN_VAL = [{"train": ["a", "b"], "val": ["c"]}]
TWO_FOLDS = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]


@pytest.mark.parametrize(
    ("data", "folds"),
    [
        ({"train": ["a", "b"], "val": ["c"]}, TRAIN_VAL),
        ({"name": "set", "training": [{"image": "a"}, {"image": "b"}], "validation": [{"image": "c"}]}, TRAIN_VAL),
        ([{"image": "a", "split": "train"}, {"image": "b", "split": "train"}, {"image": "c", "split": "val"}], TRAIN_VAL),
        ({"a": "train", "b": "train", "c": "valid"}, TRAIN_VAL),
        ([{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}], TWO_FOLDS),
        ({"fold_0": {"train": ["b", "c"], "val": ["a"]}, "fold_1": {"train": ["a"], "val": ["b", "c"]}}, TWO_FOLDS),
        ({"folds": [["a"], ["b", "c"]]}, [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]),
        ({"0": ["a"], "1": ["b", "c"]}, TWO_FOLDS),
        (
            {"training": [{"image": "a", "fold": 0}, {"image": "b", "fold": 1}, {"image": "c", "fold": 1}], "test": ["t"]},
            [{**fold, "test": ["t"]} for fold in TWO_FOLDS],
        ),
        (  # FiftyOne's dataset: tags of each sample
            {"samples": [{"filepath": n, "tags": t} for n, t in zip("abcd", [["train"], ["x", "train"], ["validation"], []], strict=True)]},
            TRAIN_VAL,
        ),
        ({"samples": [{"filepath": "a", "tags": []}]}, []),
        ({"images": ["a", "b"], "masks": ["a", "b"]}, []),
        ({"images": [{"id": 1}], "annotations": [], "categories": []}, []),
        ([1, 2], []),
    ],
)  # fmt: skip
def test_forms_of_json(write, data, folds):
    assert read_table(write("splits.json", json.dumps(data))) == folds


@pytest.mark.parametrize(
    ("text", "folds"),
    [
        ("image,split\na,train\nb,train\nc,val\n", TRAIN_VAL),
        ("image;mask;subset\na;a;Training\nb;b;training\nc;c;dev\n", [{"train": ["a\ta", "b\tb"], "val": ["c\tc"]}]),
        ("image,fold\na,0\nb,1\nc,1\n", TWO_FOLDS),
        ("image,split\na,north\n", []),
        ("image,mask\na,b\n", []),
        ("image,fold\na,²\nb,1\n", []),  # a digit, but no number: it ended as a fault of ours
        pytest.param(f"image,fold\na,{'9' * 5000}\nb,1\n", [], id="a number of 5,000 digits"),
    ],
)
def test_forms_of_csv(write, text, folds):
    assert read_table(write("meta.csv", text)) == folds


def test_the_file_is_found_by_its_name(tmp_path, write):
    write("colours.json", json.dumps({"train": ["a"]}))
    assert find_table(read_tree(tmp_path), ()) is None
    path = write("splits_final.json", json.dumps(TWO_FOLDS))
    assert find_table(read_tree(tmp_path), ()) == (path, TWO_FOLDS)


@pytest.fixture
def three(save, photo, tmp_path):
    for name in "abc":
        save(f"images/{name}.png", photo())
        save(f"labels/{name}.png", [[0, 1] * 4] * 6)
    return tmp_path


def splits_of(path):
    return {item.image.stem: item.split for item in open_dataset(path).items}


def test_folds_are_used_and_another_can_be_taken(three, write):
    write("splits_final.json", json.dumps(TWO_FOLDS))
    data = open_dataset(three)
    assert splits_of(three) == {"a": "val", "b": "train", "c": "train"}
    [note] = [note for note in data.notes if "fold 0 of the 2" in note]
    assert "`splits: splits_final.json` and `fold: 1`" in note
    write("data.yaml", "splits: splits_final.json\nfold: 1\n")
    assert splits_of(three) == {"a": "train", "b": "val", "c": "val"}
    write("data.yaml", "splits: splits_final.json\nfold: 2\n")
    with pytest.raises(DataError, match=r"fold 2, but splits_final\.json has 2 folds"):
        open_dataset(three)


@pytest.mark.parametrize(
    ("yaml", "splits"),
    [
        ("splits: {val: [a]}", {"a": "val", "b": "train", "c": "train"}),
        ("splits: {test: all}", dict.fromkeys("abc", "test")),
        ("splits: {test: [a], val: all}", {"a": "test", "b": "val", "c": "val"}),
        ("splits: {train: [a], val: [b], test: all}", {"a": "train", "b": "val", "c": "test"}),
    ],
)
def test_data_yaml_names_some(three, write, yaml, splits):
    """`{val: [...]}` divided the named pictures anew, and `{test: all}` was refused as a missing file."""
    write("data.yaml", yaml)
    assert splits_of(three) == splits


def test_train_csv_and_val_csv_are_obeyed(three, write):
    """A new split was drawn beside them: the given val pictures were trained on."""
    write("train.csv", "img,label\nimages/a.png,labels/a.png\nimages/c.png,labels/c.png\n")
    write("val.csv", "img,label\nimages/b.png,labels/b.png\n")
    assert splits_of(three) == {"a": "train", "b": "val", "c": "train"}


def test_what_lists_leave_out_can_be_taken_by_the_line_that_is_told(three, write):
    write("train.txt", "a\n")
    write("val.txt", "b\n")
    data = open_dataset(three)
    assert len(data) == 2
    [note] = [note for note in data.notes if "left out" in note]
    line = note.split("`")[1]
    assert line == "splits: {train: train.txt, val: val.txt, test: all}"
    write("data.yaml", line)
    assert splits_of(three) == {"a": "train", "b": "val", "c": "test"}


@pytest.mark.parametrize("folder", ["val", "test"])
def test_a_folder_that_is_held_out_is_not_trained_on_but_by_the_line_that_is_told(save, photo, write, tmp_path, folder):
    """Roboflow's and COCO's test/ alone."""
    from denselab.data.audit.check import check_dataset
    from denselab.data.dataset import require_trainable

    for name in "abcd":
        save(f"{folder}/images/{name}.png", photo())
        save(f"{folder}/masks/{name}.png", [[0, 1] * 4] * 6)
    data = open_dataset(tmp_path)
    assert data.splits == (folder,)
    with pytest.raises(DataError, match=rf"every picture is named {folder}.*`splits: {{train: all}}` in data.yaml"):
        require_trainable(data)
    report = check_dataset(data, quiet=True)
    assert not report.would_train
    assert any("`splits: {train: all}`" in fault.fix or "{train: all}" in fault.fix for fault in report.errors)
    write("data.yaml", "splits: {train: all}")
    require_trainable(open_dataset(tmp_path))


def test_a_split_deep_in_a_record_counts(save, photo, write, tmp_path):
    """Vertex AI writes it into a label of the resource: its validation picture trained, and another one was val."""
    lines = []
    for name, split in (("a", "training"), ("b", "training"), ("c", "validation")):
        save(f"images/{name}.png", photo())
        save(f"masks/{name}.png", [[0, 1]])
        image, mask = (f"gs://bucket/{folder}/{name}.png" for folder in ("images", "masks"))
        record = {"imageGcsUri": image, "annotation": {"maskGcsUri": mask}, "resourceLabels": {"ml_use": split}}
        lines.append(json.dumps(record))
    write("import.jsonl", "\n".join(lines))
    data = open_dataset(tmp_path)
    assert data.names_of("train") == ["images/a", "images/b"]
    assert data.names_of("val") == ["images/c"]
    assert "split from import.jsonl" in data.notes


def test_several_columns_of_splits_are_folds(three, write):
    """VegAnn's TVT-split1 to 5: the first was taken without a word."""
    rows = ["Name;TVT-split1;TVT-split2", "a;Training;Test", "b;Validation;Training", "c;Test;Validation"]
    file = write("meta.csv", "\n".join(rows))
    first = {"train": ["a"], "val": ["b"], "test": ["c"]}
    folds = [
        {split: [name.split("\t")[0] for name in names] for split, names in fold.items()} for fold in read_table(file)
    ]
    assert folds == [first, {"test": ["a"], "train": ["b"], "val": ["c"]}]
    assert "fold 0 of the 2 in meta.csv; `splits: meta.csv` and `fold: 1`" in str(open_dataset(three).notes)
    write("data.yaml", "splits: meta.csv\nfold: 1")
    assert {item.name[-1]: item.split for item in open_dataset(three).items} == {"a": "test", "b": "train", "c": "val"}
