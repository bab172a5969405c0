"""Probabilities that are kept come back, from memory or from the disk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from denselab.errors import ResourceError
from denselab.refine.probability_cache import ProbabilityCache


@pytest.mark.parametrize("memory", [0, 10**9])
def test_cached_probabilities_come_back(
    memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_colours: np.ndarray, noisy_probs: np.ndarray
) -> None:
    """From the disk too; a killed process left its files in the temporary folder: they have no name any more."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    probs = noisy_probs
    with ProbabilityCache(memory) as cache:
        cache.add("a", two_colours, np.zeros((24, 32), np.uint8), probs)
        assert isinstance(cache.pictures[0].stored, np.memmap) == (memory == 0)
        assert list(tmp_path.iterdir()) == []
        back = cache.pictures[0].probs()
        assert back.dtype == np.float32
        assert np.allclose(back, probs, atol=5e-4)
    assert cache.pictures == []


def test_a_folder_without_room_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_colours: np.ndarray, noisy_probs: np.ndarray
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with ProbabilityCache(0) as cache, pytest.raises(ResourceError, match="no room for probabilities in .*nowhere"):
        cache.add("a", two_colours, np.zeros((24, 32), np.uint8), noisy_probs)
