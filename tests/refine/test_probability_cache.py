"""Probabilities that are kept come back, from memory or from the disk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from denselab.errors import ResourceError
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
def test_cached_probabilities_come_back(memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the disk too; a killed process left its files in the temporary folder: they have no name any more."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    probs = noisy_probs()
    with ProbabilityCache(memory) as cache:
        cache.add("a", two_colours(), np.zeros((24, 32), np.uint8), probs)
        assert isinstance(cache.pictures[0].stored, np.memmap) == (memory == 0)
        assert list(tmp_path.iterdir()) == []
        back = cache.pictures[0].probs()
        assert back.dtype == np.float32
        assert np.allclose(back, probs, atol=5e-4)
    assert cache.pictures == []


def test_a_folder_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with ProbabilityCache(0) as cache, pytest.raises(ResourceError, match="no room for probabilities in .*nowhere"):
        cache.add("a", two_colours(), np.zeros((24, 32), np.uint8), noisy_probs())
