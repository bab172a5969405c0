"""Motion that is known is found, and labels over time are calmer where the picture does not change."""

import numpy as np
import pytest
from scipy import ndimage

from denselab.inference.optical_flow import optical_flow, resized, warped
from denselab.inference.smoothing import Smoother

RNG = np.random.default_rng(5)
PARTS = [ndimage.gaussian_filter(RNG.random((140, 160)), sigma) for sigma in (1.5, 4.0, 10.0)]  # of all sizes
TEXTURE = sum((part - part.mean()) / part.std() for part in PARTS)
TEXTURE = ((TEXTURE - TEXTURE.min()) / np.ptp(TEXTURE) * 255).astype(np.float32)


def view(y: float, x: float, size: tuple[int, int] = (96, 112)) -> np.ndarray:
    """A window of the texture whose corner is at (y, x)."""
    moved = ndimage.shift(TEXTURE, (-y, -x), order=3, mode="nearest")
    return moved[: size[0], : size[1]].astype(np.float32)


@pytest.mark.parametrize("motion", [(0.0, 0.0), (1.5, -0.75), (6.0, 4.0), (-9.0, 11.0)])
def test_a_moved_texture_gives_its_motion(motion: tuple[float, float]) -> None:
    flow = optical_flow(view(15, 15), view(15 + motion[0], 15 + motion[1]))
    inside = flow[:, 16:-16, 16:-16].reshape(2, -1)
    assert np.median(inside, axis=1) == pytest.approx(motion, abs=0.15)


def test_warping_by_hand() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    right = np.stack([np.zeros((3, 4)), np.full((3, 4), 0.5)]).astype(np.float32)
    assert warped(plane, right)[0].tolist() == [0.5, 1.5, 2.5, 3.0]
    down = np.stack([np.ones((3, 4)), np.zeros((3, 4))]).astype(np.float32)
    assert warped(np.stack([plane, plane * 2]), down)[1].tolist() == [
        [8, 10, 12, 14],
        [16, 18, 20, 22],
        [16, 18, 20, 22],
    ]


def test_a_flow_for_twice_the_size_is_twice_as_long() -> None:
    flow = np.full((2, 4, 6), 1.5, np.float32)
    assert np.allclose(resized(flow, (8, 12)), 3.0)
    assert np.allclose(resized(flow, (8, 6))[0], 3.0)
    assert np.allclose(resized(flow, (8, 6))[1], 1.5)


def flickering(frames: int, motion: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A bright square that moves, and noisy probabilities of it."""
    pictures, probs = [], []
    for number in range(frames):
        grey = view(10, 10 + motion * number)
        image = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
        noise = np.clip(grey / 255 + RNG.normal(0, 0.3, grey.shape), 0.01, 0.99).astype(np.float32)
        pictures.append(image)
        probs.append(np.stack([noise, 1 - noise]))
    return pictures, probs


@pytest.mark.parametrize(("smooth", "motion"), [("mean", 0.0), ("flow", 0.0), ("flow", 3.0)])
def test_flicker_falls(smooth: str, motion: float) -> None:
    smoother = Smoother(smooth)  # type: ignore[arg-type]
    for image, probs in zip(*flickering(6, motion), strict=True):
        mean = smoother.take(image, probs)
        assert np.allclose(mean.sum(axis=0), 1, atol=1e-5)
    key = "in_place" if smooth == "mean" else "along_motion"
    before, after = (f.facts(smooth == "flow")[key] for f in (smoother.before, smoother.after))
    assert before is not None
    assert after is not None
    assert after < 0.7 * before


def test_the_plain_mean_by_hand() -> None:
    smoother = Smoother("mean")
    image = np.zeros((2, 2, 3), np.uint8)
    ones = np.stack([np.ones((2, 2)), np.zeros((2, 2))]).astype(np.float32)
    assert (smoother.take(image, ones) == ones).all()
    assert np.allclose(smoother.take(image, 1 - ones)[0], 0.6)
    assert smoother.before.facts(False) == {"in_place": 1.0}
    assert smoother.after.facts(False) == {"in_place": 0.0}


@pytest.mark.parametrize("smooth", ["none", "mean", "flow"])
def test_a_frame_of_another_size_starts_anew(smooth: str) -> None:
    """Upright frames among lying ones ended `predict --video` by a fault: labels of two shapes were compared."""
    smoother = Smoother(smooth)  # type: ignore[arg-type]
    for height, width in ((20, 30), (30, 20), (30, 20)):
        probs = np.stack([np.ones((height, width)), np.zeros((height, width))]).astype(np.float32)
        assert np.array_equal(smoother.take(np.zeros((height, width, 3), np.uint8), probs), probs)
    assert smoother.before.frames == 1, "the third beside the second"


@pytest.mark.parametrize("smooth", ["mean", "flow"])
def test_a_cut_forgets_the_past(smooth: str) -> None:
    smoother = Smoother(smooth)  # type: ignore[arg-type]
    first = np.stack([np.ones((20, 20)), np.zeros((20, 20))]).astype(np.float32)
    smoother.take(np.zeros((20, 20, 3), np.uint8), first)
    assert np.array_equal(smoother.take(np.full((20, 20, 3), 200, np.uint8), 1 - first), 1 - first)
    assert smoother.before.frames == 0, "a cut is no flicker"
