"""A data set as a training with weak labels sees it: label maps with codes, made by the method that was chosen."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from denselab.config.settings import BoxMethod, TagMethod
from denselab.data.dataset import Dataset
from denselab.data.item import Item
from denselab.data.weak_labels import BoxLabels, TagLabels, has_mask, index_of
from denselab.errors import DataError
from denselab.files import fitting_name, write_bytes
from denselab.types import LabelMap, Sample
from denselab.weak.boxes import CENTRE, cut_outs, pasted, rectangles
from denselab.weak.codes import CodeBook, box_sets


@dataclass(frozen=True)
class Methods:
    """How weak labels are used.

    boxes: Bbox-Rect, Bbox-Seg, Bbox-EM-Fixed or BoxSup.
    tags: the marginal likelihood, or EM-Adapt's or EM-Fixed's labels at each step.
    centre: of Bbox-Seg, see weak.boxes.
    folder: where the masks of Bbox-Seg are kept, and read again; None: nowhere.
    """

    boxes: BoxMethod = "seg"
    tags: TagMethod = "em-adapt"
    centre: float = CENTRE
    folder: Path | None = None


@dataclass(frozen=True)
class TaughtDataset(Dataset):
    """A data set for the training loader.

    `read` has codes (weak.codes) in the label maps of weak pictures; `read_labels` has class indices, as far as they
    can be said without a network: filled boxes, and nothing of tags.
    chosen: label maps of class indices by name, which the last round of BoxSup has settled.
    """

    book: CodeBook = field(default_factory=lambda: CodeBook(1, 255, None))
    methods: Methods = field(default_factory=Methods)
    chosen: Mapping[str, LabelMap] = field(default_factory=dict, repr=False)

    def read_labels(self, item: Item) -> LabelMap:
        """(H, W) class indices; see the class."""
        return self._filled(item.source) if isinstance(item.source, BoxLabels) else super().read_labels(item)

    def read(self, item: Item) -> Sample:
        """Picture and labels, uint16; with codes where the picture is weak. Raises DataError for differing sizes."""
        sample = super().read(item)
        if has_mask(item):
            return Sample(sample.name, sample.image, sample.labels.astype(np.uint16))
        return Sample(sample.name, sample.image, self._coded(item, sample))

    def used_labels(self, item: Item) -> LabelMap:
        """(H, W) class indices that a weak picture is trained on before its first E-step, for pictures of them."""
        source = item.source
        if isinstance(source, BoxLabels) and self.methods.boxes in ("seg", "boxsup"):
            return self._cut_out(item) if self.methods.boxes == "seg" else self._chosen_labels(item, source)
        return self.read_labels(item)

    def _coded(self, item: Item, sample: Sample) -> NDArray[np.uint16]:
        source = item.source
        if isinstance(source, TagLabels):
            index = index_of(self.label_space)
            return np.full(sample.labels.shape, self.book.tagged(index[tag] for tag in source.tags), np.uint16)
        assert isinstance(source, BoxLabels), "a weak picture has boxes or tags"
        if self.methods.boxes == "em-fixed":
            return self._sets(source)
        return self.book.certain(self.used_labels(item))

    def _sets(self, source: BoxLabels) -> NDArray[np.uint16]:
        labels = np.empty(source.size, np.uint16)
        places = [box.place for box in source.boxes]
        for members, mask in box_sets(self.classes_of(source), places, source.size):
            labels[mask] = self.book.boxed(members)
        return labels

    def classes_of(self, source: BoxLabels) -> list[int]:
        """The class index of each box."""
        index = index_of(self.label_space)
        return [index[box.id] for box in source.boxes]

    @property
    def outside(self) -> int:
        """The label of the pixels outside all boxes."""
        return self.label_space.ignore_index if self.book.background is None else self.book.background

    def _filled(self, source: BoxLabels) -> LabelMap:
        return rectangles(source.boxes, self.classes_of(source), source.size, self.outside, self.label_space.dtype)

    def _chosen_labels(self, item: Item, source: BoxLabels) -> LabelMap:
        return self.chosen[item.name] if item.name in self.chosen else self._filled(source)

    def _cut_out(self, item: Item) -> LabelMap:
        """The label map of Bbox-Seg, computed once and kept in the run."""
        source = item.source
        assert isinstance(source, BoxLabels), "objects are cut out of boxes"
        path = None if self.methods.folder is None else self.methods.folder / mask_name(item.name)
        if path is not None and path.is_file():
            return read_mask(path, source.size)
        image = self.shown(self.read_image(item))
        masks = cut_outs(image, source.boxes, self.methods.centre)
        labels = pasted(source.boxes, self.classes_of(source), masks, source.size, self.outside, self.label_space.dtype)
        if path is not None:
            write_mask(path, labels)
        return labels


def taught(
    dataset: Dataset, book: CodeBook, methods: Methods, chosen: Mapping[str, LabelMap] | None = None
) -> TaughtDataset:
    """The data set as the training sees it."""
    values = {name: getattr(dataset, name) for name in Dataset.__dataclass_fields__}
    return TaughtDataset(**values, book=book, methods=methods, chosen=chosen or {})


def settled_in_rounds(data: TaughtDataset) -> list[Item]:
    """The training pictures whose labels a round settles."""
    on = data.methods.boxes == "boxsup"
    return [item for item in data.of_split("train") if on and isinstance(item.source, BoxLabels)]


def mask_name(name: str) -> str:
    """The file of a picture's mask, one for each name: / is %2F; a digest where that is too long for a file."""
    return f"{fitting_name(name.replace('%', '%25').replace('/', '%2F'))}.png"


def write_mask(path: Path, labels: LabelMap) -> None:
    """A label map of class indices as a grey PNG. Raises ResourceError."""
    buffer = io.BytesIO()
    PILImage.fromarray(labels).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())


def read_mask(path: Path, size: tuple[int, int]) -> LabelMap:
    """A label map that `write_mask` wrote. Raises DataError where it is damaged or of another picture."""
    try:
        with PILImage.open(path) as picture:
            labels = np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it, and it is made again") from None
    if labels.shape != size:
        raise DataError(f"{path}: mask of {labels.shape}, but the picture has {size}; remove it, and it is made again")
    return labels.astype(np.uint8) if labels.dtype == np.uint8 else labels.astype(np.uint16)
