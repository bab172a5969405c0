"""Scores near the borders of classes, which pixel counts hardly notice: boundary F1, and counts in a band (trimap).

Boundary F1 is the distance form of Csurka et al. 2013 ("What is a good evaluation measure for semantic segmentation?"):
a boundary pixel of a class matches if the other map has a boundary pixel of that class within the tolerance. SegNet's
script matches pixels one to one by bipartite assignment, so its scores are slightly lower. We take two things from that
script: the tolerance of 0.75 % of the diagonal, and that a class is scored where either map has a boundary of it.

Void: the prediction is made void wherever the truth is void. A step between two labelled pixels is a boundary of both
classes. A step to void or to the picture's edge is not a boundary, because nobody knows where the class ends there.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.errors import DataError, EmptyScoreError, ShapeError
from denselab.evaluation.confusion import Counts, confusion_matrix, label_map
from denselab.evaluation.scores import Floats, mean_of_defined

TOLERANCE = 0.0075  # of the picture's diagonal: SegNet's computeBFmeasure; 4.5 px at 360x480
TRIMAP_WIDTHS = (3,)  # pixels on each side of a boundary; ours, the papers draw a curve over 1 to 40
BAND_PIXELS = 16_000_000  # counted at a time, some 20 bytes each
NONE = 65535  # marks "not a class": a uint16 map with an ignore_index has at most 65,535 classes, 0 to 65534


def boundary_counts(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int,
    tolerance: float = TOLERANCE,
) -> NDArray[np.int64]:
    """(4, K) int64 by class: predicted boundary pixels that match, all predicted, true ones that match, all true.

    truth, prediction: (H, W) class indices.
    ignore_index: the label of void pixels in the truth.
    tolerance: as a share of the diagonal; Euclidean, between pixel centres.

    Raises ShapeError for maps of different sizes, DataError for a boundary pixel whose label is not a class.
    """
    _require_one_size(truth, prediction)
    offsets = disc(tolerance * float(np.hypot(*truth.shape)))
    counts = np.zeros((4, num_classes), np.int64)
    for band, inner in _bands(truth.shape, int(offsets.max(initial=0)) + 1):
        part, guess = _maps(truth[band], prediction[band])
        valid = part != ignore_index
        true_edges, predicted_edges = _edges(part, valid), _edges(guess, valid)
        counts[:2] += _matches(_only(predicted_edges, inner), true_edges, offsets, num_classes)
        counts[2:] += _matches(_only(true_edges, inner), predicted_edges, offsets, num_classes)
    return counts


def class_boundary_f1(boundary: NDArray[np.int64]) -> Floats:
    """(..., K) 2 P R / (P + R) from boundary_counts (..., 4, K), P precision, R recall.

    0 where only one of the maps has a boundary of the class, NaN where neither has.
    """
    hit_prediction, prediction, hit_truth, truth = (boundary[..., row, :] for row in range(4))
    precision, recall = hit_prediction / np.maximum(prediction, 1), hit_truth / np.maximum(truth, 1)
    f1: Floats = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    return np.where(prediction + truth > 0, f1, np.nan)


def class_boundary_f1_over_pictures(boundary: NDArray[np.int64]) -> Floats:
    """(K,) boundary F1 of each class from boundary_counts (N, 4, K): the mean over the pictures with a boundary of it.

    NaN for a class that has no boundary in any picture.
    """
    return mean_of_defined(class_boundary_f1(boundary).T)


def boundary_f1(boundary: NDArray[np.int64]) -> float:
    """SegNet's mean of boundary_counts (N, 4, K): over the classes of each picture, then over pictures; in [0, 1].

    Pictures without any boundary are left out. Raises EmptyScoreError where no picture has one.
    """
    score = float(mean_of_defined(mean_of_defined(class_boundary_f1(boundary))))
    if np.isnan(score):
        raise EmptyScoreError("boundary F1: no picture has a boundary between two classes, in truth or prediction")
    return score


def trimap_counts(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int,
    widths: Sequence[int] = TRIMAP_WIDTHS,
) -> dict[int, Counts]:
    """For each width w, the confusion matrix of the labelled pixels that have another true label within w pixels.

    Kohli, Ladicky, Torr 2009. Distances are Euclidean between pixel centres, so w = 1 takes the pixels on both sides of
    each step. Void counts as another label here, because VOC's void contours are its object borders. The matrices add
    up over pictures.
    """
    _require_one_size(truth, prediction)
    counts = {width: np.zeros((num_classes, num_classes), np.int64) for width in widths}
    for band, inner in _bands(truth.shape, max(widths) + 1):
        part, guess = _maps(truth[band], prediction[band])
        distance = _squared_distance_to_other(part, max(widths))
        labelled = _only(np.where(part == ignore_index, np.uint16(NONE), part), inner)
        for width in widths:
            near = np.where(distance <= width**2, labelled, np.uint16(NONE))
            counts[width] += confusion_matrix(near, guess, num_classes, NONE)
    return counts


def disc(radius: float) -> NDArray[np.int64]:
    """(P, 2) int64 steps (dy, dx) of length <= radius, nearest first."""
    reach = int(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    length = dy**2 + dx**2
    order = np.argsort(length, kind="stable")
    offsets: NDArray[np.int64] = np.stack([dy, dx], axis=1)[order][length[order] <= radius**2]
    return offsets


def _require_one_size(truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    if truth.ndim != 2 or truth.shape != prediction.shape:
        raise ShapeError(
            f"truth {truth.shape} and prediction {prediction.shape}: two (H, W) maps of one size were expected"
        )


def _bands(shape: tuple[int, ...], reach: int) -> Iterator[tuple[slice, slice]]:
    """Bands of rows with `reach` more on both sides, and in each of them the rows without those; one if that is small.

    What is counted looks no further than `reach`, so the bands add up to the whole, in the memory of one.
    """
    height, count = shape[0], max(BAND_PIXELS // max(shape[1], 1), 1)
    for top in range(0, height, count):
        first, bottom = max(top - reach, 0), min(top + count, height)
        yield slice(first, min(bottom + reach, height)), slice(top - first, bottom - first)


def _only(labels: NDArray[np.uint16], rows: slice) -> NDArray[np.uint16]:
    """(H, W) with NONE outside these rows."""
    if rows == slice(0, len(labels)):
        return labels
    found = np.full_like(labels, NONE)
    found[rows] = labels[rows]
    return found


def _maps(truth: NDArray[Any], prediction: NDArray[Any]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Both as uint16, which holds NONE, and for which the loops are compiled."""
    return label_map(truth, "truth").astype(np.uint16), label_map(prediction, "prediction").astype(np.uint16)


