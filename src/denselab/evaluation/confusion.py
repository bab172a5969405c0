"""The confusion matrix: exact integer counts that add up over pictures, batches and processes.

Label maps are mostly flat, so the loop reads eight uint8 pixels (or four uint16) as one 64-bit word. Where a word holds
one value in both maps, it counts all its pixels at once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled
from denselab.errors import DataError, ShapeError
from denselab.types import LabelMap

Counts = NDArray[np.int64]
"""(K, K) int64, rows = truth, columns = prediction."""


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int) -> Counts:
    """(K, K) int64, [i, j] = pixels of true class i predicted as j; pixels whose truth is ignore_index do not count.

    truth, prediction: class indices, both of one shape, which may be any. uint8 and uint16 are counted as they are;
        other whole numbers are converted first.
    num_classes: K.

    Raises ShapeError for two shapes, DataError for a truth or a prediction that is not a class.
    """
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    add_confusion(counts, truth, prediction, ignore_index)
    return counts


def add_confusion(counts: Counts, truth: NDArray[Any], prediction: NDArray[Any], ignore_index: int) -> None:
    """Add what confusion_matrix counts to `counts` (K, K) int64, in place. Where it raises, it has added nothing."""
    if truth.shape != prediction.shape:
        raise ShapeError(
            f"truth {truth.shape} and prediction {prediction.shape} differ; they must match pixel for pixel"
        )
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype != np.int64:
        raise ShapeError(f"counts {counts.shape} {counts.dtype}: a (K, K) int64 array was expected")
    truth, prediction = label_map(truth, "truth"), label_map(prediction, "prediction")
    if truth.dtype != prediction.dtype:
        truth, prediction = truth.astype(np.uint16), prediction.astype(np.uint16)
    table = np.zeros_like(counts)
    if _count(table, truth.reshape(-1), prediction.reshape(-1), ignore_index):
        _refuse_strangers(truth, prediction, len(counts), ignore_index)
    if 0 <= ignore_index < len(counts):
        table[ignore_index] = 0
    counts += table


def label_map(labels: NDArray[Any], what: str) -> LabelMap:
    """`labels` as uint8 or uint16, unchanged if already either. Raises DataError for a value beyond uint16.

    what: what the map is, for the message.
    """
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    if labels.dtype == np.bool_:
        return labels.view(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what} has dtype {labels.dtype}; whole numbers (class indices) were expected")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > 65535:
        raise DataError(
            f"{what} holds {low if low < 0 else high}; class indices lie in 0..65535 (see LabelSpace.encode)"
        )
    return labels.astype(np.uint16)


def _count(table: Counts, truth: LabelMap, prediction: LabelMap, ignore_index: int) -> int:
    """Count two flat maps of one dtype into `table`; returns how many pixels were neither counted nor ignored."""
    lanes = 8 // truth.dtype.itemsize
    split = len(truth) - len(truth) % lanes
    bad = _run(table, truth[:split], prediction[:split], ignore_index)
    rest = len(truth) - split
    if rest:  # the last pixels become one word, padded with (0, 0); the padding is subtracted again
        ends = np.zeros((2, lanes), dtype=truth.dtype)
        ends[0, :rest], ends[1, :rest] = truth[split:], prediction[split:]
        bad += _run(table, ends[0], ends[1], ignore_index)
        table[0, 0] -= lanes - rest
    return bad


def _run(table: Counts, truth: LabelMap, prediction: LabelMap, ignore_index: int) -> int:
    bits = 8 * truth.dtype.itemsize
    mask = (1 << bits) - 1
    ones = sum(1 << shift for shift in range(0, 64, bits))  # a lane's value times this fills every lane with it
    numbers = [
        np.uint64(n) for n in (len(table), ignore_index if 0 <= ignore_index <= mask else mask + 1, bits, ones, mask)
    ]
    return int(_kernel()(table, _words(truth), _words(prediction), *numbers))


def _words(labels: LabelMap) -> NDArray[np.uint64]:
    """A flat map as read-only 64-bit words; copied if strided or not aligned to 8 bytes (numba does not check)."""
    flat: NDArray[Any] = np.ascontiguousarray(labels)
    words = (flat.copy() if flat.ctypes.data % 8 else flat).view(np.uint64)
    words.flags.writeable = False
    return words


@cache
def _kernel() -> Callable[..., int]:
    return compiled(_count_words)


def _count_words(
    table: Any, truths: Any, predictions: Any, classes: Any, ignored: Any, bits: Any, ones: Any, mask: Any
) -> int:
    """The loop. All numbers are uint64: a signed one would make numba switch to floats."""
    lanes: Any = 64 // np.int64(bits)
    bad = 0
    for i in range(truths.size):
        truth, prediction = truths[i], predictions[i]
        t, p = truth & mask, prediction & mask
        if truth == t * ones and prediction == p * ones:
            if t < classes and p < classes:
                table[t, p] += lanes
            elif t != ignored:
                bad += lanes
        else:
            for _ in range(lanes):
                t, p = truth & mask, prediction & mask
                if t < classes and p < classes:
                    table[t, p] += 1
                elif t != ignored:
                    bad += 1
                truth >>= bits
                prediction >>= bits
    return bad


def _refuse_strangers(truth: LabelMap, prediction: LabelMap, num_classes: int, ignore_index: int) -> None:
    counted = truth != ignore_index
    for what, labels in (("truth", truth), ("prediction", prediction)):
        strangers = labels[counted & (labels >= num_classes)]
        if strangers.size:
            rule = (
                f"neither a class (0..{num_classes - 1}) nor the ignore_index {ignore_index}"
                if what == "truth"
                else f"not a class (0..{num_classes - 1}); ids in files are not class indices"
            )
            raise DataError(
                f"{what} {int(strangers[0])} at {strangers.size} pixels is {rule}; map ids with LabelSpace.encode"
            )
