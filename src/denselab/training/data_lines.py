"""What a run says of its data beyond `check`: classes that are not learnt or not measured, and what the size costs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.data.counting import COUNTED, count_class_pixels
from denselab.data.dataset import Dataset, Item
from denselab.data.feed.fit import fit_factor, fit_size
from denselab.data.layouts.rectangles import rectangles_alone
from denselab.data.many_files import spread
from denselab.data.resizing.resample import resize_labels
from denselab.data.weak_labels import named_weakly
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

RESIZED = 32  # label maps that are reduced to see which classes vanish
REDUCED = 0.8  # of the pictures' size; nearer to 1 is not worth a line
ALIKE = 0.05  # between the factors of two pictures that are told as one
LISTED = 6  # names in a line
WARNING = "warning: "  # begins the lines that are more than a remark


def data_lines(
    dataset: Dataset, train_pixels: NDArray[np.int64], sizes: Sequence[tuple[int, int]], imgsz: tuple[int, int]
) -> list[str]:
    """One line for each thing that is worth knowing; [] where there is none.

    train_pixels: (n, K) of up to COUNTED training pictures
    sizes: (height, width) of a sample of them
    imgsz: (height, width) of the training
    """
    return [*_rectangles(dataset), *_absent(dataset, train_pixels), *_resampling(dataset, sizes, imgsz)]


def remarks_and_warnings(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines that are remarks alone, and the warnings without that word."""
    remarks = [line for line in lines if not line.startswith(WARNING)]
    return remarks, [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]


def _rectangles(dataset: Dataset) -> list[str]:
    """Rectangles in place of outlines, which may be boxes around objects."""
    if not rectangles_alone(dataset.of_split("val")):
        return []
    if rectangles_alone(dataset.of_split("train")):
        told = "boxes around objects teach more with labels=boxes, and scores need outlines"
        return [f"warning: all shapes are rectangles, read as full masks; {told}"]
    return ["warning: all shapes of val are rectangles, read as full masks; scores need outlines of the objects"]


def _absent(dataset: Dataset, train_pixels: NDArray[np.int64]) -> list[str]:
    """Classes that one split lacks and the other has; silent where a split is larger than what was counted.

    And where `check` has said it: it reads all of a small data set.
    """
    train, val = dataset.of_split("train"), dataset.of_split("val")
    if max(len(train), len(val)) > COUNTED:
        return []
    try:
        in_train = train_pixels.sum(axis=0) + named_weakly(train, dataset.label_space) > 0
        in_val = count_class_pixels(dataset, val).sum(axis=0) > 0
    except DataError:  # `check` names the file
        return []
    names = np.array(dataset.label_space.names)
    lines = []
    for split, lacks, use in (
        ("train", in_val & ~in_train, "never learnt"),
        ("val", in_train & ~in_val, "not measured"),
    ):
        told = f"warning: {split} has no pixel of "
        if lacks.any() and not any(line.startswith(told) for line in dataset.warnings):
            lines.append(f"{told}{first_few(names[lacks], LISTED)}: {use}")
    return lines


def _resampling(dataset: Dataset, sizes: Sequence[tuple[int, int]], imgsz: tuple[int, int]) -> list[str]:
    """By how much pictures are reduced, and how many label maps lose a class by it."""
    scales = sorted((fit_factor(size, imgsz), size) for size in sizes)
    if not scales or scales[0][0] >= REDUCED:
        return []
    (most, (height, width)), (least, _) = scales[0], scales[-1]
    size = f"({height}x{width} to {imgsz[0]}x{imgsz[1]})"
    if least - most < ALIKE:
        line = f"pictures are reduced to {most:.2f} of their size {size}"
    else:
        reduced = sum(scale < REDUCED for scale, _ in scales)
        line = f"{reduced} of {len(scales)} pictures looked at are reduced, at most to {most:.2f} of their size {size}"
    items = spread(dataset.of_split("train"), RESIZED)
    lost = _vanished(dataset, items, imgsz)
    if not lost:
        return [line]
    told = ", ".join(f"{name} in {count}" for name, count in lost.items())
    return [f"warning: {line}; of {number_of(len(items), 'label')} looked at, whole classes vanish: {told}"]


def _vanished(dataset: Dataset, items: Sequence[Item], imgsz: tuple[int, int]) -> dict[str, int]:
    """{class: label maps that show it, but no longer at the size of the training}."""
    counts = np.zeros(dataset.label_space.num_classes, np.int64)
    for item in items:
        try:
            labels = dataset.read_labels(item)
        except DataError:  # `check` names the file
            continue
        small = resize_labels(labels, fit_size((labels.shape[0], labels.shape[1]), imgsz))
        for index in np.setdiff1d(np.unique(labels), np.unique(small)):
            if index < len(counts):
                counts[index] += 1
    return {name: int(n) for name, n in zip(dataset.label_space.names, counts, strict=True) if n}
