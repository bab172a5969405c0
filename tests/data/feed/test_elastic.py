"""Deformations against torch's bicubic interpolation, numpy's quarter turns, and plain shifts."""

import numpy as np
import pytest
import torch

from denselab.data.feed.elastic import bicubic_weights, elastic_field, rotated_positions, warp
from denselab.data.resizing.resample import IDENTITY, resample_image, resample_labels

FILL = np.array([9, 9, 9], np.uint8)


def warped(image, labels, size, corner, positions, flip=False):
    out, out_labels = np.empty((*positions.shape[1:], 3), np.uint8), np.empty(positions.shape[1:], labels.dtype)
    warp(
        *(image, labels, size, corner, positions.astype(np.float32), out, out_labels),
        flip=flip,
        matrix=IDENTITY,
        fill=FILL,
        ignore_index=255,
    )
    return out, out_labels


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), rng.integers(0, 5, (20, 30), dtype=np.uint8)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64])
def test_bicubic_weights_are_those_of_torch(length):
    nodes = torch.eye(3)[None, :, None]  # (1, 3, 1, 3): one channel per node
    reference = torch.nn.functional.interpolate(nodes, size=(1, length), mode="bicubic", align_corners=True)
    assert np.allclose(bicubic_weights(length, 3), reference[0, :, 0].numpy().T, atol=1e-5)


def test_the_field_is_smooth_and_has_the_asked_deviation_at_its_nodes():
    fields = [elastic_field(np.random.default_rng(seed), (41, 61), 10.0) for seed in range(300)]
    nodes = np.stack(fields)[:, :, ::20, ::30]
    assert nodes.shape == (300, 2, 3, 3)
    assert nodes.std() == pytest.approx(10.0, rel=0.05)  # 5400 draws: standard error 1 %
    assert nodes.mean() == pytest.approx(0.0, abs=0.6)
    assert max(np.abs(np.diff(field, axis=axis)).max() for field in fields for axis in (1, 2)) < 5.0


def test_no_displacement_changes_nothing(scene):
    image, labels = scene
    still = rotated_positions((12, 14), 0.0)
    for size, corner in (((20, 30), (3, 4)), ((33, 47), (-5, 30)), ((9, 11), (-1, -2))):
        out, out_labels = warped(image, labels, size, corner, still, flip=True)
        expected, expected_labels = np.empty_like(out), np.empty_like(out_labels)
        resample_image(image, size, (*corner, 12, 14), expected, flip=True, fill=FILL)
        resample_labels(labels, size, (*corner, 12, 14), expected_labels, flip=True)
        assert np.abs(out.astype(int) - expected).max() <= 1
        assert (out_labels == expected_labels).all()


def test_a_constant_displacement_is_a_shift(scene):
    image, labels = scene
    out, out_labels = warped(
        image, labels, (20, 30), (5, 5), rotated_positions((8, 8), 0.0) + np.array([[[2]], [[-3]]])
    )
    assert (out == image[7:15, 2:10]).all()
    assert (out_labels == labels[7:15, 2:10]).all()


def test_a_quarter_turn_is_exact_and_counter_clockwise(scene):
    image, labels = scene
    square, square_labels = image[:20, :20], labels[:20, :20]
    out, out_labels = warped(square, square_labels, (20, 20), (0, 0), rotated_positions((20, 20), 90.0))
    assert (out_labels == np.rot90(square_labels)).all()
    assert np.abs(out.astype(int) - np.rot90(square)).max() <= 1


def test_a_window_wholly_outside_is_fill_and_ignore(scene):
    image, labels = scene
    for corner in ((40, 0), (-50, -50), (0, 99)):
        out, out_labels = warped(image, labels, (20, 30), corner, rotated_positions((4, 4), 20.0))
        assert (out == FILL).all()
        assert (out_labels == 255).all()
