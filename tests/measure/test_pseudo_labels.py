"""A data set with pictures that a model has labelled: what it is sure of, and nothing of what people have labelled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from denselab.data import Dataset, open_dataset
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, NoSuchPath
from denselab.files import HOST, is_leftover
from denselab.inference.predictor import Predictor
from denselab.labels import LabelSpace
from denselab.measure.pseudo_labels import pseudo_label

RED, BLACK, NOISE = (255, 0, 0), (0, 0, 0), (120, 120, 120)


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.uint8]:
    """32x32, the left half of one colour, the right of another."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16], picture[:, 16:] = left, right
    return picture


def save(path: Path, pixels: NDArray[np.uint8], level: int = 6) -> None:
    """level: of the compression, which makes another file of the same pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=level)


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
    save(tmp_path / "others/known/c.png", halves(RED, BLACK), level=1)
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


def test_labelled_pictures_are_not_labelled_again(labelled: Dataset, engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture to label: all of them are labelled in"):
        pseudo_label(Predictor(engine), labelled, [labelled.root / "images"], tmp_path / "new", quiet=True)


def test_copies_of_labelled_pictures_are_not_labelled_either(
    labelled: Dataset, others: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    """They were known by their path: a copy of a val picture got the model's labels, and trained."""
    save(others / "copy of b.png", halves(RED, BLACK))
    made = pseudo_label(Predictor(engine), labelled, [others], tmp_path / "new", confidence=0.8, quiet=True)
    assert made.added == (str(others / "known/c.png"),)
    assert not made.skipped


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
