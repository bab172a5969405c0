"""How a label map says that a picture is weakly labelled: its numbers stand for what is known of a pixel.

The loader scales, cuts and mirrors a label map with its picture; the E-step needs the network's scores for the same
crop. So weak maps travel as label maps whose numbers, above those of the classes, are codes: `of class c, but from a
weak label`, `in a box of these classes`, `in a picture with these tags`. `decided` turns them into class indices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.config.settings import TagMethod
from denselab.errors import DataError
from denselab.weak.biases import BIASES, PORTIONS, adaptive_biases, fixed_biases

MOST = 65_535  # label maps are uint16

Region = tuple[tuple[int, ...], NDArray[np.bool_]]  # classes, (H, W)


@dataclass
class CodeBook:
    """What the codes of a run stand for. It only grows, also from several threads.

    num_classes, ignore_index: of the label table.
    background: its class index; None where there is none.
    tags: EM-Adapt or EM-Fixed decide the pixels of pictures with tags alone; "marginal": nothing does, see `latent`.
    portions: of EM-Adapt. biases: of EM-Fixed.
    """

    num_classes: int
    ignore_index: int
    background: int | None
    tags: TagMethod = "em-adapt"
    portions: tuple[float, float] = PORTIONS
    biases: tuple[float, float] = BIASES
    _sets: list[tuple[tuple[int, ...], bool]] = field(default_factory=list, repr=False)
    _numbers: dict[tuple[tuple[int, ...], bool], int] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def certain(self, labels: NDArray[Any]) -> NDArray[np.uint16]:
        """The codes of class indices that are from a weak label; ignored pixels stay ignored."""
        table = np.full(max(self.ignore_index, self.num_classes) + 1, self.ignore_index, np.uint16)
        table[: self.num_classes] = [self._label(index) for index in range(self.num_classes)]
        return np.asarray(table[labels])

    def tagged(self, classes: Iterable[int]) -> int:
        """The code of every pixel of a picture with these classes; the background is added."""
        own = [] if self.background is None else [self.background]
        return self._code((*sorted({*classes, *own}),), of_picture=True)

    def boxed(self, classes: Iterable[int]) -> int:
        """The code of the pixels inside boxes of exactly these classes; of () those outside all boxes."""
        return self._code((*sorted(set(classes)),), of_picture=False)

    def _code(self, classes: tuple[int, ...], of_picture: bool) -> int:
        key = (classes, of_picture)
        with self._lock:
            if key not in self._numbers:
                self._numbers[key] = self.num_classes + len(self._sets)
                self._sets.append(key)
            return self._label(self._numbers[key])

    def _label(self, number: int) -> int:
        """The number in a label map: above the classes, around ignore_index."""
        label = self.num_classes + number
        label += label >= self.ignore_index
        if label > MOST:
            raise DataError(f"more than {MOST} sets of tags or boxes and classes; train on fewer classes")
        return label

    def decided(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Class indices (B, H, W) in place of codes, and which pictures are weakly labelled, (B,) bool.

        scores: (B, K, H, W) of the network; no gradient passes through this step.
        labels: (B, H, W) int64, class indices, codes, or ignore_index.
        """
        coded = (labels >= self.num_classes) & (labels != self.ignore_index)
        weak = coded.flatten(1).any(dim=1)
        if not weak.any():
            return labels, weak
        result = labels.clone()
        for picture in weak.nonzero()[:, 0].tolist():
            here = coded[picture]
            found = labels[picture][here]
            result[picture][here] = self._chosen(scores[picture].detach(), here, self._numbers_of(found))
        return result, weak

    def latent(self, labels: Tensor) -> list[tuple[int, tuple[int, ...], Tensor]]:
        """Pictures whose tags rule classes out: (number in the batch, classes that a pixel may have, (H, W) bool).

        None where an E-step decides the pixels.
        """
        if self.tags != "marginal":
            return []
        numbers = self._numbers_of(labels)
        tagged = (numbers >= self.num_classes) & (labels != self.ignore_index)
        found: list[tuple[int, tuple[int, ...], Tensor]] = []
        for picture in tagged.flatten(1).any(dim=1).nonzero()[:, 0].tolist():
            here = tagged[picture]
            classes, of_picture = self._sets[int(numbers[picture][here][0]) - self.num_classes]
            found += [(picture, classes, here)] if of_picture else []
        return found

    def _numbers_of(self, labels: Tensor) -> Tensor:
        """Of codes the number that they stand for: below num_classes a class, above it a set."""
        return labels - self.num_classes - (labels > self.ignore_index).long()

    def _chosen(self, scores: Tensor, here: Tensor, numbers: Tensor) -> Tensor:
        """(N,) classes of the coded pixels of one picture."""
        if int(numbers.max()) < self.num_classes:
            return numbers
        own = scores[:, here].float()
        classes, of_picture = self._sets[int(numbers.max()) - self.num_classes]
        if of_picture and self.tags == "marginal":
            return torch.full_like(numbers, self.ignore_index)
        if of_picture and self.tags == "em-adapt":
            return adaptive_biases(own, classes, self.background, self.portions).argmax(dim=0)
        kinds, which = numbers.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        rows = torch.stack([self._row(int(number)) for number in kinds]).to(own.device)
        return (own + rows[which].T).argmax(dim=0)

    def _row(self, number: int) -> Tensor:
        """(K,) biases of a code: those of EM-Fixed, or all for one class."""
        if number < self.num_classes:
            row = torch.full((self.num_classes,), -torch.inf)
            row[number] = 0.0
            return row
        return fixed_biases(self.num_classes, self._sets[number - self.num_classes][0], self.background, self.biases)


def box_sets(classes: Sequence[int], places: Sequence[tuple[slice, slice]], size: tuple[int, int]) -> list[Region]:
    """[((classes,), (H, W) bool)] of the regions that boxes of exactly these classes cover; outside, ().

    classes, places: of each box. Regions do not overlap and fill the picture.
    """
    kinds = sorted(set(classes))
    covered = {index: np.zeros(size, bool) for index in kinds}
    for index, place in zip(classes, places, strict=True):
        covered[index][place] = True
    regions: list[Region] = [((), np.ones(size, bool))]
    for index in kinds:
        split: list[Region] = []
        for own, mask in regions:
            for members, part in (((*own, index), mask & covered[index]), (own, mask & ~covered[index])):
                if part.any():
                    split.append((members, part))
        regions = split
    return regions
