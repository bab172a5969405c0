"""Accuracy against time: the front, round ticks, and names that can be read."""

import matplotlib.pyplot as plt
import pytest

from denselab.report.trade_off import MOST_TICKS, Point, name_points, pareto, ticks


def test_the_pareto_front_by_hand() -> None:
    points = [Point("a", 1, 5), Point("b", 2, 4), Point("c", 3, 7), Point("d", 3, 6), Point("e", 9, 7)]
    assert [point.name for point in pareto(points)] == ["a", "c"]


@pytest.mark.parametrize(("low", "high"), [(0.17, 0.5), (0.001, 30.0), (0.02, 0.9), (0.9, 1.1)])
def test_ticks_are_few_and_within_the_bounds(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= MOST_TICKS
    assert all(low <= value <= high for value in found)
    assert found == sorted(set(found))


def test_names_that_move_down_stay_above_the_axis() -> None:
    figure, axes = plt.subplots()
    points = [Point("a", 1, 90), Point("b", 30, 20), Point("c", 40, 20), Point("d", 50, 20)]
    axes.plot([p.cost for p in points], [p.score for p in points], "o")
    name_points(axes, points, middle=7)
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["a"] == 90
    assert heights["b"] == 20 > heights["c"] > heights["d"] > axes.get_ylim()[0]
    plt.close(figure)
