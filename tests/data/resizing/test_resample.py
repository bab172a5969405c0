"""Windows of scaled pictures against torchvision, exact fractions, and values worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as v2

from denselab.data.resizing.resample import largest_share, resample_image, resample_labels, resize_labels
from denselab.data.resizing.resize import resize_image

SIDES = st.integers(1, 23)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def window_of(full, window, fill):
    """Resize-then-crop in plain numpy: the window of an already scaled array, fill outside."""
    y0, x0, height, width = window
    out = np.empty((height, width, *full.shape[2:]), full.dtype)
    out[:] = fill
    for i in range(height):
        for j in range(width):
            if 0 <= y0 + i < full.shape[0] and 0 <= x0 + j < full.shape[1]:
                out[i, j] = full[y0 + i, x0 + j]
    return out


@settings(max_examples=60)
@given(SIDES, SIDES, SIDES, SIDES)
def test_resizing_a_picture_agrees_with_torchvision(h, w, th, tw):
    """torchvision rounds once more, between its two passes: the values differ by at most 1."""
    image = noise(h, w)
    reference = v2.resize(torch.from_numpy(image).permute(2, 0, 1), [th, tw], antialias=True).permute(1, 2, 0).numpy()
    assert np.abs(resize_image(image, (th, tw)).astype(int) - reference).max() <= 1


@settings(max_examples=60)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(-9, 20), st.integers(-9, 20), SIDES, SIDES, st.booleans())
def test_a_window_is_resize_then_crop_borders_included(h, w, th, tw, y0, x0, height, width, flip):
    image, labels = noise(h, w), noise(h, w, 1)[..., 0].copy()
    fill = np.array([1, 2, 3], np.uint8)
    cut, cut_labels = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
    resample_image(image, (th, tw), (y0, x0, height, width), cut, flip=flip, fill=fill)
    resample_labels(labels, (th, tw), (y0, x0, height, width), cut_labels, flip=flip, fill=255)
    mirror = slice(None, None, -1 if flip else 1)
    expected = window_of(resize_image(image, (th, tw)), (y0, x0, height, width), fill)
    # Sums over a longer row may be added in another order: a value on .5 may round the other way.
    assert np.abs(cut[:, mirror].astype(int) - expected).max() <= 1
    assert np.mean(cut[:, mirror] != expected) < 0.01 or cut.size < 100
    assert (cut_labels[:, mirror] == window_of(resize_labels(labels, (th, tw)), (y0, x0, height, width), 255)).all()


@pytest.mark.parametrize("band", [2**23, 12 * 500 * 3])
@pytest.mark.parametrize(
    ("shape", "size"), [((150, 130), (70, 40)), ((300, 40), (3, 90)), ((20, 500), (130, 7)), ((90, 80), (180, 321))]
)
def test_whole_pictures_in_parts_are_what_one_window_shows(shape, size, band, monkeypatch):
    """Products of matrices, of a few rows and columns each, against the loop that goes pixel by pixel."""
    monkeypatch.setattr("denselab.data.resizing.resize.BAND_BYTES", band)
    image, expected = noise(*shape), np.empty((*size, 3), np.uint8)
    resample_image(image, size, (0, 0, *size), expected)
    found = resize_image(image, size)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.mean(found != expected) < 0.01  # on .5, where sums in another order may round the other way


@settings(max_examples=100)
@given(st.integers(1, 300), st.integers(1, 300))
def test_labels_are_taken_at_pixel_centres(length, target):
    """Frame pixel X shows the source pixel that contains (X + 1/2) * length / target, in exact fractions."""
    labels = np.arange(length, dtype=np.uint16)[None]
    expected = [int((x + Fraction(1, 2)) * length / target) for x in range(target)]
    assert resize_labels(labels, (1, target))[0].tolist() == expected


def test_nearest_by_hand_and_the_shift_of_the_plain_nearest():
    labels = np.arange(9, dtype=np.uint8)[None]
    assert resize_labels(labels, (1, 3)).tolist() == [[1, 4, 7]]  # the centres of three thirds
    plain = torch.nn.functional.interpolate(torch.from_numpy(labels)[None, None], size=(1, 3), mode="nearest")
    assert plain[0, 0].tolist() == [[0, 3, 6]]  # each one a pixel further left: why it is not used
    assert resize_labels(labels[:, :2], (1, 4)).tolist() == [[0, 0, 1, 1]]


def test_reduced_labels_stay_under_their_picture():
    """An edge in the picture and in the labels, both reduced by three, is at the same place."""
    labels = np.zeros((30, 30), np.uint8)
    labels[:, 12:] = 1
    image = np.repeat(labels[..., None] * 255, 3, axis=2).astype(np.uint8)
    small, small_labels = resize_image(image, (10, 10)), resize_labels(labels, (10, 10))
    assert ((small[..., 0] > 127) == small_labels).all()
    assert small_labels[0].tolist() == [0] * 4 + [1] * 6


def test_halving_averages_and_doubling_interpolates():
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, :, 0] = [0, 80, 160, 240]
    # Triangle of half-width 2 about 1.0: weights 3/4 3/4 1/4 inside the picture, divided by their sum; mirrored about 3.0.
    assert resize_image(image, (1, 2))[0, :, 0].tolist() == [
        round((3 * 80 + 160) / 7),
        round((80 + 3 * 160 + 3 * 240) / 7),
    ]
    assert resize_image(image, (1, 8))[0, :, 0].tolist() == [0, 20, 60, 100, 140, 180, 220, 240]


def test_colour_matrix_applies_to_the_picture_and_not_to_the_padding():
    image = np.full((2, 2, 3), (10, 20, 200), np.uint8)
    swap = np.array([[0, 1, 0, 5], [1, 0, 0, -50], [0, 0, 2, 0]], np.float32)
    out = np.empty((2, 3, 3), np.uint8)
    resample_image(image, (2, 2), (0, -1, 2, 3), out, matrix=swap, fill=np.array([7, 8, 9], np.uint8))
    assert out[0].tolist() == [[7, 8, 9], [25, 0, 255], [25, 0, 255]]


def test_inputs_of_any_memory_layout():
    image = noise(8, 9)
    frozen = image.copy()
    frozen.flags.writeable = False
    mirrored = image[:, ::-1]
    assert (resize_image(frozen, (5, 7)) == resize_image(image, (5, 7))).all()
    assert (resize_image(mirrored, (5, 7)) == resize_image(mirrored.copy(), (5, 7))).all()


def test_largest_share_by_hand():
    labels = np.array([[0, 0, 1, 255], [0, 2, 2, 255]], np.uint8)
    assert largest_share(labels, (2, 4), (0, 0, 2, 4), 255, 1) == 0.5  # three of six labelled pixels
    assert largest_share(labels, (2, 4), (0, 0, 1, 2), 255, 1) == 1.0
    assert largest_share(labels, (2, 4), (0, 3, 2, 1), 255, 1) == 1.0  # nothing labelled
    assert largest_share(labels.astype(np.uint16), (4, 8), (-3, -3, 20, 20), 255, 1) == 0.5
