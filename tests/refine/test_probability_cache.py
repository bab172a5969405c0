"""Probabilities that are kept come back, from memory or from the disk."""

from pathlib import Path

import numpy as np
import pytest

from denselab.refine.probability_cache import ProbabilityCache


def two_colours(height: int = 24, width: int = 32) -> np.ndarray:
    """Dark on the left, light on the right."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    return image


def noisy_probs(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """(2, H, W) float32: right on average, wrong at about a fifth of the pixels."""
    truth = np.arange(width)[None, :] >= width // 2
    logit = np.where(truth, 1.0, -1.0) + np.random.default_rng(seed).normal(0, 1.2, (height, width))
    light = 1 / (1 + np.exp(-logit))
    return np.stack([1 - light, light]).astype(np.float32)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_cached_probabilities_come_back(memory: int) -> None:
    probs = noisy_probs()
    with ProbabilityCache(memory) as cache:
        cache.add("a", two_colours(), np.zeros((24, 32), np.uint8), probs)
        stored = cache.pictures[0].stored
        assert isinstance(stored, Path) == (memory == 0)
        assert np.allclose(cache.pictures[0].probs(), probs, atol=5e-4)
    assert not (isinstance(stored, Path) and stored.exists())
