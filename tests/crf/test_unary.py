"""Energies and probabilities of a hard label map."""

import numpy as np
import pytest

from denselab.crf.unary import probs_of_labels


def test_hard_labels_and_a_confidence() -> None:
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    probs = probs_of_labels(labels, 3, 0.7, 255)
    assert probs[:, 0, 0] == pytest.approx([0.7, 0.15, 0.15])
    assert probs[:, 1, 1] == pytest.approx([1 / 3] * 3)
