"""A data set with pictures that a model has labelled: what it is sure of, and nothing of what people have labelled."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from denselab.data import Dataset, open_dataset
from denselab.data.seen import seen_of
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, NoSuchPath
from denselab.files import HOST, is_leftover, json_bytes
from denselab.inference.predictor import Predictor
from denselab.labels import LabelSpace
from denselab.measure.pseudo_labels import pseudo_label

RED, BLACK, NOISE = (255, 0, 0), (0, 0, 0), (120, 120, 120)


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.uint8]:
    """32x32, the left half of one colour, the right of another."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16], picture[:, 16:] = left, right
    return picture


def save(path: Path, pixels: NDArray[np.uint8], compress_level: int = 6) -> None:
    """compress_level: files of the same pixels differ in their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=compress_level)


@pytest.fixture
def labelled(tmp_path: Path, space: LabelSpace) -> Dataset:
    """Two pictures: a in train, b in val; red is 10, what is black is void."""
    for split, name in (("train", "a"), ("val", "b")):
        save(tmp_path / "data/images" / split / f"{name}.png", halves(RED, BLACK))
        labels = np.zeros((32, 32), np.uint8)
        labels[:, :16], labels[:, 16:] = 10, 99
        save(tmp_path / "data/labels" / split / f"{name}.png", labels)
    rows = [f"{{id: {e.id}, name: {e.name}, colour: {list(e.colour)}, role: {e.role}}}" for e in space.entries]
    (tmp_path / "data/data.yaml").write_text(f"labels: [{', '.join(rows)}]\n")
    return open_dataset(tmp_path / "data")


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Pictures without labels: one that the model half knows, one of which it is sure of nothing."""
    save(tmp_path / "others/known/c.png", halves(RED, BLACK), compress_level=0)
    save(tmp_path / "others/grey.png", halves(NOISE, NOISE))
    return tmp_path / "others"


def test_sure_pixels_get_the_class_and_others_are_ignored(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    """Of red the model is sure by 0.85, of black by 0.71."""
    made = pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=0.8, quiet=True)
    assert made.added == (str(others / "known/c.png"),)
    assert list(made.unsure) == [str(others / "grey.png")]
    assert made.shares["red"] == made.shares["ignored"] == 0.5
    assert "1 train, 1 val pictures as they were labelled, 1 more in train" in made.told()
    data = open_dataset(tmp_path / "new")
    assert {item.name.rpartition("/")[2]: item.split for item in data.items} == {"a": "train", "b": "val", "c": "train"}
    assert data.label_space.names == labelled.label_space.names
    assert [e.id for e in data.label_space.classes] == [0, 10, 20, 30], "the ids of a submission stay"
    red, ignore = data.label_space.names.index("red"), data.label_space.ignore_index
    for item in data.items:
        labels = data.read_labels(item)
        assert (labels[:, :16] == red).all()
        assert (labels[:, 16:] == ignore).all()
    c = next(item for item in data.items if item.name.endswith("c"))
    assert (data.read_image(c) == halves(RED, BLACK)).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new", "others"], "nothing is left behind"


