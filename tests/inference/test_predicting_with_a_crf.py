"""The dense CRF behind a network in the predictor."""

from dataclasses import replace

import numpy as np

from denselab.crf import Parameters, refine
from denselab.engine.torch_engine import TorchEngine
from denselab.inference import Predictor

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")


def test_the_predictor_refines(engine: TorchEngine) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    plain = Predictor(engine)
    tuned = Predictor(replace(engine, spec=replace(engine.spec, crf=FEW)))
    wanted = refine(image, plain(image).probs, FEW)
    assert np.array_equal(plain(image, crf=FEW).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).probs, wanted)
    assert np.array_equal(tuned(image, crf=True).labels, wanted.argmax(0))
    assert np.array_equal(tuned.labels(image, tuned.plan(crf=FEW)), wanted.argmax(0))
    assert np.array_equal(tuned(image).probs, plain(image).probs), "without crf=True nothing changes"
    for more in ({"tta": True}, {"window": (16, 16)}):
        expected = refine(image, plain(image, **more).probs, FEW)
        assert np.array_equal(plain(image, crf=FEW, **more).probs, expected)
    fast = refine(image, plain(image).probs, FEW, fast=True)
    assert np.array_equal(plain(image, crf=FEW, crf_fast=True).probs, fast)
    assert not np.array_equal(fast, wanted)
