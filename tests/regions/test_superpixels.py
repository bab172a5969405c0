"""SLIC on made pictures, its bounds, and which pieces touch."""

import sys

import numpy as np
import pytest
from scipy import ndimage

from denselab.errors import ConfigError, MissingExtra, ShapeError
from denselab.regions.superpixels import superpixels, touching


def halves() -> np.ndarray:
    """Red to the left of column 17, blue from there on."""
    image = np.zeros((24, 40, 3), np.uint8)
    image[:, :17] = (200, 30, 30)
    image[:, 17:] = (30, 30, 200)
    return image


def test_no_superpixel_crosses_a_strong_edge() -> None:
    labels = superpixels(halves(), count=24)
    assert labels.shape == (24, 40)
    assert labels.dtype == np.int32
    assert not set(labels[:, :17].ravel()) & set(labels[:, 17:].ravel())


def test_numbers_have_no_gap_and_each_is_one_piece() -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.uniform(0, 255, (30, 50, 3)), (3, 3, 0))
    labels = superpixels(((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8), count=40)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert 20 <= labels.max() + 1 <= 60
    for number in range(labels.max() + 1):
        assert ndimage.label(labels == number)[1] == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (3, 2, 3)])
def test_the_smallest_pictures_have_superpixels(shape: tuple[int, int, int]) -> None:
    labels = superpixels(np.full(shape, 9, np.uint8), count=500)
    assert labels.shape == shape[:2]
    assert labels.min() == 0


def test_more_compactness_makes_squarer_pieces() -> None:
    """With colour left out nearly wholly, pieces of a plain picture and of one with an edge are alike."""
    plain = superpixels(np.full((24, 40, 3), 90, np.uint8), count=24)
    assert np.array_equal(superpixels(halves(), count=24, compactness=1e6), plain)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"`image` of shape .* expected \(height, width, 3\) uint8"):
        superpixels(image)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("count", 0), ("compactness", 0.0), ("compactness", float("nan")), ("sigma", -1.0), ("sigma", float("inf"))],
)
def test_numbers_out_of_range_are_refused(argument: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"`{argument}` (is )?{value:g}"):
        superpixels(halves(), **{argument: value})


def test_without_scikit_image_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtra, match=r"pip install 'denselab\[regions\]'"):
        superpixels(halves())


def test_touching_pieces_by_hand() -> None:
    """Corners do not touch: 0 and 3 share only one."""
    labels = np.array([[0, 0, 1], [2, 3, 1], [2, 3, 3]], np.int32)
    assert touching(labels).tolist() == [[0, 1], [0, 2], [0, 3], [1, 3], [2, 3]]
    diagonal = np.array([[0, 1], [2, 3]], np.int32)
    assert touching(diagonal).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]


def test_one_piece_touches_nothing() -> None:
    assert touching(np.zeros((3, 4), np.int32)).shape == (0, 2)
    assert touching(np.zeros((1, 1), np.int32)).shape == (0, 2)
