"""submission.csv: label maps and run lengths, by hand and back again."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from denselab.errors import ConfigError
from denselab.inference.prediction import Prediction
from denselab.inference.submission import Submission, run_lengths
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace(
    (LabelEntry(0, "ground", (0, 0, 0), "background"), LabelEntry(3, "can", (9, 0, 0)), LabelEntry(7, "cup", (0, 9, 0)))
)


def prediction(labels: np.ndarray) -> Prediction:
    image = np.zeros((*labels.shape, 3), np.uint8)
    return Prediction("p", image, labels.astype(np.uint8), SPACE, lambda: np.zeros((3, *labels.shape), np.float32))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "submission.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_map_is_its_ids_row_by_row(tmp_path: Path) -> None:
    table = Submission("csv")
    table.add("b.jpg", prediction(np.array([[0, 1, 2], [2, 0, 0]])))
    table.add("a.jpg", prediction(np.zeros((1, 1), int)))
    table.write(tmp_path)
    assert rows_of(tmp_path) == [
        {"image_id": "a.jpg", "PredictionString": "0"},
        {"image_id": "b.jpg", "PredictionString": "0 3 7 7 0 0"},
    ]


def test_a_size_is_taken_at_pixel_centres(tmp_path: Path) -> None:
    table = Submission("csv", (2, 2))
    table.add("a", prediction(np.repeat(np.repeat(np.array([[0, 1], [2, 0]]), 3, axis=0), 3, axis=1)))
    table.write(tmp_path)
    assert rows_of(tmp_path)[0]["PredictionString"] == "0 3 7 0"


def test_run_lengths_go_down_the_columns(tmp_path: Path) -> None:
    table = Submission("rle")
    table.add("a", prediction(np.array([[0, 1, 1], [1, 1, 0]])))
    table.write(tmp_path)
    assert rows_of(tmp_path) == [{"image_id": "a", "class_id": "3", "class_name": "can", "rle": "2 4"}]


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_run_lengths_give_the_mask_back(mask: np.ndarray) -> None:
    numbers = [int(word) for word in run_lengths(mask).split()]
    flat = np.zeros(mask.size, bool)
    for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
        assert length > 0
        flat[start - 1 : start - 1 + length] = True
    assert (flat.reshape(mask.shape, order="F") == mask).all()


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="csv or rle"):
        Submission("xml")  # type: ignore[arg-type]
