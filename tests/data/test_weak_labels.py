"""Boxes and tags as labels: sources, files, splits, and what is made of masks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.data.audit.check import check_dataset
from denselab.data.dataset import open_as_named
from denselab.data.weak_labels import Box, BoxLabels, TagLabels, clipped, has_mask, weak_line
from denselab.data.weakening import teaching_line, weakened
from denselab.errors import ConfigError, DataError

Save = Callable[..., Path]


@pytest.fixture
def mixed(save: Save, photo: Any, tmp_path: Path) -> Path:
    """images/a to images/f of 6x8; a to d have masks with a cat (1) in a corner and, in c and d, a dog (2)."""
    for number, name in enumerate("abcdef"):
        save(f"images/{name}.png", photo(seed=number))
    for name in "abcd":
        mask = np.zeros((6, 8), np.uint8)
        mask[:2, :3] = 1
        mask[3:, 4:] = 2 if name in "cd" else 0
        save(f"labels/{name}.png", mask)
    (tmp_path / "data.yaml").write_text(
        "labels: [{id: 0, name: background, role: background}, {id: 1, name: cat}, {id: 2, name: dog}]\n"
        "splits: {val: [d]}\n"
    )
    return tmp_path


def coco(images: dict[str, list[tuple[int, list[float]]]]) -> str:
    """A json of boxes: {file: [(category, x y width height)]}."""
    rows = [{"id": i, "file_name": name, "height": 6, "width": 8} for i, name in enumerate(images)]
    boxes = [
        {"id": 10 * i + j, "image_id": i, "category_id": category, "bbox": box}
        for i, own in enumerate(images.values())
        for j, (category, box) in enumerate(own)
    ]
    names = [{"id": 1, "name": "dog"}, {"id": 2, "name": "Cat"}]
    return json.dumps({"images": rows, "annotations": boxes, "categories": names})


def test_a_box_source_knows_what_lies_outside_and_a_tag_source_nothing(save: Save, photo: Any) -> None:
    boxes = BoxLabels(Path("x"), (2, 3), (Box(7, 0, 1, 1, 3),), 4)
    assert (boxes.ids() == 4).tolist() == [[True, False, False], [True, True, True]]
    assert boxes.summary() == {7: 2}
    unknown = BoxLabels(Path("x"), (2, 3), (), None)
    assert len(np.unique(unknown.ids())) == 1
    tags = TagLabels(Path("x"), save("t.png", photo()), (7, 9))
    assert tags.ids().shape == (6, 8)
    assert tags.summary() == {7: 1, 9: 1}


def test_boxes_are_clipped_to_whole_pixels() -> None:
    assert clipped(1, (-3.0, 0.4, 2.5, 9.0), (6, 8)) == Box(1, 0, 0, 3, 8)
    assert clipped(1, (7.0, 0.0, 9.0, 2.0), (6, 8)) is None


def test_boxes_and_tags_beside_masks_become_training_pictures(mixed: Path) -> None:
    """Class names count in any case; a picture with a mask keeps it; background among the tags says nothing."""
    (mixed / "boxes.json").write_text(
        coco({"e.png": [(1, [1, 2, 3, 2]), (2, [0, 0, 9, 1])], "a.png": [(1, [0, 0, 1, 1])]})
    )
    (mixed / "tags.txt").write_text("f cat, background, dog\n".replace("f ", "f.png, "))
    data = open_dataset(mixed)
    by_name = {Path(item.name).name: item for item in data.items}
    assert sorted(by_name) == list("abcdef")
    assert by_name["e"].source == BoxLabels(mixed / "boxes.json", (6, 8), (Box(2, 2, 1, 4, 4), Box(1, 0, 0, 1, 8)), 0)
    assert by_name["f"].source == TagLabels(mixed / "tags.txt", by_name["f"].image, (1, 2))
    assert {Path(n).name for n in data.names_of("train")} == set("abcef")
    assert not data.without_label
    assert "1 picture of boxes.json, tags.txt with a mask too" in " ".join(data.notes)
    assert weak_line(data.items, data.label_space) in " ".join(data.notes)
    assert teaching_line(data) == (
        "training pictures: 3 by full masks (strong), 1 by boxes alone (weak), 1 by tags alone (weak); "
        "val and test are scored on full masks only"
    )
    labels = data.read_labels(by_name["e"])
    assert labels[5].tolist() == [0] * 8
    assert labels[0].tolist() == [255] * 8


def test_check_finds_nothing_wrong_with_them(mixed: Path) -> None:
    """A class that only boxes name is learnt; a picture without one certain pixel is no fault."""
    (mixed / "tags.json").write_text(json.dumps({"e.png": ["dog"], "images/f.png": []}))
    report = check_dataset(open_dataset(mixed), quiet=True)
    assert report.would_train
    assert not [fault for fault in report.faults if fault.kind in ("all ignored", "absent class")]
    assert "2 pictures with tags alone (1 dog)" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tags.csv", "image,tags\ne.png,cat;dog\nf.png,\n"),
        ("tags.csv", "image,background,cat,dog\ne.png,1,1,1\nf.png,1,0,0\n"),
        ("tags.txt", "e cat dog\nf\n"),
        ("train_tags.txt", "e.png\tcat\tdog\nf.png\t\n"),
        ("tags.json", '{"e": ["cat", "dog"], "f": []}'),
    ],
)
def test_forms_of_tag_files(mixed: Path, name: str, text: str) -> None:
    (mixed / name).write_text(text)
    sources = {Path(item.name).name: item.source for item in open_dataset(mixed).items if not has_mask(item)}
    assert {key: source.tags for key, source in sources.items() if isinstance(source, TagLabels)} == {
        "e": (1, 2),
        "f": (),
    }


def test_files_that_data_yaml_names(mixed: Path) -> None:
    (mixed / "weak").mkdir()
    (mixed / "weak" / "e.json").write_text(coco({"e.png": []}))
    (mixed / "weak" / "held.lst").write_text("f dog\n")
    described = (mixed / "data.yaml").read_text()
    (mixed / "data.yaml").write_text(described + "boxes: {train: weak/e.json}\ntags: {test: weak/held.lst}\n")
    data = open_dataset(mixed)
    assert "images/e" in data.names_of("train")
    assert not data.of_split("test")
    assert "1 picture of test without a full mask, left out: scores need one: images/f" in data.notes
    (mixed / "data.yaml").write_text(described + "boxes: missing.json\n")
    with pytest.raises(DataError, match=r"boxes: missing.json does not exist below"):
        open_dataset(mixed)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tags.txt", "e cta\n", r"tags.txt: 'cta' of e.png is no class of the label table; did you mean 'cat'\?"),
        ("tags.txt", "e zebra\n", "the classes are background, cat, dog"),
        ("tags.txt", "e cat\ne dog\n", "e stands there twice; join its lines"),
        ("tags.txt", "x cat\n", r"none of its names \(x\) is a picture here"),
        ("tags.json", "[]", "was expected; correct it"),
        ("tags.json", "{", "not JSON that can be read"),
        ("boxes.json", "{}", "no COCO json of boxes"),
        ("boxes.json", '{"images": [{"id": 1}], "annotations": [{"bbox": [0, 0, 1, 1]}]}', "has another form"),
        ("boxes.json", coco({"e.png": [(3, [0, 0, 1, 1])]}), "category_id 3 is in no category"),
        (
            "boxes.json",
            coco({"e.png": [(1, [0, float("nan"), 1, 1])]}),
            "a box of 'dog' in images/e.png is not of finite",
        ),
        (
            "boxes.json",
            coco({"e.png": [(1, [0, 0, float("inf"), 1])]}),
            "a box of 'dog' in images/e.png is not of finite",
        ),
    ],
)
def test_what_is_refused(mixed: Path, name: str, text: str, told: str) -> None:
    (mixed / name).write_text(text)
    with pytest.raises(DataError, match=told):
        open_dataset(mixed)


def test_boxes_that_hold_no_pixel_are_told(mixed: Path) -> None:
    """Corners in the other order, or a picture of another size: all of it was background, without a word."""
    boxes = {"e.png": [(1, [0.0, 0, 2, 2]), (1, [5.0, 5, -3, -3])], "f.png": [(1, [90.0, 90, 9, 9])]}
    (mixed / "boxes.json").write_text(coco(boxes))
    told = "2 pictures with boxes turned about or outside, which hold no pixel and are left out: images/e, images/f"
    assert told in open_dataset(mixed).notes


def test_without_any_mask_nothing_can_be_scored(save: Save, photo: Any, tmp_path: Path) -> None:
    save("images/a.png", photo())
    (tmp_path / "set.json").write_text(coco({"a.png": [(1, [0, 0, 1, 1])]}))
    with pytest.raises(DataError, match="boxes train, but scores need masks"):
        open_dataset(tmp_path)


def test_masks_named_val_alone_leave_training_to_the_boxes(mixed: Path) -> None:
    (mixed / "tags.txt").write_text("e cat\nf dog\n")
    text = (mixed / "data.yaml").read_text().replace("val: [d]", "val: [a, b, c, d]")
    (mixed / "data.yaml").write_text(text)
    data = open_as_named(mixed)
    assert data.names_of("train") == ["images/e", "images/f"]
    assert len(data.of_split("val")) == 4


@pytest.mark.parametrize("given", ["test.txt", "data.yaml"])
def test_a_weak_picture_that_is_named_test_does_not_train(mixed: Path, given: str) -> None:
    """Only its file could hold it out: a picture of tags that test.txt names was trained on."""
    (mixed / "tags.txt").write_text("e cat\nf dog\n")
    text = (mixed / "data.yaml").read_text()
    if given == "test.txt":
        (mixed / "test.txt").write_text("f\nd\n")
        text = text.replace("splits: {val: [d]}\n", "")
    else:
        text = text.replace("{val: [d]}", "{test: [f, d]}")
    (mixed / "data.yaml").write_text(text)
    data = open_dataset(mixed)
    assert not any(item.name == "images/f" for item in data.items)
    assert any("1 picture of test without a full mask, left out" in note for note in data.notes)


def test_masks_become_boxes_and_tags(mixed: Path) -> None:
    """Objects of fewer than 16 pixels are none (data.objects); tags know them all."""
    data = open_dataset(mixed)
    boxes = weakened(data, "boxes")
    assert [has_mask(item) for item in boxes.items] == [item.split == "val" for item in boxes.items]
    tags = {Path(item.name).name: item.source for item in weakened(data, "tags").of_split("train")}
    assert {name: source.tags for name, source in tags.items() if isinstance(source, TagLabels)} == {
        "a": (1,),
        "b": (1,),
        "c": (1, 2),
    }
    assert weakened(data, "auto") is data
    assert weakened(boxes, "boxes").items == boxes.items, "once weak, nothing changes"
    again = weakened(boxes, "tags")
    assert all(isinstance(item.source, TagLabels) for item in again.of_split("train"))


def test_some_pictures_keep_their_masks(mixed: Path) -> None:
    data = open_dataset(mixed)
    drawn = weakened(data, "tags", 2, seed=1)
    assert sum(has_mask(item) for item in drawn.of_split("train")) == 2
    assert weakened(data, "tags", 2, seed=1).items == drawn.items
    (mixed / "strong.txt").write_text("c\n")
    kept = [item.name for item in weakened(data, "tags", "strong.txt").of_split("train") if has_mask(item)]
    assert kept == ["images/c"]
    with pytest.raises(ConfigError, match="`strong` 9, but 3 training pictures have masks"):
        weakened(data, "tags", 9)
    with pytest.raises(ConfigError, match="neither a number nor a file"):
        weakened(data, "tags", "nowhere.txt")
    with pytest.raises(ConfigError, match="goes with `labels` boxes or tags, not with auto"):
        weakened(data, "auto", 2)


def test_masks_win_where_others_have_tags_alone_and_what_says_too_little_is_left_out(mixed: Path) -> None:
    (mixed / "tags.txt").write_text("e cat\nf dog\n")
    data = open_dataset(mixed)
    assert sum(has_mask(item) for item in weakened(data, "tags").of_split("train")) == 3
    assert len(weakened(data, "boxes").of_split("train")) == 3, "tags are no boxes"
    assert len(weakened(data, "masks").of_split("train")) == 3
