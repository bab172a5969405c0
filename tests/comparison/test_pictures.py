"""Which pictures a comparison shows: how much models disagree, and which are hard, middling and easy."""

import numpy as np
import pytest

from denselab.comparison.page import pictures_section
from denselab.comparison.pictures import Shown, disagreement, typical
from denselab.labels import LabelEntry, LabelSpace

IGNORE = 255


def labels(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_disagreement_is_the_share_of_labelled_pixels_that_any_model_sees_otherwise() -> None:
    truth = labels([0, 0, 1, IGNORE], [0, 0, 1, IGNORE])
    first, second, third = labels([0, 0, 1, 1], [0, 0, 1, 1]), labels([1, 0, 1, 0], [0, 0, 1, 0]), truth % 2
    assert disagreement([first, first], truth, IGNORE) == 0
    assert disagreement([first, second], truth, IGNORE) == pytest.approx(1 / 6), "ignored pixels do not count"
    both = labels([0, 0, 1, 1], [1, 0, 1, 1])
    assert disagreement([first, second, both], truth, IGNORE) == pytest.approx(2 / 6)
    assert disagreement([first, third], truth, IGNORE) == 0
    assert disagreement([first, second], np.full((2, 4), IGNORE, np.uint8), IGNORE) == 0


def test_a_hard_a_middling_and_an_easy_picture_by_the_mean_over_models() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.3, 0.7], [0.9, 0.1, 0.5, 0.3, 0.7]])
    assert typical(scores) == [3, 2, 4]
    turned = np.array([[0.0, 0.5], [1.0, 0.1]])
    assert typical(turned) == [1, 0]


def test_pictures_without_a_score_are_not_shown() -> None:
    nan = float("nan")
    assert typical(np.array([[nan, 0.2], [nan, nan]])) == [1]
    assert typical(np.full((2, 3), nan)) == []


@pytest.mark.parametrize(
    ("count", "heading"),
    [(1, "<h3>One picture"), (2, "<h3>A hard and an easy picture"), (3, "<h3>A hard, a middling and an easy picture")],
)
def test_the_heading_names_as_many_pictures_as_there_are(count: int, heading: str) -> None:
    """Of four pictures two were shown, below "A hard, a middling and an easy picture"."""
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)),))
    shown = [Shown(f"p{i}", "", ()) for i in range(count)]
    assert heading in pictures_section(space, shown, [])
    assert "<h3>" not in pictures_section(space, [], [])
