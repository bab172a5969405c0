"""Whether an exported graph computes what the network does, measured on real pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.resizing.resize import resize_image
from denselab.engine.engine import Engine
from denselab.engine.enlarge import as_array, label_maps
from denselab.errors import ParityError
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import mean_iou
from denselab.export.pictures import CheckPictures
from denselab.types import Image, LabelMap

FLOAT_LOGITS = 0.01  # largest difference, in standard deviations of the network's logits
FLOAT_LABELS = 0.001  # share of the pixels: where two classes are nearly equal, the last bits decide
LABELS_GRAPH = 0.005  # the same with the resizing inside, whose pictures differ by one grey value here and there
FLOAT_MIOU = 0.001
ROUNDED_MIOU = 0.005  # mIoU in 0..1 that int8 and bfloat16 may lose: half a point
FLOAT_PICTURES, ROUNDED_PICTURES = 24, 100  # measured at most


@dataclass(frozen=True)
class Parity:
    """What an exported graph loses against the network.

    source: the pictures, in words.
    pictures: how many.
    logits: largest difference of two logits; nan where the graph gives labels only.
    deviation: standard deviation of the network's logits, to compare it with.
    other_labels: share of the pixels with another label.
    miou_before, miou_after: of the network and of the graph against the truth, in 0..1; None without labels.
    agreement: mIoU of the graph's labels with the network's taken as truth.
    """

    source: str
    pictures: int
    logits: float
    deviation: float
    other_labels: float
    miou_before: float | None
    miou_after: float | None
    agreement: float

    @property
    def loss(self) -> float:
        """mIoU lost, in 0..1; against the network's own labels where there is no truth."""
        if self.miou_before is None or self.miou_after is None:
            return 1 - self.agreement
        return self.miou_before - self.miou_after

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "measured_on": self.source,
            "pictures": self.pictures,
            "largest_logit_difference": None if np.isnan(self.logits) else float(f"{self.logits:.3g}"),
            "deviation_of_logits": float(f"{self.deviation:.3g}"),
            "share_of_other_labels": float(f"{self.other_labels:.3g}"),
            "miou_before": None if self.miou_before is None else round(self.miou_before, 5),
            "miou_after": None if self.miou_after is None else round(self.miou_after, 5),
            "agreement": round(self.agreement, 5),
        }

    def told(self) -> str:
        """One line."""
        parts = [f"{100 * self.other_labels:.3f} % other labels"]
        if not np.isnan(self.logits):
            deviation = f"(their deviation: {self.deviation:.2g})"
            parts.insert(0, f"largest difference of logits {self.logits:.2g} {deviation}")
        if self.miou_before is None:
            parts.append(f"agreement {self.agreement:.4f} (mIoU with the network's own labels)")
        else:
            parts.append(f"mIoU {self.miou_before:.4f} before, {self.miou_after:.4f} after")
        return f"{', '.join(parts)}; {self.pictures} pictures of {self.source}"


def parity(reference: Engine, exported: Engine, pictures: CheckPictures, most: int) -> Parity:
    """Compare two engines picture by picture, each whole at the network's size, labels at the picture's own.

    most: how many pictures at most.
    """

    def both(image: Image) -> tuple[LabelMap, LabelMap, float, float]:
        size = (image.shape[0], image.shape[1])
        seen = resize_image(image, reference.spec.preprocessing.working_size(size))[None]
        before, after = reference.logits(seen), exported.logits(seen)
        expected = as_array(before)
        difference = largest_difference(expected, as_array(after))
        coarse = exported.coarse(seen)  # what `predict` runs, where the graph gives it
        found = label_maps(after, size)[0] if coarse is None else coarse.labels_at(size)
        return label_maps(before, size)[0], found, difference, float(expected.std())

    return _compared(both, pictures, most)


def largest_difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The largest difference of two logits; infinite where one of them is no number."""
    largest = float(np.abs(found - expected).max())
    return float("inf") if np.isnan(largest) else largest


def labels_parity(
    reference: Engine, labels_of: Callable[[Image], LabelMap], pictures: CheckPictures, most: int
) -> Parity:
    """Compare a graph that gives label ids with an engine. labels_of: (H, W, 3) picture to (H, W) class indices."""

    def both(image: Image) -> tuple[LabelMap, LabelMap, float, float]:
        size = (image.shape[0], image.shape[1])
        seen = resize_image(image, reference.spec.preprocessing.working_size(size))[None]
        return label_maps(reference.logits(seen), size)[0], labels_of(image), float("nan"), 0.0

    return _compared(both, pictures, most)


def _compared(
    both: Callable[[Image], tuple[LabelMap, LabelMap, float, float]], pictures: CheckPictures, most: int
) -> Parity:
    """both: (labels before, labels after, largest difference of the logits, their deviation) of a picture."""
    space = pictures.spec.label_space
    k, ignored = space.num_classes, pictures.dataset.label_space.ignore_index
    against_truth = [np.zeros((k, k), np.int64), np.zeros((k, k), np.int64)]  # before, after
    against_network = np.zeros((k, k), np.int64)
    numbers = []
    for _, image, truth in pictures.measured(most):
        before, after, difference, deviation = both(image)
        if truth is not None:
            for counts, labels in zip(against_truth, (before, after), strict=True):
                counts += confusion_matrix(truth, labels, k, ignored)
        against_network += confusion_matrix(before, after, k, space.ignore_index)
        numbers.append((difference, deviation, float((before != after).mean())))
    largest, deviations, others = (np.array(column) for column in zip(*numbers, strict=True))
    before_after = [mean_iou(counts) if pictures.labelled else None for counts in against_truth]
    return Parity(
        pictures.source,
        len(numbers),
        float(largest.max()),
        float(deviations.mean()),
        float(others.mean()),
        before_after[0],
        before_after[1],
        mean_iou(against_network),
    )


def require_float(found: Parity, what: str, labels: float = FLOAT_LABELS) -> None:
    """Raise ParityError where a graph in float32 is not the network.

    what: the graph, for the message.
    labels: the largest share of other labels.
    """
    faults = []
    if not np.isnan(found.logits) and not found.logits <= FLOAT_LOGITS * max(found.deviation, 1e-12):
        faults.append(f"logits differ by up to {found.logits:.3g}, {FLOAT_LOGITS * found.deviation:.3g} is allowed")
    if not found.other_labels <= labels:
        faults.append(f"{100 * found.other_labels:.2f} % of the labels differ, {100 * labels:.2f} % are allowed")
    if found.miou_before is not None and not found.loss <= FLOAT_MIOU + labels:
        faults.append(f"mIoU falls from {found.miou_before:.4f} to {found.miou_after:.4f}")
    if faults:
        raise ParityError(
            f"{what} is not the model: {'; '.join(faults)} ({found.pictures} pictures of {found.source}). Nothing was "
            "written; another runtime (`to`) may do better"
        )


def require_bfloat16(found: Parity) -> None:
    """Raise ParityError where a graph loses too much in bfloat16."""
    if not found.loss < ROUNDED_MIOU or not np.isfinite(found.logits):
        raise ParityError(
            f"bfloat16 loses {100 * found.loss:.2f} points of mIoU, less than {100 * ROUNDED_MIOU:.1f} is allowed "
            f"({found.told()}). Nothing was written: export without `bf16`, or give `check` data with the model's "
            "classes"
        )
