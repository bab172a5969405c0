"""IoU of objects by size, suspicious regions, and lost IoU, worked out by hand."""

import numpy as np
import pytest

from denselab.evaluation import objects
from denselab.evaluation.evaluation import Evaluation, count_pictures
from denselab.evaluation.lost import lost_by_class, lost_by_picture
from denselab.evaluation.objects import by_size, objects_of
from denselab.evaluation.scores import mean_iou
from denselab.evaluation.suspects import BORDER, near_borders, suspects_of
from denselab.labels import LabelEntry, LabelSpace, default_colour


def test_two_objects_that_one_prediction_covers() -> None:
    """Truth: 2x2 and 2x3 with a gap of one column between; the prediction covers all 12 pixels of both and the gap."""
    truth = np.zeros((4, 8), np.uint8)
    truth[1:3, 1:3] = 1
    truth[1:3, 4:7] = 1
    prediction = np.zeros_like(truth)
    prediction[1:3, 1:7] = 1
    found = objects_of(truth, prediction, [1], 255)
    assert [(o.area, o.intersection, o.union) for o in found] == [(4, 4, 6), (6, 6, 8)]


def test_ignored_pixels_and_far_predictions_do_not_count() -> None:
    truth = np.zeros((5, 9), np.uint8)
    truth[1:3, 1:3] = 1
    truth[1:3, 3] = 255
    prediction = np.zeros_like(truth)
    prediction[1:3, 1:4] = 1
    prediction[0:2, 7:9] = 1
    assert [(o.area, o.intersection, o.union) for o in objects_of(truth, prediction, [1], 255)] == [(4, 4, 4)]


def test_a_missed_object_has_an_iou_of_0() -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[0, 0] = 2
    (found,) = objects_of(truth, np.zeros_like(truth), [1, 2], 255)
    assert (found.class_index, found.iou) == (2, 0.0)


def test_sizes() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[:10, :10] = 1
    truth[20:60, 20:60] = 1
    rows = by_size(objects_of(truth, truth, [1], 255))
    assert [row.objects for row in rows] == [1, 0, 1, 0, 0]
    assert rows[0].mean_iou == rows[2].share_found == 1.0
    assert np.isnan(rows[1].mean_iou)


def probs_of(labels: np.ndarray, sure: float, classes: int = 3) -> np.ndarray:
    probs = np.full((classes, *labels.shape), (1 - sure) / (classes - 1), np.float32)
    np.put_along_axis(probs, labels[None].astype(int), sure, axis=0)
    return probs


def test_a_wrong_label_inside_is_found() -> None:
    truth = np.zeros((60, 60), np.uint8)
    seen = truth.copy()
    seen[20:40, 10:30] = 2
    (found,) = suspects_of("p", truth, probs_of(seen, 0.95), 255)
    assert (found.box, found.pixels, found.label, found.prediction) == ((20, 10, 40, 30), 400, 0, 2)
    assert found.confidence == pytest.approx(0.95, abs=1e-5)
    assert found.score == pytest.approx((0.95 - 0.025) * (400 / 3600) ** 0.5, abs=1e-5)


def test_doubtful_small_border_and_ignored_regions_are_no_suspects() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[:, 30:] = 1
    seen = truth.copy()
    seen[20:40, 10:20] = 2
    assert suspects_of("p", truth, probs_of(seen, 0.6), 255) == []
    moved = truth.copy()
    moved[:, 30 - BORDER : 30] = 1  # a border that is a little off
    assert suspects_of("p", truth, probs_of(moved, 0.99), 255) == []
    tiny = truth.copy()
    tiny[5:7, 5:7] = 2
    assert suspects_of("p", truth, probs_of(tiny, 0.99), 255) == []
    void = truth.copy()
    void[15:45, 5:25] = 255
    assert suspects_of("p", void, probs_of(seen, 0.99), 255) == []


def test_near_borders_reaches_exactly_so_far() -> None:
    truth = np.zeros((3, 20), np.uint8)
    truth[:, 10:] = 1
    assert near_borders(truth)[1].tolist() == [10 - BORDER <= x < 10 + BORDER for x in range(20)]


def measured() -> Evaluation:
    space = LabelSpace(tuple(LabelEntry(i, f"c{i}", default_colour(i)) for i in range(3)))
    rng = np.random.default_rng(0)
    pictures = [(f"p{i}", rng.integers(0, 3, (8, 8)).astype(np.uint8), rng.integers(0, 3, (8, 8)).astype(np.uint8))
                for i in range(4)]  # fmt: skip
    return count_pictures(pictures, space)


def test_what_the_classes_lose_is_all_that_is_lost() -> None:
    assert lost_by_class(measured()).sum() == pytest.approx(1 - measured().miou)


def test_what_a_picture_loses_is_what_mending_it_gains() -> None:
    """Brute force: count the set again with one picture's prediction replaced by its truth."""
    space = LabelSpace(tuple(LabelEntry(i, f"c{i}", default_colour(i)) for i in range(3)))
    rng = np.random.default_rng(0)
    pictures = [(f"p{i}", rng.integers(0, 3, (8, 8)).astype(np.uint8), rng.integers(0, 3, (8, 8)).astype(np.uint8))
                for i in range(4)]  # fmt: skip
    whole = count_pictures(pictures, space)
    for i, (name, truth, _) in enumerate(pictures):
        mended = count_pictures([*pictures[:i], (name, truth, truth), *pictures[i + 1 :]], space)
        assert lost_by_picture(whole)[i] == pytest.approx(mean_iou(mended.counts) - whole.miou)


def test_thousands_of_classes_of_which_a_picture_shows_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class of the table was looked for in every picture: with 1,000 of them that took seconds a picture."""
    calls: list[int] = []
    label = objects.ndimage.label
    monkeypatch.setattr(objects.ndimage, "label", lambda *given: calls.append(1) or label(*given))
    truth = np.zeros((4, 4), np.uint16)
    truth[1, 1], truth[3, 3] = 7, 65535
    found = objects_of(truth, truth, range(1, 3000), 65535)
    assert [(o.class_index, o.iou) for o in found] == [(7, 1.0)]
    assert len(calls) == 2