def steps(labels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: a 4-neighbour has another label, both being valid."""
    edge = np.zeros(labels.shape, dtype=bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        step = (labels[a] != labels[b]) & valid[a] & valid[b]
        edge[a] |= step
        edge[b] |= step
    return edge


def _edges(labels: NDArray[np.uint16], valid: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """(H, W) uint16: the class of each boundary pixel, NONE elsewhere."""
    return np.where(steps(labels, valid), labels, np.uint16(NONE))


def _matches(
    edges: NDArray[np.uint16], others: NDArray[np.uint16], offsets: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """(2, K): pixels of `edges` by class with one of their class in `others` within the offsets, and all of them."""
    reach = int(offsets.max())
    edges, others = np.pad(edges, reach, constant_values=NONE), np.pad(others, reach, constant_values=NONE)
    positions = np.flatnonzero(edges != NONE)
    classes = edges.reshape(-1)[positions]
    if classes.size and classes.max() >= num_classes:
        raise DataError(f"class index {classes.max()} is not a class (0..{num_classes - 1}); see LabelSpace.encode")
    matched = np.zeros(len(positions), dtype=np.bool_)
    _match_kernel()(matched, positions, classes, others.reshape(-1), offsets @ (edges.shape[1], 1))
    counts = [np.bincount(found, minlength=num_classes) for found in (classes[matched], classes)]
    return np.stack(counts).astype(np.int64)


def _squared_distance_to_other(labels: NDArray[np.uint16], reach: int) -> NDArray[np.int64]:
    """(H, W) squared distance to the nearest pixel of another label if it is within `reach`, else a huge number.

    The nearest pixel of another label has a step beside it, so it is enough to paint discs around those pixels.
    """
    offsets = disc(reach)[1:]
    padded = np.pad(labels, reach)
    edges = np.pad(steps(labels, np.ones(labels.shape, dtype=bool)), reach)
    distance = np.full(padded.shape, np.iinfo(np.int64).max)
    lengths = (offsets**2).sum(1)
    flat_steps = offsets @ (padded.shape[1], 1)
    _paint_kernel()(distance.reshape(-1), np.flatnonzero(edges), padded.reshape(-1), flat_steps, lengths)
    return distance[reach : reach + labels.shape[0], reach : reach + labels.shape[1]]


@cache
def _match_kernel() -> Callable[..., None]:
    return compiled(_match)


def _match(matched: Any, positions: Any, classes: Any, others: Any, offsets: Any) -> None:
    """The maps are flat and padded by the longest offset, so no step leaves them."""
    for i in range(positions.size):
        for k in range(offsets.size):
            if others[positions[i] + offsets[k]] == classes[i]:
                matched[i] = True
                break


@cache
def _paint_kernel() -> Callable[..., None]:
    return compiled(_paint)


def _paint(distance: Any, positions: Any, labels: Any, offsets: Any, lengths: Any) -> None:
    for i in range(positions.size):
        label = labels[positions[i]]
        for k in range(offsets.size):
            near = positions[i] + offsets[k]
            if labels[near] != label and lengths[k] < distance[near]:
                distance[near] = lengths[k]
