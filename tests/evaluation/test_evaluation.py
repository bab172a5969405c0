import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from denselab.errors import DataError, EmptyScoreError, ShapeError
from denselab.evaluation import Evaluation, boundary, count_pictures, scores
from denselab.labels import LabelEntry, LabelSpace

SPACE = LabelSpace(tuple(LabelEntry(i, name, (i, i, i)) for i, name in enumerate(("sky", "road", "car", "moon"))))
Result = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def results(number: int = 5, seed: int = 0) -> list[Result]:
    """Pictures of differing sizes; class "moon" never occurs."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(number):
        truth = np.kron(rng.choice([0, 1, 2, 255], size=(3 + i, 4)), np.ones((3, 5), int)).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 3, truth.shape), truth % 3).astype(
            np.uint8
        )
        made.append((f"val/{(7 * i) % 10}", truth, prediction))
    return made


def as_bytes(evaluation: Evaluation) -> str:
    return json.dumps(evaluation.to_dict())


def test_counts_by_hand() -> None:
    truth, prediction = np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 0]], np.uint8)
    evaluation = count_pictures([("b", truth, prediction), ("a", truth[:, 2:], prediction[:, 2:])], SPACE)
    np.testing.assert_array_equal(evaluation.counts[:2, :2], [[1, 1], [0, 2]])
    assert evaluation.names == ("a", "b")
    np.testing.assert_array_equal(evaluation.areas[0], [[0, 1, 0, 0]] * 3)
    np.testing.assert_array_equal(evaluation.areas[1], [[1, 1, 0, 0], [2, 1, 0, 0], [1, 2, 0, 0]])
    assert evaluation.miou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert evaluation.pixel_accuracy == pytest.approx(3 / 4)
    assert evaluation.mean_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert evaluation.absent == ("car", "moon")
    np.testing.assert_allclose(evaluation.image_miou, [1, 1 / 2])
    np.testing.assert_allclose(evaluation.class_iou, [1 / 2, 2 / 3, np.nan, np.nan])


def test_counts_are_summed_and_never_scores() -> None:
    """A user of a known library reports 0.40 or 0.66 for one model by batch size."""
    evaluation = count_pictures(results(), SPACE)
    np.testing.assert_array_equal(evaluation.areas.sum(0), np.stack(scores.areas_of(evaluation.counts)))
    assert evaluation.miou == scores.mean_iou(evaluation.counts)
    assert evaluation.miou != pytest.approx(np.nanmean(evaluation.image_miou), abs=1e-4)


def test_boundary_scores_are_those_of_each_picture() -> None:
    evaluation = count_pictures(results(), SPACE, trimap_widths=(1, 3))
    ordered = sorted(results(), key=lambda r: r[0])
    expected = np.stack([boundary.boundary_counts(t, p, 4, 255) for _, t, p in ordered])
    np.testing.assert_array_equal(evaluation.boundary, expected)
    assert evaluation.boundary_f1 == boundary.boundary_f1(expected)
    bands = [boundary.trimap_counts(t, p, 4, 255, (1, 3)) for _, t, p in ordered]
    np.testing.assert_array_equal(evaluation.trimap[3], sum(band[3] for band in bands))
    by_class = evaluation.class_boundary_f1
    assert by_class is not None
    np.testing.assert_allclose(by_class, [*np.nanmean(boundary.class_boundary_f1(expected)[:, :3], axis=0), np.nan])


def test_without_boundary() -> None:
    evaluation = count_pictures(results(), SPACE, boundary=False)
    assert evaluation.boundary is evaluation.boundary_f1 is evaluation.class_boundary_f1 is None
    assert evaluation.trimap == {}
    np.testing.assert_array_equal(evaluation.counts, count_pictures(results(), SPACE).counts)


@pytest.mark.parametrize("with_boundary", [True, False])
def test_two_evaluators_merged_equal_one(with_boundary: bool) -> None:
    """Byte for byte, however the pictures are dealt out and in whichever order they are merged."""
    made = results(6)
    whole = as_bytes(count_pictures(made, SPACE, boundary=with_boundary))
    for part in (slice(0, 3), slice(0, None, 2), slice(0, 0)):
        first = count_pictures(made[part], SPACE, boundary=with_boundary)
        second = count_pictures([r for r in made if r not in made[part]], SPACE, boundary=with_boundary)
        assert as_bytes(first.merge(second)) == as_bytes(second.merge(first)) == whole
    assert as_bytes(count_pictures(reversed(made), SPACE, boundary=with_boundary)) == whole


@pytest.mark.parametrize("with_boundary", [True, False])
def test_round_trip(with_boundary: bool) -> None:
    evaluation = count_pictures(results(), SPACE, boundary=with_boundary)
    again = Evaluation.from_dict(json.loads(as_bytes(evaluation)))
    assert as_bytes(again) == as_bytes(evaluation)
    assert again.miou == evaluation.miou
    assert again.miou_interval == evaluation.miou_interval
    assert again.boundary_f1 == evaluation.boundary_f1


def test_no_picture_merges_but_has_no_score() -> None:
    """A process may get no picture; only scores need one."""
    nothing = count_pictures([], SPACE)
    assert as_bytes(nothing.merge(count_pictures(results(), SPACE))) == as_bytes(count_pictures(results(), SPACE))
    with pytest.raises(EmptyScoreError):
        nothing.miou
    assert as_bytes(Evaluation.from_dict(nothing.to_dict())) == as_bytes(nothing)


def test_interval_needs_ten_pictures() -> None:
    """Of two pictures the bounds are their two scores: shown as a 95 % interval, they were believed."""
    for few in (1, 2, 9):
        assert count_pictures(results(few), SPACE).miou_interval is None
    evaluation = count_pictures(results(10), SPACE)
    assert evaluation.miou_interval is not None
    assert evaluation.miou_interval.low < evaluation.miou < evaluation.miou_interval.high


def test_faults_name_the_picture() -> None:
    name, truth, prediction = results(1)[0]
    with pytest.raises(ShapeError, match=rf"{name}: truth \(9, 20\) and prediction \(8, 20\) differ"):
        count_pictures([(name, truth, prediction[1:])], SPACE)
    with pytest.raises(DataError, match=rf"{name}: prediction 5 at \d+ pixels is not a class \(0..3\)"):
        count_pictures([(name, truth, prediction + 4)], SPACE)
    with pytest.raises(DataError, match=f"picture {name} was evaluated twice and would count twice"):
        count_pictures([(name, truth, prediction)] * 2, SPACE)
    once = count_pictures([(name, truth, prediction)], SPACE)
    with pytest.raises(DataError, match="evaluated twice"):
        once.merge(once)


def test_what_does_not_merge_or_load() -> None:
    one, other = count_pictures(results(1), SPACE), count_pictures([], LabelSpace(SPACE.entries[:2]))
    with pytest.raises(DataError, match="different classes"):
        one.merge(other)
    with pytest.raises(DataError, match="boundary scores that the other lacks"):
        one.merge(count_pictures([], SPACE, boundary=False))
    damaged: list[dict[str, Any]] = [{}, one.to_dict() | {"format": 9}, one.to_dict() | {"areas": [[1]]}]
    for data in damaged:
        with pytest.raises(DataError, match="not an evaluation as to_dict writes it"):
            Evaluation.from_dict(data)


def ade20k(folder: Path, kind: str) -> dict[str, NDArray[np.uint8]]:
    """ADE20K files, 0 = unlabelled, 1..150, as class indices: 255 and 0..149."""
    files = sorted((folder / "ade20k_mini" / kind).glob("*.png"))
    return {file.stem: np.asarray(Image.open(file)) - np.uint8(1) for file in files}


def plain_scores(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[float, float, list[float]]:
    """Mean IoU, pixel accuracy and the IoUs of the classes that occur, by masks, without a matrix."""
    truth = np.concatenate([t[t != 255] for t, _ in pairs])
    prediction = np.concatenate([p[t != 255] for t, p in pairs])
    ious = []
    for c in range(150):
        union = int(((truth == c) | (prediction == c)).sum())
        if union:
            ious.append(int(((truth == c) & (prediction == c)).sum()) / union)
    return float(np.mean(ious)), float((truth == prediction).mean()), ious


@pytest.mark.parametrize("made", ["ready", "shifted"])
def test_ade20k_against_plain_numpy(shared_data: Path, made: str) -> None:
    """150 classes, three sizes, unlabelled pixels in truth and prediction.

    The ready predictions are numbered like the labels, from 1, and equal them in every pixel, so they score 1 whatever
    the scores do; the truth shifted by 12 rows and 9 columns is what tells right from wrong.
    """
    truth, prediction = ade20k(shared_data, "annotations"), ade20k(shared_data, "predictions")
    if made == "shifted":
        prediction = {name: np.roll(labels, (12, 9), (0, 1)) for name, labels in truth.items()}
    # A network always answers: where the file says unlabelled, the answer is class 0.
    prediction = {name: np.where(labels == 255, np.uint8(0), labels) for name, labels in prediction.items()}
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (0, 0, i)) for i in range(1, 151)))
    evaluation = count_pictures(((name, truth[name], prediction[name]) for name in truth), space)
    miou, accuracy, ious = plain_scores([(truth[name], prediction[name]) for name in truth])
    assert evaluation.miou == pytest.approx(miou)
    assert evaluation.pixel_accuracy == pytest.approx(accuracy)
    np.testing.assert_allclose(evaluation.class_iou[~np.isnan(evaluation.class_iou)], ious)
    assert len(evaluation.absent) == 150 - len(ious)
    assert (evaluation.miou == 1) == (made == "ready")
