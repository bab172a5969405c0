"""Which training pictures teach by masks, which by boxes or tags; and boxes and tags made of masks."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from denselab.data.dataset import Dataset
from denselab.data.item import Item
from denselab.data.objects import read_objects
from denselab.data.splits.lists import apply_lists, read_list
from denselab.data.weak_labels import Box, BoxLabels, TagLabels, Weak, background_id, clipped, has_mask, is_weak
from denselab.errors import ConfigError, DataError
from denselab.in_words import first_few, number_of

logger = logging.getLogger(__name__)

Teaching = Literal["auto", "masks", "boxes", "tags"]
"""What training pictures teach by. auto: each by the best that it has."""


def weakened(dataset: Dataset, labels: Teaching = "auto", strong: int | str | None = None, seed: int = 0) -> Dataset:
    """The data set whose training pictures teach by `labels`; val and test keep their masks, which scores need.

    labels: "boxes" and "tags" look at no outline: boxes and tags are made of the masks of those that have one, and tags
        of boxes. What says less than that is left out, which is logged.
    strong: which training pictures keep their mask: how many (drawn by `seed`), or a file that lists them. None: all
        where some pictures have boxes or tags alone, and none where all have masks.
    seed: of the draw.
    Raises ConfigError for more strong pictures than there are, DataError where nothing is left to train on.
    """
    train = dataset.of_split("train")
    if labels == "auto" or not train:
        _refuse_strong(labels, strong)
        return dataset
    masks = [item for item in train if has_mask(item)]
    kept = {item.name for item in _strong(dataset, masks, strong, seed, all_masks=len(masks) == len(train))}
    if labels == "masks":
        _refuse_strong(labels, strong)
        kept = {item.name for item in masks}
    weak = {item.name: _taught_by(dataset, item, labels) for item in train if item.name not in kept}
    left_out = [name for name, source in weak.items() if source is None]
    if left_out:
        logger.info(f"{number_of(len(left_out), 'picture')} without {labels}, left out: {first_few(left_out)}")
    items = tuple(
        item
        if weak.get(item.name, item.source) is item.source
        else replace(item, source=weak[item.name] or item.source)
        for item in dataset.items
        if item.split != "train" or item.name in kept or weak[item.name] is not None
    )
    if not any(item.split == "train" for item in items):
        raise DataError(f"{dataset.root}: no training picture has {labels}; give another `labels`")
    return replace(dataset, items=items)


def teaching_line(dataset: Dataset) -> str:
    """Which training pictures are strong and which are weak, in words; "" where all are strong."""
    train = dataset.of_split("train")
    boxes = sum(isinstance(item.source, BoxLabels) for item in train)
    tags = sum(isinstance(item.source, TagLabels) for item in train)
    if not boxes and not tags:
        return ""
    strong = len(train) - boxes - tags
    kinds = [(strong, "full masks (strong)"), (boxes, "boxes alone (weak)"), (tags, "tags alone (weak)")]
    told = ", ".join(f"{count} by {how}" for count, how in kinds if count)
    return f"training pictures: {told}; val and test are scored on full masks only"


def _refuse_strong(labels: str, strong: int | str | None) -> None:
    if strong is not None:
        raise ConfigError(f"`strong` {strong} goes with `labels` boxes or tags, not with {labels}: leave it out")


def _strong(
    dataset: Dataset, masks: Sequence[Item], strong: int | str | None, seed: int, all_masks: bool
) -> Sequence[Item]:
    """The training pictures that keep their masks."""
    if strong is None:
        return () if all_masks else masks
    if isinstance(strong, str) and not strong.isdecimal():
        return _listed(dataset, masks, Path(strong))
    count = int(strong)
    if count > len(masks):
        raise ConfigError(f"`strong` {count}, but {number_of(len(masks), 'training picture')} have masks: give fewer")
    drawn = np.random.default_rng(seed).permutation(len(masks))[:count]
    return [masks[index] for index in sorted(drawn.tolist())]


def _listed(dataset: Dataset, masks: Sequence[Item], path: Path) -> list[Item]:
    place = path if path.is_file() or path.is_absolute() else dataset.root / path
    if not place.is_file():
        raise ConfigError(f"`strong` {path}: neither a number nor a file here or in {dataset.root}")
    marked, _ = apply_lists([replace(item, split=None) for item in masks], {"test": read_list(place)}, str(place))
    chosen = {item.name for item in marked if item.split == "test"}
    return [item for item in masks if item.name in chosen]


def _taught_by(dataset: Dataset, item: Item, labels: str) -> Weak | None:
    """The source of a weak training picture; None where it says less than is asked for."""
    source = item.source
    if labels == "boxes":
        if isinstance(source, BoxLabels):
            return source
        return None if is_weak(source) else _boxes_of(dataset, item)
    if labels == "tags":
        if isinstance(source, TagLabels):
            return source
        return _tags_of(dataset, item)
    return None


def _boxes_of(dataset: Dataset, item: Item) -> BoxLabels:
    """The boxes of the objects of a mask; `source_of` says how objects are told apart."""
    objects = read_objects(dataset, item)
    ids = [entry.id for entry in dataset.label_space.classes]
    size = (objects.numbers.shape[0], objects.numbers.shape[1])
    made = [
        clipped(ids[index], corners, size)
        for index, corners in zip(objects.classes.values(), objects.boxes.tolist(), strict=True)
    ]
    return BoxLabels(item.source.path, size, _known(made), background_id(dataset.label_space))


def _known(boxes: Sequence[Box | None]) -> tuple[Box, ...]:
    return tuple(box for box in boxes if box is not None)


def _tags_of(dataset: Dataset, item: Item) -> TagLabels:
    """The classes of a mask, or of boxes, without the background."""
    if isinstance(item.source, BoxLabels):
        return TagLabels(item.source.path, item.image, tuple(sorted({box.id for box in item.source.boxes})))
    labels = dataset.read_labels(item)
    classes = dataset.label_space.classes
    present = [int(i) for i in np.unique(labels) if i != dataset.label_space.ignore_index]
    tags = tuple(classes[i].id for i in present if classes[i].role != "background")
    return TagLabels(item.source.path, item.image, tags)
