"""What a model has to beat, worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np

import denselab as dl
from denselab.data import Dataset
from denselab.engine.torch_engine import TorchEngine
from denselab.measure.baselines import CellCounts, baselines, table_of
from denselab.types import Sample


def test_a_table_favours_rare_classes_as_far_as_it_helps() -> None:
    """Vessels are darker but rare: by most pixels each grey value is background, and one class everywhere the best."""
    cells = np.array([[60, 40], [900, 0], [0, 0]])
    assert table_of(cells).tolist() == [1, 0, 0]  # IoU 0.4 and 0.94, against 0.96 and 0
    assert table_of(np.array([[9, 1], [1, 9]])).tolist() == [0, 1]


def test_pixels_are_counted_by_grey_value_and_by_colour() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 1:] = ((255, 255, 255), (255, 0, 0), (255, 0, 0))
    cells = CellCounts(2)
    cells.add(Sample("a", image, np.array([[0, 1, 1, 255]], np.uint8)))
    assert cells.grey[0].tolist() == [1, 0]
    assert cells.grey[63].tolist() == [0, 1]
    assert cells.grey[19].tolist() == [0, 1]  # red is 0.299 of white
    assert cells.colour[7 * 64].tolist() == [0, 1]
    assert cells.colour.sum() == 3, "what is ignored does not count"


def test_large_pictures_are_thinned_out() -> None:
    cells = CellCounts(1)
    cells.add(Sample("a", np.zeros((1024, 1024, 3), np.uint8), np.zeros((1024, 1024), np.uint8)))
    assert cells.grey[0].tolist() == [128 * 128]
    cells.add(Sample("b", np.zeros((129, 128, 3), np.uint8), np.zeros((129, 128), np.uint8)))
    assert cells.grey[0].tolist() == [128 * 128 + 65 * 64], "never more than so many of a picture"


def test_baselines_learn_from_the_training_pictures(flat: Dataset, engine: TorchEngine) -> None:
    """Four flat pictures, each of one class: p0 and p1 train, p2 and p3 are measured."""
    items = [replace(item, split="train" if i < 2 else "val") for i, item in enumerate(flat.items)]
    data = replace(flat, items=tuple(items))
    measured = dl.evaluate(dl.Predictor(engine), data, quiet=True)
    assert measured.baselines.source == "learnt from 2 training pictures"
    constant, grey, colour = measured.baselines.entries
    assert (constant.name, constant.miou, constant.pixel_accuracy) == ("one class everywhere (green)", 0.25, 0.5)
    assert grey.miou == colour.miou == 0, "classes that training never showed"
    assert measured.verdict == ""
    assert measured.facts()["no_better_than"] is None


def test_without_training_pictures_the_tables_fit_what_is_measured(
    flat: Dataset, engine: TorchEngine, tmp_path: Path
) -> None:
    measured = dl.evaluate(dl.Predictor(engine), flat, quiet=True)
    assert "fitted to these very pictures" in measured.baselines.told()
    assert measured.baselines.entries[2].miou == 1.0
    assert measured.verdict == "The model is no better than the grey value alone: mIoU 1.0000 against 1.0000."
    assert measured.facts()["no_better_than"] == "the grey value alone"


def test_no_labelled_pixel_gives_no_baseline(flat: Dataset) -> None:
    found = baselines(flat, flat.items, np.zeros((4, 4), np.int64), CellCounts(4))
    assert (found.entries, found.best, found.told(), found.verdict(0.5)) == ((), None, "", "")