def test_val_is_what_the_training_held_out(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exported model's val was drawn anew from data that name none, some of it from what the model had learnt."""
    pool, model = tmp_path / "pool", tmp_path / "model"
    for number in range(6):
        picture = halves(RED, BLACK)
        picture[0, 0] = number
        save(pool / "images" / f"{number}.png", picture)
        (pool / "labels").mkdir(exist_ok=True)
        shutil.copy(labelled.items[0].source.path, pool / "labels" / f"{number}.png")
    shutil.copy(labelled.root / "data.yaml", pool)
    given = [replace(item, split="val" if i in (1, 4) else "train") for i, item in enumerate(open_dataset(pool).items)]
    assert open_dataset(pool).names_of("val") != ["images/1", "images/4"], "what would be drawn"
    model.mkdir()

    def val_of(out: str) -> list[str]:
        pseudo_label(Predictor(engine, model), pool, [others], tmp_path / out, confidence=0.8, quiet=True)
        return [Path(name).name for name in open_dataset(tmp_path / out).names_of("val")]

    assert val_of("unknown")
    assert "drawn from" in caplog.text
    assert "also any that the model was trained on: it comes without its run" in caplog.text
    caplog.clear()
    (model / "splits.json").write_bytes(json_bytes(seen_of(given)))
    assert val_of("known") == ["1", "4"]
    assert "drawn" not in caplog.text


def test_what_is_being_written_names_its_machine(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    """It was `new.writing-PID`: on a shared disk another machine, without such a process, took it for a leftover."""
    names: set[str] = set()

    class Watching(Predictor):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            names.update(path.name for path in tmp_path.iterdir())
            return super().__call__(*arguments, **options)

    pseudo_label(Watching(engine), labelled, [others], tmp_path / "new", confidence=0.8, quiet=True)
    (fresh,) = names - {"data", "others"}
    assert is_leftover(fresh), "found after a kill"
    assert f"-{HOST}-" in fresh


def test_a_picture_with_boxes_alone_is_labelled_by_the_model(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its boxes became a mask of background in which they were left open, and it counted as labelled by people."""
    save(labelled.root / "images/train/w.png", halves(RED, BLACK), compress_level=1)
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 16, 32]}]
    images = [{"id": 1, "file_name": "w.png", "height": 32, "width": 32}]
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "red"}]}
    (labelled.root / "boxes.json").write_text(json.dumps(table))
    with (labelled.root / "data.yaml").open("a") as file:
        file.write("boxes: boxes.json\n")
    places = [others, labelled.root / "images"]
    made = pseudo_label(Predictor(engine), labelled.root, places, tmp_path / "new", confidence=0.8, quiet=True)
    assert "1 picture with boxes or tags alone: the model labels them" in capsys.readouterr().err
    assert made.counts == {"train": 1, "val": 1}
    assert sorted(Path(name).name for name in made.added) == ["c.png", "w.png"]
    data = open_dataset(tmp_path / "new")
    w = next(item for item in data.items if item.name.endswith("w"))
    assert (data.read_labels(w)[:, :16] == data.label_space.names.index("red")).all()


@pytest.mark.parametrize("void", [-1, 65535])
def test_ignored_ids_that_no_png_of_8_bits_holds_stay_ignored(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path, void: int
) -> None:
    """65535 was written as 0, the first class; -1 was taken out of the table, and the label that had it was refused."""
    for path in (labelled.root / "labels").rglob("*.png"):
        ids = np.asarray(Image.open(path)).astype(np.int32)
        Image.fromarray(np.where(ids == 99, void, ids).astype(np.int32)).save(path.with_suffix(".tif"))
        path.unlink()
    text = (labelled.root / "data.yaml").read_text()
    (labelled.root / "data.yaml").write_text(text.replace("id: 99", f"id: {void}"))
    pseudo_label(Predictor(engine), labelled.root, [others], tmp_path / "new", confidence=0.8, quiet=True)
    data = open_dataset(tmp_path / "new")
    for item in data.items:
        assert (data.read_labels(item)[:, 16:] == data.label_space.ignore_index).all()


def test_labelled_pictures_are_not_labelled_again(labelled: Dataset, engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture to label: all of them are labelled in"):
        pseudo_label(Predictor(engine), labelled, [labelled.root / "images"], tmp_path / "new", quiet=True)


def test_a_copy_of_a_labelled_picture_is_not_labelled_again(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second round over the same pictures had each twice, with two labels; a copy of one of val came into train."""
    shutil.copy(labelled.root / "images/val/b.png", others / "copied.png")
    made = pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=0.8, quiet=True)
    assert made.added == (str(others / "known/c.png"),)
    assert "1 picture left out: copies of labelled ones, such as" in capsys.readouterr().err
    with pytest.raises(DataError, match="no picture to label: all of them are labelled in"):
        pseudo_label(Predictor(engine), tmp_path / "new", [others / "known"], tmp_path / "newer", quiet=True)


def test_pictures_that_are_not_there_are_named(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    """It said "no picture to label: there is no such file or folder", without a name, and that the data were at fault.

    One such input among good ones is skipped, as by `predict`.
    """
    with pytest.raises(NoSuchPath, match=r"other does not exist; expected a picture.*near it: .*others"):
        pseudo_label(Predictor(engine), labelled, [tmp_path / "other"], tmp_path / "new", quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no picture to label: .*empty: holds no picture"):
        pseudo_label(Predictor(engine), labelled, [tmp_path / "empty"], tmp_path / "new", quiet=True)
    places = [tmp_path / "other", others]
    made = pseudo_label(Predictor(engine), labelled, places, tmp_path / "new", confidence=0.8, quiet=True)
    assert [one.path for one in made.skipped] == [str(tmp_path / "other")]


def test_nothing_sure_leaves_no_data_set(labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture has 5% of its pixels at a confidence of 0.99; lower it"):
        pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=0.99, quiet=True)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_read_is_skipped(labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path) -> None:
    (others / "broken.png").write_bytes(b"no picture")
    made = pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=0.8, quiet=True)
    assert [one.path for one in made.skipped] == [str(others / "broken.png")]


@pytest.mark.parametrize("confidence", [0.0, 1.5])
def test_a_confidence_is_a_probability(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path, confidence: float
) -> None:
    with pytest.raises(ConfigError, match="`confidence` .*0.9 is usual"):
        pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=confidence)


def test_a_folder_that_holds_something_is_refused(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is not empty: nothing in it is touched"):
        pseudo_label(Predictor(engine), labelled, [others], others)
    with pytest.raises(ConfigError, match="lies inside the data set"):
        pseudo_label(Predictor(engine), labelled, [others], labelled.root / "new")
