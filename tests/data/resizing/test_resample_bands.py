"""Pictures of any bands against the kernels for RGB, numpy, and values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.data.feed.elastic import warp
from denselab.data.feed.transforms import Augmentation, augment, normalise
from denselab.data.pixels.spectral import SpectralBands
from denselab.data.resizing.resample import resample_image
from denselab.data.resizing.resize import resize_image
from denselab.types import Sample

SIDES = st.integers(1, 17)
BANDS = SpectralBands(
    names=("nir", "red", "green", "blue"),
    real=True,
    low=(-10.0, 0.0, 0.0, 0.0),
    high=(5000.0, 4000.0, 4000.0, 4000.0),
    black=(0.0,) * 4,
    white=(4000.0,) * 4,
    mean=(2000.0, 500.0, 600.0, 700.0),
    std=(100.0, 10.0, 20.0, 30.0),
    display=(1, 2, 3),
    rgb=(1, 2, 3),
    stored=4,
)


def noise(height, width, bands, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands)).astype(dtype)


@settings(max_examples=40)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(-5, 12), st.integers(-5, 12), SIDES, SIDES, st.booleans())
def test_a_band_comes_out_as_it_would_in_rgb(h, w, th, tw, y0, x0, height, width, flip):
    image = noise(h, w, 3)
    fill, window = np.array([1, 2, 3], np.uint8), (y0, x0, height, width)
    expected = np.empty((height, width, 3), np.uint8)
    resample_image(image, (th, tw), window, expected, flip=flip, fill=fill)
    four = np.concatenate([image, image[..., :1]], axis=2)
    cut = np.empty((height, width, 4), np.uint8)
    resample_image(four, (th, tw), window, cut, flip=flip, fill=fill[[0, 1, 2, 0]])
    # Sums may be added in another order: a value on .5 may round the other way.
    assert np.abs(cut.astype(int) - expected[..., [0, 1, 2, 0]]).max() <= 1
    real = np.empty((height, width, 3), np.float32)
    resample_image(image.astype(np.float32), (th, tw), window, real, flip=flip, fill=fill.astype(np.float32))
    assert np.abs(real - expected).max() <= 0.51


def test_float_pictures_keep_their_units_and_one_band_is_enough():
    image = np.array([[[1000.0], [3000.0]]], np.float32)
    assert resize_image(image, (1, 1)).tolist() == [[[2000.0]]]
    assert resize_image(image, (1, 2)) is image


def test_a_matrix_mixes_the_bands_and_the_limits_hold():
    image = np.full((2, 2, 4), 100.0, np.float32)
    matrix = np.eye(4, 5, dtype=np.float32)
    matrix[1, 2], matrix[3, 4] = 2.0, -5000.0
    out = np.empty_like(image)
    limits = (np.array(BANDS.low, np.float32), np.array(BANDS.high, np.float32))
    resample_image(image, (2, 2), (0, 0, 2, 2), out, matrix=matrix, limits=limits)
    assert out[0, 0].tolist() == [100.0, 300.0, 100.0, 0.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_deformation_treats_bands_like_rgb(dtype):
    image, labels = noise(9, 11, 3), noise(9, 11, 1, seed=1)[..., 0].copy()
    positions = np.mgrid[0:9, 0:11].astype(np.float32) + np.random.default_rng(2).normal(0, 2, (2, 9, 11)).astype("f4")
    expected, maps = np.empty_like(image), np.empty_like(labels)
    options = {"flip": True, "ignore_index": 255}
    identity = np.eye(3, 4, dtype=np.float32)
    fill = np.array([7, 8, 9], np.uint8)
    warp(image, labels, (9, 11), (0, 0), positions, expected, maps, matrix=identity, fill=fill, **options)
    five = np.concatenate([image, image[..., :2]], axis=2).astype(dtype)
    out, to = np.empty_like(five), np.empty_like(labels)
    matrix = np.eye(5, 6, dtype=np.float32)
    order = [0, 1, 2, 0, 1]
    warp(five, labels, (9, 11), (0, 0), positions, out, to, matrix=matrix, fill=fill[order].astype(dtype), **options)
    assert np.array_equal(to, maps)
    assert np.abs(out - expected[..., order].astype(float)).max() <= 1


def sample(dtype=np.float32):
    return Sample("a", (noise(20, 24, 4, dtype) + np.float32(1000)).astype(dtype), np.zeros((20, 24), np.uint8))


def test_only_red_green_and_blue_change_colour():
    still = Augmentation((20, 24), (1.0, 1.0), flip=False, max_class_share=1.0, mean=BANDS.mean, bands=BANDS)
    plain = augment(sample(), replace(still, photometric=0.0), 3).image
    assert np.array_equal(plain, sample().image)
    jittered = augment(sample(), still, 3).image
    assert np.array_equal(jittered[..., 0], plain[..., 0])  # near infrared
    assert all((jittered[..., band] != plain[..., band]).mean() > 0.9 for band in (1, 2, 3))
    without = replace(still, bands=replace(BANDS, rgb=None))
    assert np.array_equal(augment(sample(), without, 3).image, plain)


def test_the_jitter_of_rgb_bands_is_that_of_rgb_pictures():
    """In another order, and beside others."""
    of_rgb = Augmentation((20, 24), (0.8, 1.2))
    swapped = replace(BANDS, names=("nir", "blue", "green", "red"), rgb=(3, 2, 1), real=False, mean=(0.5,) * 4)
    of_bands = replace(of_rgb, bands=swapped, mean=(0.5, *of_rgb.mean[::-1]))
    rgb, labels = noise(20, 24, 3), np.zeros((20, 24), np.uint8)
    picture = np.concatenate([noise(20, 24, 1, seed=4), rgb[..., ::-1]], axis=2)
    expected = augment(Sample("a", rgb, labels), of_rgb, 5).image
    found = augment(Sample("a", picture, labels), of_bands, 5).image
    assert np.abs(found[..., [3, 2, 1]].astype(int) - expected).max() <= 1
    assert (expected != augment(Sample("a", rgb, labels), replace(of_rgb, photometric=0.0), 5).image).mean() > 0.5


def test_the_padding_is_the_mean_which_normalises_to_0():
    import torch

    wide = Augmentation((40, 24), (0.5, 0.5), mean=BANDS.mean, bands=BANDS)
    image = augment(sample(), wide, 1).image
    normalised = normalise(torch.from_numpy(image[None]).permute(0, 3, 1, 2), BANDS.mean, BANDS.std)
    assert normalised.shape == (1, 4, 40, 24)
    assert (normalised.abs().amax(dim=1) < 1e-4).sum() >= 40 * 24 / 2
    picture = torch.full((1, 4, 1, 1), 2100.0)
    assert normalise(picture, BANDS.mean, BANDS.std).flatten().tolist() == pytest.approx([1.0, 160.0, 75.0, 140 / 3])
    assert picture.flatten().tolist() == [2100.0] * 4  # a validation batch is kept in memory
