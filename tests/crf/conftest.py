"""A small scene that the CRF tests share."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Scene = tuple[NDArray[np.uint8], NDArray[np.float32]]


def draw(height: int, width: int, labels: int, seed: int = 0) -> Scene:
    """A picture (H, W, 3) of a few flat regions with noise, and energies (L, H, W) that know the regions badly."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    regions = ((y + 3 * np.sin(x / 5)) // 9 + x // 11).astype(int)
    colours = rng.integers(20, 235, (regions.max() + 1, 3))
    image = np.clip(colours[regions] + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)
    logits = rng.normal(0, 1, (labels, height, width))
    logits[regions % labels, y, x] += 1.5
    raised = np.exp(logits - logits.max(0))
    return image, -np.log(np.maximum(raised / raised.sum(0), 1e-5)).astype(np.float32)


@pytest.fixture(scope="session")
def scene() -> Callable[..., Scene]:
    """draw(height, width, labels, seed)."""
    return draw
