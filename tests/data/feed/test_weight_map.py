"""U-Net's weight map against a brute-force reading of its formula."""

import numpy as np
import pytest

from denselab.data.feed.weight_map import weight_map
from denselab.errors import ShapeError


def brute_force(cells, w0, sigma):
    """Distance of every pixel to every pixel of every cell."""
    out = np.zeros(cells.shape)
    numbers = [n for n in np.unique(cells) if n > 0]
    if len(numbers) < 2:
        return out
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            distances = sorted(
                min(np.hypot(y - a, x - b) for a, b in zip(*np.nonzero(cells == n), strict=True)) for n in numbers
            )
            out[y, x] = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return out


@pytest.fixture
def cells():
    """Four cells, one of them in two pieces, ids neither dense nor in order."""
    cells = np.zeros((14, 18), np.int32)
    cells[1:4, 1:5] = 7
    cells[1:4, 6:9] = 2
    cells[9:12, 3:8] = 900
    cells[6:8, 14:17] = 3
    cells[12:, 16:] = 3
    return cells


@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (4.0, 1.2)])
def test_border_term_equals_brute_force(cells, w0, sigma):
    weights = weight_map((cells > 0).astype(np.uint8), cells, w0=w0, sigma=sigma)
    assert weights.dtype == np.float32
    assert np.allclose(weights, 1 + brute_force(cells, w0, sigma), atol=2e-6)


def test_far_cells_use_the_short_cut_and_agree_with_brute_force():
    cells = np.zeros((3, 40), np.int32)
    cells[1, 0], cells[1, 20], cells[:, 38:] = 1, 2, 3
    weights = weight_map((cells > 0).astype(np.uint8), cells, sigma=1.5)  # reach 9 pixels: parts see one cell or none
    assert np.allclose(weights, 1 + brute_force(cells, 10.0, 1.5), atol=2e-6)


def test_by_hand_between_two_cells():
    labels = np.array([[1, 0, 0, 1]], np.uint8)
    weights = weight_map(labels, w0=10.0, sigma=5.0)
    assert weights[0] == pytest.approx(1 + 10 * np.exp(-(np.array([3, 3, 3, 3.0]) ** 2) / 50))


def test_one_cell_or_none_leaves_the_class_weight():
    labels = np.array([[0, 1, 1, 255]], np.uint8)
    assert weight_map(labels, class_weights=[0.5, 2.0]).tolist() == [[0.5, 2.0, 2.0, 0.0]]
    assert weight_map(np.zeros((2, 2), np.uint8)).tolist() == [[1, 1], [1, 1]]


def test_wide_label_maps_and_their_ignore_index():
    labels = np.array([[300, 65535]], np.uint16)
    table = np.zeros(301)
    table[300] = 3.0
    assert weight_map(labels, class_weights=table, ignore_index=65535).tolist() == [[3.0, 0.0]]


def test_instances_of_another_size_are_refused():
    with pytest.raises(ShapeError, match=r"instances are \(2, 3\), labels \(2, 2\)"):
        weight_map(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32))
