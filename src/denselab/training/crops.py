"""Crops of a data set as a data set of their own: DeconvNet's two stages, for the training loop as it is.

Noh, Hong, Han, ICCV 2015, arXiv 1505.04366, section 5, as its release's data layer cuts them. Stage 1: a box around
each object, 1.2 times as large; the labels are the object's class, and background for all else. Stage 2: proposals that
overlap an object, 1.2 times as large, with all classes. Where a crop leaves the picture it is black and not labelled.
Rare classes are balanced by repetition. A crop is stretched to 250/224 of the network's input, from which the
augmentation cuts the input at random.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.console import tracked
from denselab.data.dataset import Dataset, Item
from denselab.data.objects import read_objects, source_of
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image
from denselab.errors import CheckpointError, DataError
from denselab.files import read_json, write_json
from denselab.inference.instance_wise import around, cut
from denselab.proposals.boxes import Boxes, enlarged, overlaps
from denselab.proposals.sources import source_named
from denselab.run_folder import STAGE_PROPOSALS
from denselab.types import LabelMap, Pixels, Sample

logger = logging.getLogger(__name__)

ENLARGE = 1.2
STRETCH = 250 / 224  # the release resizes a crop to 250 and cuts 224 at random
OVERLAP = 0.5  # IoU with an object from which a proposal is trained on; the authors' is not known
PROPOSED, TAKEN = 400, 20  # proposals looked at in a picture, and taken at most: the best by overlap
KEPT = 4  # pictures whose labels are kept while their crops are read
MOST_REPEATS = 10  # of a crop, however rare its class
JUDGED = 50  # crops of a class that a validation sees at most: of small objects it would see hundreds of a picture


@dataclass(frozen=True)
class CropItem(Item):
    """A crop of a picture.

    of: the picture.
    box: top, left, bottom, right; it may leave the picture.
    number: of the object whose class alone is labelled (stage 1); 0: all classes (stage 2).
    index: class of the object that it shows.
    """

    of: Item | None = None
    box: tuple[int, int, int, int] = (0, 0, 1, 1)
    number: int = 0
    index: int = 0


@dataclass(frozen=True)
class CropDataset(Dataset):
    """A data set whose items are crops. size: (height, width) that each is stretched to."""

    size: tuple[int, int] = (250, 250)
    whole: Dataset | None = field(default=None, repr=False)
    _read: dict[str, tuple[LabelMap, NDArray[np.int32] | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def names_of(self, split: str) -> list[str]:
        """The names of a split's pictures, also of those without a crop: a run's split is one of pictures."""
        return self._whole.names_of(split)

    def read_image(self, item: Item) -> Pixels:
        """(h, w, 3) uint8 of a crop, or other bands (types.Pixels), stretched."""
        whole = replace(self._whole, white=self.white, bands=self.bands).read_image(_picture(item))
        return resize_image(cut(whole, _crop(item).box, around(self.bands)), self.size)

    def read_labels(self, item: Item) -> LabelMap:
        """(h, w) class indices of a crop, stretched."""
        crop = _crop(item)
        labels, numbers = self._labels_of(crop)
        if numbers is not None:
            labels = only(labels, numbers == crop.number, self._background, self.label_space.ignore_index)
        part = cut(labels, crop.box, (self.label_space.ignore_index,)).copy()  # the picture's labels are kept
        return resize_labels(part, self.size)

    def _labels_of(self, crop: CropItem) -> tuple[LabelMap, NDArray[np.int32] | None]:
        """The labels of a crop's picture, and in stage 1 the numbers of its objects.

        Those of the last pictures are kept: a picture has up to hundreds of crops, each object may be a file.
        """
        picture = _picture(crop)
        found = self._read.get(picture.name)
        if found is None:
            numbers = read_objects(self._whole, picture).numbers if crop.number else None
            found = self._read[picture.name] = (self._whole.read_labels(picture), numbers)
            for old in list(self._read)[:-KEPT]:
                self._read.pop(old, None)
        return found

    def read(self, item: Item) -> Sample:
        """A crop and its labels."""
        return Sample(item.name, self.read_image(item), self.read_labels(item))

    @property
    def _whole(self) -> Dataset:
        assert self.whole is not None, "crops are cut from a data set"
        return self.whole

    @property
    def _background(self) -> int:
        space = self.label_space
        return space.ignore_index if space.background is None else space.background


def object_crops(dataset: Dataset, imgsz: tuple[int, int], quiet: bool = False) -> CropDataset:
    """Stage 1: a crop around each object of train and val. Raises DataError where a split has none."""
    items: list[CropItem] = []
    for item in tracked(dataset.items, "objects", quiet=quiet):
        if item.split in ("train", "val"):
            objects = read_objects(dataset, item)
            boxes = enlarged(objects.boxes, ENLARGE)
            for (number, index), box in zip(objects.classes.items(), boxes.tolist(), strict=True):
                items.append(_item(item, number, index, box, number))
    logger.info(f"stage 1: {len(items)} objects, from {source_of(dataset.items[0])}")
    return _finished(dataset, items, imgsz)


def proposal_crops(
    dataset: Dataset, imgsz: tuple[int, int], source: str, run: Path | None = None, quiet: bool = False
) -> CropDataset:
    """Stage 2: the proposals of train and val that overlap an object by OVERLAP, 1.2 times as large.

    source: of the proposals, see proposals.sources.
    run: where the boxes are kept, in STAGE_PROPOSALS, and read again; None: nowhere.
    Raises DataError where a split has none, MissingExtra, CheckpointError for a damaged file of boxes.
    """
    kept = _stored(run, source) if run else {}
    items: list[CropItem] = []
    fresh: dict[str, Any] = {}
    for item in tracked(dataset.items, "proposals", quiet=quiet):
        if item.split in ("train", "val"):
            rows = kept[item.name] if item.name in kept else _proposals(dataset, item, imgsz, source)
            fresh[item.name] = rows
            items += [_item(item, i, row[0], row[1:], 0) for i, row in enumerate(rows)]
    if run and fresh != kept:
        write_json(run / STAGE_PROPOSALS, {"source": source, "overlap": OVERLAP, "boxes": fresh})
    logger.info(f"stage 2: {len(items)} proposals from {source} that overlap an object by {OVERLAP:g} or more")
    return _finished(dataset, items, imgsz)


def _proposals(dataset: Dataset, item: Item, imgsz: tuple[int, int], source: str) -> list[list[int]]:
    """[class of the object overlapped most, top, left, bottom, right] of each proposal taken, the best first."""
    objects = read_objects(dataset, item)
    found: Boxes = source_named(source)(dataset.shown(dataset.read_image(item)), PROPOSED, imgsz)
    if not objects.classes or not len(found):
        return []
    shared = overlaps(found, objects.boxes)
    best = shared.max(axis=1)
    order = [i for i in np.argsort(-best, kind="stable")[:TAKEN] if best[i] >= OVERLAP]
    classes = list(objects.classes.values())
    boxes = enlarged(found, ENLARGE)
    return [[classes[int(shared[i].argmax())], *boxes[i].tolist()] for i in order]


@dataclass(frozen=True)
class StageBoxes:
    """The boxes of a run's second stage.

    source: of the proposals.
    overlap: with an object, IoU, from which one was taken.
    boxes: by picture, [class of the object, top, left, bottom, right] each, 1.2 times as large as proposed.
    """

    source: str
    overlap: float
    boxes: dict[str, list[list[int]]]


def stage_boxes(run: Path) -> StageBoxes | None:
    """The boxes that lie in a run folder; None where there are none. Raises CheckpointError for a damaged file."""
    path = run / STAGE_PROPOSALS
    if not path.is_file():
        return None
    record = read_json(path)
    source, overlap, boxes = (record.get(key) for key in ("source", "overlap", "boxes"))
    if not (isinstance(source, str) and isinstance(overlap, float | int) and isinstance(boxes, dict)):
        raise CheckpointError(f"{path} holds no boxes; remove it")
    return StageBoxes(source, overlap, boxes)


def _stored(run: Path, source: str) -> dict[str, list[list[int]]]:
    """The boxes by picture that an interrupted run left. Raises CheckpointError for a damaged file."""
    found = stage_boxes(run)
    return found.boxes if found and (found.source, found.overlap) == (source, OVERLAP) else {}


def only(labels: LabelMap, mask: NDArray[np.bool_], background: int, ignore: int) -> LabelMap:
    """The labels of one object; all else is background, and what was ignored stays so."""
    kept = labels.copy()
    kept[~mask & (labels != ignore)] = background
    return kept


def _item(of: Item, place: int, index: int, box: Sequence[int], number: int) -> CropItem:
    top, left, bottom, right = (int(side) for side in box)
    name = f"{of.name}#{place}"
    return CropItem(name, of.image, of.source, of.split, of.group, of, (top, left, bottom, right), number, index)


def balanced(items: Sequence[CropItem]) -> list[CropItem]:
    """The items, those of rare classes repeated until each class has about as many as the commonest."""
    count = Counter(item.index for item in items)
    most = max(count.values(), default=0)
    result: list[CropItem] = []
    for item in items:
        times = min(round(most / count[item.index]), MOST_REPEATS)
        result += [item if i == 0 else replace(item, name=f"{item.name}x{i + 1}") for i in range(times)]
    return result


def judged(items: Sequence[CropItem]) -> list[CropItem]:
    """The items, in order; of a class with more than JUDGED of them so many, evenly spread over all of its own."""
    by_class: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        by_class.setdefault(item.index, []).append(place)
    taken = set[int]()
    for places in by_class.values():
        count = min(len(places), JUDGED)
        taken.update(places[i * len(places) // count] for i in range(count))
    return [items[place] for place in sorted(taken)]


def _finished(dataset: Dataset, items: Sequence[CropItem], imgsz: tuple[int, int]) -> CropDataset:
    train = [item for item in items if item.split == "train"]
    val = [item for item in items if item.split == "val"]
    for split, found in (("train", train), ("val", val)):
        if not found:
            raise DataError(
                f"{dataset.root}: no object in {split} to train stages on; "
                "use other proposals (stage_proposals=edgeboxes), more pictures, or train without `stages`"
            )
    seen = judged(val)
    if len(seen) < len(val):
        logger.info(f"validations see {len(seen)} of the {len(val)} crops of val, at most {JUDGED} of a class")
    size = (round(imgsz[0] * STRETCH), round(imgsz[1] * STRETCH))
    values = {name: getattr(dataset, name) for name in Dataset.__dataclass_fields__ if name != "items"}
    return CropDataset(items=(*balanced(train), *seen), size=size, whole=dataset, **values)


def _crop(item: Item) -> CropItem:
    assert isinstance(item, CropItem), "a data set of crops holds crops"
    return item


def _picture(item: Item) -> Item:
    of = _crop(item).of
    assert of is not None, "a crop is cut from a picture"
    return of
