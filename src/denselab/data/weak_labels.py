"""Labels that say less than a mask: boxes around the objects of a picture, or the classes that it shows.

They are label sources like any other. As a label map they hold what is certain and nothing else: outside all boxes is
background; inside them, and in a picture of which only the tags are known, no pixel counts. What a training makes of
them beyond that is up to the room `weak/`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import Item
from denselab.data.pixels.images import picture_size
from denselab.in_words import number_of
from denselab.labels import NODATA, LabelSpace


@dataclass(frozen=True)
class Box:
    """A box around an object; id: of the label table; top, left, bottom, right: pixels, the last two excluded."""

    id: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class BoxLabels:
    """A picture of which the boxes of its objects are known.

    path: the file that they are from.
    size: (height, width) of the picture.
    boxes: clipped to the picture.
    background: id of what lies outside; None: nothing is known of it.
    """

    path: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    background: int | None = 0

    def ids(self) -> NDArray[Any]:
        """(H, W) int32: background outside the boxes, no data inside."""
        ids = np.full(self.size, NODATA if self.background is None else self.background, np.int32)
        for box in self.boxes:
            ids[box.place] = NODATA
        return ids

    def summary(self) -> Mapping[int, int]:
        """{id: area of its boxes}."""
        areas = Counter[int]()
        for box in self.boxes:
            areas[box.id] += box.area
        return areas


@dataclass(frozen=True)
class TagLabels:
    """A picture of which the classes that it shows are known, and not where.

    path: the file that they are from.
    image: the picture.
    tags: ids of the classes, background left out.
    """

    path: Path
    image: Path
    tags: tuple[int, ...]

    def ids(self) -> NDArray[Any]:
        """(H, W) int32: no data anywhere. Raises DataError where the picture cannot be read."""
        return np.full(picture_size(self.image), NODATA, np.int32)

    def summary(self) -> Mapping[int, int]:
        """{id: 1}."""
        return dict.fromkeys(self.tags, 1)


Weak = BoxLabels | TagLabels


def is_weak(source: object) -> TypeGuard[Weak]:
    """Whether a label source is boxes or tags alone."""
    return isinstance(source, BoxLabels | TagLabels)


def has_mask(item: Item) -> bool:
    """Whether a picture has a full mask."""
    return not is_weak(item.source)


def clipped(label_id: int, corners: Sequence[float], size: tuple[int, int]) -> Box | None:
    """The box of real numbers (top, left, bottom, right) on the pixels of a picture that it touches by half or more.

    None where no pixel is left.
    """
    height, width = size
    top, left, bottom, right = (int(np.floor(value + 0.5)) for value in corners)
    box = Box(label_id, max(top, 0), max(left, 0), min(bottom, height), min(right, width))
    return box if box.area else None


def background_id(space: LabelSpace) -> int | None:
    """The id of the class `background`; None where the table has none."""
    return next((entry.id for entry in space.classes if entry.role == "background"), None)


def index_of(space: LabelSpace) -> dict[int, int]:
    """{id: class index}."""
    return {entry.id: index for index, entry in enumerate(space.classes)}


def named_weakly(items: Iterable[Item], space: LabelSpace) -> NDArray[np.int64]:
    """(K,) how many of the pictures name each class by a box or a tag."""
    index, count = index_of(space), np.zeros(space.num_classes, np.int64)
    for item in items:
        if is_weak(item.source):
            named = item.source.tags if isinstance(item.source, TagLabels) else [box.id for box in item.source.boxes]
            count[[index[i] for i in set(named) if i in index]] += 1
    return count


def weak_line(items: Iterable[Item], space: LabelSpace) -> str:
    """One line on the pictures with boxes or tags alone, and how often each class occurs; "" where there are none."""
    sources = [item.source for item in items]
    boxes, tags = ([s for s in sources if isinstance(s, kind)] for kind in (BoxLabels, TagLabels))
    names = {entry.id: entry.name for entry in space.entries}
    told = []
    if boxes:
        count = Counter(names.get(box.id, str(box.id)) for s in boxes if isinstance(s, BoxLabels) for box in s.boxes)
        told.append(f"{number_of(len(boxes), 'picture')} with boxes alone ({_listed(count)})")
    if tags:
        count = Counter(names.get(tag, str(tag)) for s in tags if isinstance(s, TagLabels) for tag in s.tags)
        told.append(f"{number_of(len(tags), 'picture')} with tags alone ({_listed(count)})")
    return " and ".join(told)


def _listed(count: Counter[str]) -> str:
    common = [f"{number} {name}" for name, number in count.most_common(6)]
    more = f" and {len(count) - 6} more classes" if len(count) > 6 else ""
    return (", ".join(common) or "none") + more
