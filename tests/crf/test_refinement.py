"""Probabilities of a picture refined, whole and in steps."""

import numpy as np
import pytest

from denselab.crf import Parameters, refine
from denselab.crf.refinement import refined, refined_steps
from denselab.errors import ResourceError

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")


def test_the_crf_repairs_what_the_picture_shows(two_colours: np.ndarray, noisy_probs: np.ndarray) -> None:
    image, probs = two_colours, noisy_probs
    truth = np.arange(32)[None, :] >= 16
    before = (probs.argmax(0) == truth).mean()
    after = (refined(image, probs, FEW).argmax(0) == truth).mean()
    assert before < 0.9
    assert after > 0.99
    assert np.array_equal(refined(image, probs, FEW), refine(image, probs, FEW))
    *_, last = refined_steps(image, probs, FEW)
    assert np.allclose(last, refined(image, probs, FEW), atol=1e-6)


def test_a_picture_beyond_the_memory_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, two_colours: np.ndarray, noisy_probs: np.ndarray
) -> None:
    """`refine` did not look, and the machine ended the process; `predict --crf` did."""
    monkeypatch.setattr("denselab.crf.memory.total_memory", lambda: 100_000)
    told = r"the CRF of 24x32 pixels \(height x width\) and 2 classes needs 0 MiB of memory"
    with pytest.raises(ResourceError, match=told):
        refine(two_colours, noisy_probs, FEW)
