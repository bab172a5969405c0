"""The colour spaces against scikit-image's, and at the colours where formulas divide by zero."""

import numpy as np
import pytest

from denselab.regions.colours import COLOURS, hsv, hue, intensity, lab, normalised_rg

CORNERS = np.array(np.meshgrid([0, 1, 128, 255], [0, 1, 128, 255], [0, 1, 128, 255])).reshape(3, 8, 8)
PICTURE = np.moveaxis(CORNERS, 0, 2).astype(np.uint8)


def test_hsv_and_lab_are_those_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    np.testing.assert_allclose(hsv(PICTURE), color.rgb2hsv(PICTURE) * 255, atol=1e-3)
    np.testing.assert_allclose(hue(PICTURE), color.rgb2hsv(PICTURE)[..., :1] * 255, atol=1e-3)
    np.testing.assert_allclose(lab(PICTURE), color.rgb2lab(PICTURE) * [2.55, 1, 1] + [0, 128, 128], atol=0.05)


def test_shares_and_intensity_by_hand() -> None:
    picture = np.array([[[0, 0, 0], [30, 60, 10]]], np.uint8)
    np.testing.assert_allclose(normalised_rg(picture)[0], [[85, 85, 0], [76.5, 153, 100 / 3]], rtol=1e-5)
    np.testing.assert_allclose(intensity(picture)[0, :, 0], [0, 100 / 3], rtol=1e-5)


@pytest.mark.parametrize("name", COLOURS)
def test_every_channel_lies_in_a_byte(name: str) -> None:
    channels = COLOURS[name](PICTURE)
    assert channels.dtype == np.float32
    assert channels.shape[:2] == PICTURE.shape[:2]
    assert channels.min() >= 0
    assert channels.max() <= 255
