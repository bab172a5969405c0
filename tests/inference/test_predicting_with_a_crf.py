"""The dense CRF behind a network in the predictor."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from denselab.console import Progress
from denselab.crf import Parameters, refine
from denselab.data.dataset import Dataset, Item
from denselab.data.item import FileLabels
from denselab.engine.segmenter import Segmenter
from denselab.inference import Options, Predictor
from denselab.inference.collection import KeptLabels, predict_items

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")


def two_colours(height: int = 24, width: int = 32) -> np.ndarray:
    """Dark on the left, light on the right."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    return image


def test_the_predictor_refines(segmenter: Segmenter) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    plain = Predictor(segmenter)
    tuned = Predictor(replace(segmenter, crf=FEW))
    wanted = refine(image, plain(image).probs, FEW)
    assert np.array_equal(plain(image, crf=FEW).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).labels, wanted.argmax(0))
    assert np.array_equal(tuned.labels(image, Options(crf=FEW)), wanted.argmax(0))
    assert np.array_equal(tuned(image).probs, plain(image).probs), "without crf=True nothing changes"
    for more in ({"tta": True}, {"window": (16, 16)}):
        expected = refine(image, plain(image, **more).probs, FEW)
        assert np.array_equal(plain(image, crf=FEW, **more).probs, expected)
    fast = refine(image, plain(image).probs, FEW, fast=True)
    assert np.array_equal(plain(image, crf=FEW, crf_fast=True).probs, fast)
    assert not np.array_equal(fast, wanted)


def test_items_with_and_without_the_crf_come_from_one_run(segmenter: Segmenter, tmp_path: Path) -> None:
    PILImage.fromarray(two_colours(8, 12)).save(tmp_path / "p.png")
    PILImage.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "l.png")
    item = Item("p", tmp_path / "p.png", FileLabels(tmp_path / "l.png"), "val")
    dataset = Dataset(tmp_path, "test", "index", segmenter.label_space, (item,))
    kept, plain, predictor = KeptLabels(), KeptLabels(), Predictor(segmenter)
    bar = Progress("test", 1, "pictures")
    [(_, _, labels)] = predict_items(predictor, dataset, [item], Options(crf=FEW), kept, bar, plain)
    assert len(segmenter.model.runs) == 1
    assert np.array_equal(labels, predictor(tmp_path / "p.png", crf=FEW).labels)
    assert np.array_equal(plain["p"], predictor(tmp_path / "p.png").labels)
