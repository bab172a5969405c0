"""Two evaluations of the same pictures: the difference, by hand, and how sure it is."""

import re
from pathlib import Path

import numpy as np
import pytest

import denselab
from denselab.errors import DataError, ShapeError
from denselab.evaluation.bootstrap import difference_interval, mean_iou_interval
from denselab.evaluation.evaluation import FEWEST_PICTURES, count_pictures
from denselab.evaluation.paired import ENOUGH_PICTURES, Paired, _cells
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (9, 9, 9)), LabelEntry(2, "never", (5, 5, 5))))
TRUTH = np.array([[0, 0, 1, 1]] * 4, np.uint8)


def of(predictions: list[np.ndarray]) -> Paired:
    plain = np.array([[0, 0, 0, 1]] * 4, np.uint8)
    names = [f"p{i}" for i in range(len(predictions))]
    before = count_pictures([(name, TRUTH, plain) for name in names], SPACE)
    return Paired(before, count_pictures(list(zip(names, [TRUTH] * len(names), predictions, strict=True)), SPACE))


def test_a_gain_by_hand() -> None:
    """Before: a has 8 of 12 pixels, b 4 of 8; mean 7/12. After: all right."""
    paired = of([TRUTH] * FEWEST_PICTURES)
    assert paired.difference == pytest.approx(5 / 12)
    assert paired.interval == pytest.approx((5 / 12, 5 / 12))
    told = paired.to_dict()
    assert told["totals"]["miou"] == {"before": 0.5833, "after": 1.0}
    assert told["classes"][1]["iou"] == {"before": 0.5, "after": 1.0}
    assert told["classes"][2]["iou"] == {"before": None, "after": None}
    assert "mIoU +0.4167, 95 % interval +0.4167 to +0.4167 over 10 pictures" in paired.sentence()
    assert paired.table().row_count == 4


def test_table_and_sentence_tell_one_difference() -> None:
    """The table took the difference of rounded scores, +0.0182 from 0.5833 to 0.6015; it is 0.018150, told below it."""
    plain = np.array([[0, 0, 0, 1]] * 4, np.uint8)
    better = plain.copy()
    better[0, 2] = 1
    paired = of([better] * 2 + [plain] * 8)
    assert "mIoU +0.0181," in paired.sentence()
    before, after, change = [list(column.cells)[-1] for column in paired.table().columns[1:4]]
    assert (before, after, change) == ("0.5833", "0.6015", "+0.0181")
    assert paired.to_dict()["miou_difference"] == 0.0181


def test_a_gain_on_some_pictures_and_a_loss_on_others_is_no_help() -> None:
    worse = np.zeros((4, 4), np.uint8)
    paired = of([TRUTH, worse] * 5)
    assert paired.interval is not None
    assert paired.interval.low < 0 < paired.interval.high
    assert not paired.helps
    assert not of([TRUTH, worse] * ENOUGH_PICTURES).helps


@pytest.mark.parametrize("pictures", [1, 2, ENOUGH_PICTURES - 1, ENOUGH_PICTURES])
def test_a_few_pictures_prove_nothing(pictures: int) -> None:
    """Each is all right after; of few pictures there is no interval: that of two, [min, max], was told as one of 95 %."""
    paired = of([TRUTH] * pictures)
    assert (paired.interval is None) == (pictures < FEWEST_PICTURES)
    assert ("too few for an interval" in paired.sentence()) == (pictures < FEWEST_PICTURES)
    assert paired.helps == (pictures >= ENOUGH_PICTURES)
    assert paired.to_dict()["helps"] == paired.helps


def test_pairing_narrows_the_interval() -> None:
    """Pictures differ much from each other, and the gain is the same on each."""
    rng = np.random.default_rng(0)
    right = rng.integers(20, 80, 30)
    before = np.stack([np.stack([right, right], 1), np.full((30, 2), 100), np.full((30, 2), 100)], 1)
    after = before.copy()
    after[:, 0] += 5
    paired = difference_interval(before, after)
    alone = mean_iou_interval(before)
    assert paired is not None
    assert alone is not None
    assert 0 < paired.low < paired.high
    assert (paired.high - paired.low) < (alone.high - alone.low) / 5
    with pytest.raises(ShapeError, match="the same pictures"):
        difference_interval(before, after[1:])


def test_other_pictures_are_refused() -> None:
    one, other = (count_pictures([(name, TRUTH, TRUTH)], SPACE) for name in "xy")
    with pytest.raises(DataError, match="different pictures"):
        Paired(one, other)


def test_a_change_of_nothing_has_no_minus() -> None:
    """A class that lost a pixel of a million was told to have changed by -0.0000."""
    assert _cells((0.5, 0.49999)) == ("0.5000", "0.5000", "+0.0000")


def test_every_signed_number_is_told_without_minus_nothing() -> None:
    """A format with a sign and without "z" tells -0.0 of a number that rounds to nothing."""
    source = Path(denselab.__file__).parent
    told = [f"{path.name}: {line}" for path in source.rglob("*.py") for line in path.read_text("utf-8").splitlines()]
    assert any(":+z." in line for line in told)
    assert [line for line in told if re.search(r"\{[^{}]*:\+[.{]", line)] == []
