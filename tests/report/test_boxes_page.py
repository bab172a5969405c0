"""boxes.html: the boxes drawn, the prediction as they are added, two models side by side."""

import os
from pathlib import Path

import numpy as np
import pytest

from denselab.engine.folder import load_engine
from denselab.errors import ConfigError
from denselab.inference.instance_wise import boxes_of, growing, joined_bands
from denselab.inference.instances import InstanceWise
from denselab.inspection.explanation import explain
from denselab.proposals.boxes import areas
from denselab.report.boxes_page import PAGE, drawn, write_boxes
from denselab.report.earlier import earlier


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def test_the_page_and_its_pictures(models: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (load_engine(folder, "cpu") for folder in models)
    explanation = explain(first, picture(), quiet=True)
    written = write_boxes(explanation, InstanceWise(boxes=20), second, tmp_path, "photo.jpg")
    assert [path.name for path in written] == [PAGE, "boxes.png", "class-maps.png"]
    content = written[0].read_text(encoding="utf-8")
    assert "1 box, the largest" in content
    assert "11 boxes, the largest" in content
    assert "http" not in content.replace("http://www.w3.org", "")
    alone = write_boxes(explanation, None, second, tmp_path / "b", "photo.jpg")
    assert [path.name for path in alone] == [PAGE, "class-maps.png"]


def test_models_of_other_classes_are_not_compared(models: tuple[Path, Path], engine: object, tmp_path: Path) -> None:
    explanation = explain(load_engine(models[0], "cpu"), picture(), quiet=True)
    with pytest.raises(ConfigError, match="`against`: the model knows the classes ground, red"):
        write_boxes(explanation, None, engine, tmp_path, "photo.jpg")  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_an_earlier_page_is_not_waited_for(tmp_path: Path) -> None:
    """`explain --out` read the page that lay there, and from a pipe for ever."""
    os.mkfifo(tmp_path / PAGE)
    assert earlier(tmp_path / PAGE) == set()


def test_boxes_are_added_by_size_and_end_as_the_prediction(models: tuple[Path, Path]) -> None:
    engine, how, image = load_engine(models[1], "cpu"), InstanceWise(boxes=20, aggregate="max"), picture()
    steps = growing(engine, how, image, [1, 3, 99])
    assert steps[0][0].tolist() == [[0, 0, 40, 56]]
    assert [len(boxes) for boxes, _ in steps] == [1, 3, 18]
    assert (np.diff(areas(steps[-1][0])) <= 0).all(), "the last is the smallest, the one that was added"
    boxes = boxes_of(how, image, engine.spec.preprocessing.imgsz)
    whole = np.concatenate([band for _, band in joined_bands(engine, how, image, boxes)], axis=1)
    assert steps[-1][1] == pytest.approx(whole, abs=1e-5)


def test_outlines_lie_on_the_box_s_own_pixels() -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    seen = drawn(image, np.array([[2, 3, 6, 9]])).any(axis=2)
    expected = np.zeros((10, 12), bool)
    expected[2:6, 3:9] = True
    expected[3:5, 4:8] = False
    assert np.array_equal(seen, expected)
