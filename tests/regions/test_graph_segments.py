"""Graph-based segmentation against scikit-image's, and by hand."""

import numpy as np
import pytest
from scipy import ndimage

from denselab.errors import ConfigError, ShapeError
from denselab.regions.graph_segments import consecutive, graph_segments


def smooth_picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8, of soft spots."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).uniform(0, 255, (*size, 3)), (3, 3, 0))
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(consecutive(first.astype(np.int32)), consecutive(second.astype(np.int32)))


@pytest.mark.parametrize(("k", "least"), [(50, 50), (100, 20), (300, 1)])
def test_the_same_number_of_pieces_as_scikit_image(k: int, least: int) -> None:
    """Its edges of equal strength come in another order, so that single pixels may differ."""
    segmentation = pytest.importorskip("skimage.segmentation")
    picture = smooth_picture((40, 60))
    ours = graph_segments(picture, k, least)
    theirs = segmentation.felzenszwalb(picture, scale=k, sigma=0.8, min_size=least)
    assert abs(int(ours.max()) - int(theirs.max())) <= max(1, theirs.max() // 20)
    assert np.bincount(ours.ravel()).min() >= least


def test_flat_areas_with_a_strong_edge_by_hand() -> None:
    """The step of 200 exceeds k / size = 3; without smoothing the border is exact."""
    channels = np.zeros((6, 8, 1))
    channels[:, 5:] = 200
    expected = np.zeros((6, 8), int)
    expected[:, 5:] = 1
    assert np.array_equal(graph_segments(channels, 50, 1, sigma=0), expected)
    assert graph_segments(channels, 50, 19, sigma=0).max() == 0, "the 18 pixels of the right part are too few"
    assert graph_segments(channels, 200 * 30, 1, sigma=0).max() == 0, "k / size is the step, or more, on both sides"


def test_single_pixels() -> None:
    assert graph_segments(np.full((1, 1, 3), 7), 10, 5).tolist() == [[0]]
    assert graph_segments(np.array([[[0], [255]]]), 10, 1, sigma=0).tolist() == [[0, 1]]


def test_names_become_numbers_in_their_order() -> None:
    assert consecutive(np.array([[7, 7, 2], [9, 2, 7]], np.int32)).tolist() == [[0, 0, 1], [2, 1, 0]]


@pytest.mark.parametrize(("k", "least", "sigma"), [(0, 1, 0.8), (10, 0, 0.8), (10, 1, -1)])
def test_numbers_out_of_range_are_refused(k: float, least: int, sigma: float) -> None:
    with pytest.raises(ConfigError, match="`k` is|`least` is|`sigma`"):
        graph_segments(np.zeros((4, 4, 1)), k, least, sigma)


def test_another_array_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"`channels` of shape \(4, 4\)"):
        graph_segments(np.zeros((4, 4)), 10, 1)
