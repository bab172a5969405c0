"""Energies and probabilities of a hard label map."""

import numpy as np
import pytest

from denselab.crf.unary import probs_of_labels
from denselab.errors import ConfigError


def test_hard_labels_and_a_confidence() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    probs = probs_of_labels(labels, 3, 0.7, 255)
    assert probs[:, 0, 0] == pytest.approx([0.7, 0.15, 0.15])
    assert probs[:, 1, 1] == pytest.approx([1 / 3] * 3)


def test_a_mask_of_0_and_255_is_two_classes() -> None:
    """It was refused: "labels reach from 0 to 255". Where 255 means unsure, it still does."""
    mask = np.array([[0, 255, 255]], np.uint8)
    assert np.array_equal(probs_of_labels(mask, 2, 0.7), probs_of_labels(mask // 255, 2, 0.7))
    assert probs_of_labels(mask, 2, 0.7, unsure=255)[:, 0, 1].tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ConfigError, match="labels reach from 0 to 255, but there are 3 classes"):
        probs_of_labels(mask, 3, 0.7)
