"""Which pictures are measured: the run's split on its own data, the whole of other data, and never silently others."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import open_dataset
from denselab.data.counting import count_class_pixels
from denselab.engine.spec import ModelSpec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.measure.data import select

SPLITS = {"train": ["images/a", "images/b", "images/c"], "val": ["images/d"]}


def write_data(folder: Path, names: str, splits: str = "") -> Path:
    """A folder of 4x6 pictures with the classes ground and red, without a split unless one is given."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        PILImage.new("RGB", (6, 4), (ord(name), 0, 0)).save(folder / "images" / f"{name}.png")
        label = np.zeros((4, 6), np.uint8)
        label[: 1 + ord(name) % 3] = 10
        PILImage.fromarray(label).save(folder / "labels" / f"{name}.png")
    (folder / "data.yaml").write_text(f"labels: [{{id: 0, name: ground}}, {{id: 10, name: red}}]\n{splits}")
    return folder


@pytest.fixture
def spec(engine: TorchEngine) -> ModelSpec:
    return engine.spec


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", "abcd")


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    """A run that was trained on a, b, c of the data, with d held out."""
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "config.yaml").write_text("seed: 3\n")
    dataset = open_dataset(data)
    pixels = count_class_pixels(dataset, [item for item in dataset.items if item.name != "images/d"]).sum(axis=0)
    stored = {
        "path": str(data),
        "labels": dataset.label_space.to_list(),
        "splits": SPLITS,
        "class_pixels": dict(zip(dataset.label_space.names, map(int, pixels), strict=True)),
    }
    (folder / "dataset.json").write_text(json.dumps(stored))
    return folder


def names(items: Sequence[object]) -> str:
    return "".join(getattr(item, "name", "")[-1] for item in items)


def test_the_split_of_the_run_rules_after_pictures_were_added(
    run: Path, data: Path, spec: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    """The split was drawn anew from the larger folder: pictures of the training were measured, and nothing was said."""
    write_data(data, "efghij")
    for home in (run, run / "model"):
        chosen = select(data, "val", spec, home)
        assert (names(chosen.items), chosen.split, chosen.own, chosen.unmeasured) == ("d", "val", True, 6)
    assert "6 pictures added since the training, in no split" in capsys.readouterr().err
    assert chosen.facts() == {"data": str(data), "split": "val", "not_measured": 6}
    assert names(select(data, "train", spec, run).items) == "abc"


def test_new_pictures_that_the_data_name_val_are_measured(run: Path, data: Path, spec: ModelSpec) -> None:
    write_data(data, "e", "splits: {train: [a, b], val: [c, d, e]}\n")
    assert names(select(data, "val", spec, run).items) == "de", "c was trained on"


def test_moved_data_and_a_part_of_them_are_known(run: Path, data: Path, spec: ModelSpec, tmp_path: Path) -> None:
    moved = data.rename(tmp_path / "elsewhere")
    assert names(select(moved, "val", spec, run).items) == "d"
    write_data(moved, "e")
    assert select(moved, "val", spec, run).unmeasured == 1


def test_other_data_of_the_same_names_are_not_the_runs(run: Path, spec: ModelSpec, tmp_path: Path) -> None:
    """Every camera has its 0001: equal names alone made another folder the run's, and one picture was measured."""
    other = write_data(tmp_path / "other", "abcd")
    PILImage.fromarray(np.zeros((4, 6), np.uint8)).save(other / "labels" / "a.png")
    chosen = select(other, "val", spec, run)
    assert (names(chosen.items), chosen.split, chosen.own) == ("abcd", "all", False)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_folder_without_a_split_is_measured_whole(
    run: Path, spec: ModelSpec, tmp_path: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody asks for a split of a test folder, but a fifth of its pictures was measured."""
    other = write_data(tmp_path / "other", "uvwxyz")
    chosen = select(other, split, spec, run)
    assert (names(chosen.items), chosen.told()) == ("uvwxyz", f"6 pictures of {other}: all that it holds")
    assert "names no split: all 6 pictures are measured" in capsys.readouterr().err
    assert len(select(other, "val", spec, run, {"seed": 1}).items) == 1, "drawn where that is asked for"


def test_a_model_without_its_run_says_that_it_cannot_leave_out_what_it_was_trained_on(
    run: Path, data: Path, spec: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`eval EXPORTED DATA` measured the training pictures too, and so a better mIoU than the run's, without a word."""
    for home in (tmp_path, None):
        assert select(data, "val", spec, home).split == "all"
        assert "are measured, also any that the model was trained on" in capsys.readouterr().err
    select(write_data(tmp_path / "other", "uvwxyz"), "val", spec, run)
    assert "also any" not in capsys.readouterr().err


def test_a_split_that_the_data_name_is_obeyed(run: Path, spec: ModelSpec, tmp_path: Path) -> None:
    other = write_data(tmp_path / "other", "uvwxyz", "splits: {test: [u, v]}\n")
    assert names(select(other, "test", spec, run).items) == "uv"
    with pytest.raises(DataError, match="no picture in val; it has test"):
        select(other, "val", spec, run)


def test_pictures_of_the_training_are_never_measured_silently(
    run: Path, data: Path, spec: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_dataset(data)
    all_val = replace(opened, items=tuple(replace(item, split="val") for item in opened.items))
    assert select(all_val, "val", spec, run).facts()["trained_on"] == 3
    assert "3 of the 4 pictures were trained on" in capsys.readouterr().err


def test_pictures_of_more_bits_than_the_training_s_are_told(
    data: Path, spec: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were measured at one white, which `predict` does not know: mIoU 0.56 of label maps that reach 0.99."""
    dataset = replace(open_dataset(data), white=4095)
    deep = replace(spec, preprocessing=replace(spec.preprocessing, white=1023))
    for one, told in ((deep, False), (spec, True)):
        select(dataset, "val", one)
        assert (
            "has pictures of more than 8 bits, the training had 8: 4,095 is white" in capsys.readouterr().err
        ) == told


def test_pictures_without_a_mask_are_never_measured(
    data: Path, spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    PILImage.new("RGB", (6, 4)).save(data / "images" / "w.png")
    (data / "tags.txt").write_text("w red\n")
    whole = open_dataset(data)
    assert "images/w" in whole.names_of("train")
    assert {item.name for item in select(whole, "train", spec).items} == set(whole.names_of("train")) - {"images/w"}
    assert "1 picture with boxes or tags alone: not measured, scores need full masks" in caplog.text
    weak = replace(whole, items=tuple(item for item in whole.items if item.name == "images/w"))
    with pytest.raises(DataError, match="no picture has a full mask, and scores need one"):
        select(weak, "train", spec)
