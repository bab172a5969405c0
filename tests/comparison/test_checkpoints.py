"""Best mIoU or lowest loss: what is said of the two checkpoints, from numbers given by hand."""

from pathlib import Path

import pytest

from denselab.comparison.checkpoints import Pair, shown_from, verdict


def pair(by_miou: tuple[int, float, float], by_loss: tuple[int, float, float]) -> Pair:
    return Pair("unet", Path("run"), by_miou, by_loss, by_miou[2])


SAME = pair((90, 0.8, 0.5), (90, 0.8, 0.5))
RISING = pair((90, 0.83, 0.7), (40, 0.80, 0.5))  # the loss was lowest at step 40, the mIoU best at 90
FLAT = pair((90, 0.802, 0.505), (40, 0.80, 0.5))


def test_the_course_s_puzzle_is_seen() -> None:
    assert (RISING.rises, FLAT.rises, SAME.rises) == (True, False, False), "a rise of 1 % is noise"
    assert RISING.gain == pytest.approx(0.03)


def test_the_best_miou_is_taken_where_it_is_clearly_higher() -> None:
    told = verdict([SAME, RISING])
    assert told.startswith("In 1 of 2 runs both are one checkpoint. In 1 the loss was lowest first, and rose while")
    assert "up to 3.0 points higher" in told
    assert verdict([RISING]).startswith("In 1 of 1 run the loss was lowest first"), 'it began "In 0 of 1 runs"'
    assert "--calibrate" in told


def test_either_will_do_where_they_are_alike() -> None:
    assert verdict([SAME, FLAT]) == (
        "In 1 of 2 runs both are one checkpoint. They differ by less than half a point of mIoU: either will do; "
        "the lowest loss is the more honest."
    )


def test_there_is_nothing_to_choose_where_both_are_one() -> None:
    assert verdict([SAME, SAME]) == "In every run both are one checkpoint: there is nothing to choose."


def test_the_curves_begin_where_the_loss_is_near_its_lowest() -> None:
    """Beside the fall from 1.2 to 0.09 at the beginning a rise to 0.10 could not be seen."""
    steps = [10.0, 20.0, 30.0, 40.0, 50.0]
    assert shown_from(steps, [1.2, 0.4, 0.12, 0.09, 0.10]) == 30
    assert shown_from(steps, [0.12, 0.4, 0.12, 0.09, 0.10]) == 30, "also after a later peak"
    assert shown_from(steps, [0.10, 0.11, 0.12, 0.09, 0.10]) == 10
    assert shown_from(steps, [1.2, 0.8, 0.6, 0.4, 0.1]) == 10, "too few would be left"
    assert shown_from([5.0], [0.3]) == 5
