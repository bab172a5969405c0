"""From the true and predicted label maps of pictures to counts, and from the counts to scores."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError, ShapeError
from denselab.evaluation import boundary as borders
from denselab.evaluation import scores
from denselab.evaluation.bootstrap import Interval, mean_iou_interval
from denselab.evaluation.boundary import TRIMAP_WIDTHS, boundary_counts, trimap_counts
from denselab.evaluation.confusion import Counts, confusion_matrix
from denselab.labels import LabelSpace
from denselab.types import LabelMap

FORMAT = 1  # of to_dict
FEWEST_PICTURES = 10  # for an interval: the bootstrap interval of fewer is far too narrow (see paired.py)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was counted on a set of pictures. Scores are properties, so they cannot disagree with the counts.

    classes: K names by class index.
    names: the N pictures, sorted; each occurs once.
    counts: (K, K) int64, rows = truth, columns = prediction, summed over the pictures.
    areas: (N, 3, K) int64, each picture's intersection, truth and prediction.
    boundary: (N, 4, K) int64 as boundary.boundary_counts, or None where it was not asked for.
    trimap: for each width in pixels a (K, K) matrix over the band, summed over the pictures; empty where not asked for.

    The properties are the scores that code asks for by name; score_table.py has them all.
    A score that has nothing to average over raises EmptyScoreError.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    counts: Counts
    areas: NDArray[np.int64]
    boundary: NDArray[np.int64] | None
    trimap: Mapping[int, Counts]

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction, in [0, 1]."""
        return scores.mean_iou(self.counts)

    @property
    def class_iou(self) -> scores.Floats:
        """(K,) IoU; NaN where a class is absent from truth and prediction."""
        return scores.class_iou(self.counts)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right."""
        return scores.pixel_accuracy(self.counts)

    @property
    def mean_accuracy(self) -> float:
        """Mean recall over the classes of the truth."""
        return scores.mean_accuracy(self.counts)

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that occur in neither truth nor prediction; the means leave them out."""
        used = self.counts.sum(0) + self.counts.sum(1) > 0
        return tuple(name for name, there in zip(self.classes, used, strict=True) if not there)

    @property
    def image_miou(self) -> scores.Floats:
        """(N,) mean IoU of each picture alone, NaN without a labelled pixel. For ranking, not for averaging."""
        return scores.picture_mean_iou(scores.Areas(*np.moveaxis(self.areas, 1, 0)))

    @property
    def boundary_f1(self) -> float | None:
        """Boundary F1 (boundary.boundary_f1); None where it was not counted or no picture has a boundary."""
        return None if self.boundary is None or not self.boundary.any() else borders.boundary_f1(self.boundary)

    @property
    def class_boundary_f1(self) -> scores.Floats | None:
        """(K,) boundary F1 by class, the mean over the pictures with a boundary of it; None if it was not counted."""
        return None if self.boundary is None else borders.class_boundary_f1_over_pictures(self.boundary)

    @cached_property
    def miou_interval(self) -> Interval | None:
        """95 % bootstrap interval of the mean IoU over pictures, 1000 resamples, seed 0; None below FEWEST_PICTURES."""
        return mean_iou_interval(self.areas) if len(self.names) >= FEWEST_PICTURES else None

    def merge(self, other: "Evaluation") -> "Evaluation":
        """Both sets of pictures as one, in any order of merging. Raises DataError for a picture that is in both."""
        if self.classes != other.classes:
            raise DataError(f"evaluations of different classes: {self.classes} and {other.classes}")
        if (self.boundary is None) != (other.boundary is None) or self.trimap.keys() != other.trimap.keys():
            raise DataError("one evaluation has boundary scores that the other lacks; evaluate both alike")
        boundary = None
        if self.boundary is not None and other.boundary is not None:
            boundary = np.concatenate([self.boundary, other.boundary])
        return _sorted(
            self.classes,
            [*self.names, *other.names],
            self.counts + other.counts,
            np.concatenate([self.areas, other.areas]),
            boundary,
            {width: self.trimap[width] + other.trimap[width] for width in self.trimap},
        )

    def in_order(self, classes: Sequence[str], order: Sequence[int]) -> "Evaluation":
        """The same with its classes in another order and by other names. order: the index here of each of them."""
        places = np.array(order, dtype=np.intp)
        square = np.ix_(places, places)
        return Evaluation(
            tuple(classes),
            self.names,
            self.counts[square],
            self.areas[:, :, places],
            None if self.boundary is None else self.boundary[:, :, places],
            {width: counts[square] for width, counts in self.trimap.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """All counts, exactly, as plain data for JSON; from_dict reads it back."""
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "names": list(self.names),
            "counts": self.counts.tolist(),
            "areas": self.areas.tolist(),
            "boundary": None if self.boundary is None else self.boundary.tolist(),
            "trimap": {str(width): counts.tolist() for width, counts in self.trimap.items()},
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Evaluation":
        """The evaluation that to_dict wrote. Raises DataError for any other data."""
        try:
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
            number, k = len(data["names"]), len(data["classes"])
            boundary = data["boundary"]
            return _sorted(
                tuple(map(str, data["classes"])),
                [str(name) for name in data["names"]],
                np.array(data["counts"], dtype=np.int64).reshape(k, k),
                np.array(data["areas"], dtype=np.int64).reshape(number, 3, k),
                None if boundary is None else np.array(boundary, dtype=np.int64).reshape(number, 4, k),
                {int(w): np.array(c, dtype=np.int64).reshape(k, k) for w, c in data["trimap"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not an evaluation as to_dict writes it: {error}; evaluate again") from None


def count_pictures(
    results: Iterable[tuple[str, LabelMap, LabelMap]],
    label_space: LabelSpace,
    *,
    boundary: bool = True,
    trimap_widths: tuple[int, ...] = TRIMAP_WIDTHS,
) -> Evaluation:
    """Count every picture of a set, at the label's own resolution.

    results: (name, truth, prediction) of each picture; both maps (H, W) class indices of one size.
    label_space: the classes, and which label is ignored.
    boundary: also count what boundary F1 and the trimap bands need; takes some milliseconds per picture.
    trimap_widths: the widths of the bands, in pixels on each side of a true border.

    Several processes may each count a part of the pictures and merge. Raises ShapeError or DataError, with the
    picture's name, for maps that do not fit.
    """
    k, widths = label_space.num_classes, trimap_widths if boundary else ()
    counts, trimap = np.zeros((k, k), dtype=np.int64), {width: np.zeros((k, k), dtype=np.int64) for width in widths}
    names, areas, edges = [], [], []
    for name, truth, prediction in results:
        with _naming(name):
            picture = confusion_matrix(truth, prediction, k, label_space.ignore_index)
            if boundary:
                edges.append(boundary_counts(truth, prediction, k, label_space.ignore_index))
                for width, band in trimap_counts(truth, prediction, k, label_space.ignore_index, widths).items():
                    trimap[width] += band
        counts += picture
        names.append(name)
        areas.append(scores.areas_of(picture))
    stacked = np.array(edges, dtype=np.int64).reshape(-1, 4, k) if boundary else None
    return _sorted(label_space.names, names, counts, np.array(areas, dtype=np.int64).reshape(-1, 3, k), stacked, trimap)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the picture's name before the error's message."""
    try:
        yield
    except (DataError, ShapeError) as error:
        raise type(error)(f"{name}: {error}") from None


def _sorted(
    classes: tuple[str, ...],
    names: list[str],
    counts: Counts,
    areas: NDArray[np.int64],
    boundary: NDArray[np.int64] | None,
    trimap: Mapping[int, Counts],
) -> Evaluation:
    """An evaluation with its pictures sorted by name, so the order of counting or merging leaves no trace."""
    order = sorted(range(len(names)), key=names.__getitem__)
    ordered = tuple(names[i] for i in order)
    for first, second in itertools.pairwise(ordered):
        if first == second:
            raise DataError(
                f"picture {first} was evaluated twice and would count twice; give each picture to one process"
            )
    rows = np.array(order, dtype=np.intp)
    return Evaluation(classes, ordered, counts, areas[rows], None if boundary is None else boundary[rows], dict(trimap))
