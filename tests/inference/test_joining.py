"""Scores of several models joined, against results by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denselab.errors import ConfigError
from denselab.inference.joining import Scores, joined, softmax


def scores(*values: float, logits: bool = True) -> Scores:
    return Scores(np.array(values, np.float32)[:, None, None], logits)


def test_mean_product_and_release_by_hand() -> None:
    """Logits (ln 1, ln 3) are probabilities (1/4, 3/4); the other model says (1/2, 1/2) or (4/5, 1/5)."""
    first, second = scores(0.0, np.log(3)), scores(0.8, 0.2, logits=False)
    mean = joined([first, second], "mean")
    assert mean.probs().ravel() == pytest.approx([(0.25 + 0.8) / 2, (0.75 + 0.2) / 2])
    product = joined([first, second], "product")
    assert product.probs().ravel() == pytest.approx(np.array([0.2, 0.15]) / 0.35)
    raw = joined([scores(2.0, -3.0, 1.0), scores(0.5, -2.0, 4.0)], "release")
    assert raw.planes.ravel() == pytest.approx([1, 0, 4]), "clipped at 0 first: -3 times -2 is no 6"
    assert raw.probs().ravel() == pytest.approx(np.exp([1, 0, 4]) / np.exp([1, 0, 4]).sum())


def test_weights_of_mean_and_product() -> None:
    first, second = scores(0.25, 0.75, logits=False), scores(0.8, 0.2, logits=False)
    assert joined([first, second], "mean", (0.75, 0.25)).planes.ravel() == pytest.approx([0.3875, 0.6125])
    expected = np.array([0.25**2 * 0.8, 0.75**2 * 0.2])
    assert joined([first, second], "product", (2, 1)).probs().ravel() == pytest.approx(expected / expected.sum())


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=5), st.booleans())
def test_one_model_is_returned_as_it_is(values: list[float], logits: bool) -> None:
    one = scores(*values, logits=logits)
    for join in ("mean", "product", "release"):
        assert joined([one], join) is one
    other = scores(*[0.0] * len(values))
    assert joined([one, other], "mean", (1.0, 0.0)) is one, "a model without weight does not touch a bit of it"


def test_the_release_needs_raw_scores() -> None:
    with pytest.raises(ConfigError, match="multiplies raw scores, which model 2 does not give"):
        joined([scores(1.0, 2.0), scores(0.5, 0.5, logits=False)], "release")


def test_softmax_of_large_scores() -> None:
    assert softmax(np.array([1000.0, 1000.0], np.float32)[:, None, None]).ravel() == pytest.approx([0.5, 0.5])


def test_a_probability_of_zero_does_not_end_in_no_number() -> None:
    product = joined([scores(0.0, 1.0, logits=False), scores(1.0, 0.0, logits=False)], "product")
    assert product.probs().ravel() == pytest.approx([0.5, 0.5])
