"""Boxes and tags that files name become items of a data set, once its label table is known."""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from denselab.data.item import Item, NamedWeak
from denselab.data.pixels.images import picture_size
from denselab.data.weak_labels import BoxLabels, TagLabels, Weak, background_id, clipped, has_mask
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import LabelSpace, partners


def weak_items(records: Sequence[NamedWeak], items: Sequence[Item], space: LabelSpace) -> tuple[list[Item], list[str]]:
    """Items of the pictures that have no mask, and notes. Raises DataError for a class that is not in the table.

    items: those that there are. Boxes win over tags of the same picture.
    """
    taken = {item.image.resolve(): has_mask(item) for item in items}
    masked = sum(taken.get(record.image.resolve(), False) for record in records)
    found: dict[object, Item] = {}
    lost: list[str] = []
    for record in sorted(records, key=lambda record: record.boxes is None):
        place = record.image.resolve()
        if place not in taken and place not in found:
            source = _source(record, space)
            found[place] = Item(record.name, record.image, source, record.split)
            if isinstance(source, BoxLabels) and len(source.boxes) < len(record.boxes or ()):
                lost.append(record.name)
    notes = []
    if lost:
        told = number_of(len(lost), "picture")
        notes.append(
            f"{told} with boxes turned about or outside, which hold no pixel and are left out: {first_few(lost)}"
        )
    if masked:
        files = first_few(dict.fromkeys(record.file.name for record in records))
        notes.append(f"{number_of(masked, 'picture')} of {files} with a mask too: the mask counts")
    return list(found.values()), notes


def scored_by_masks(items: Sequence[Item]) -> tuple[list[Item], list[Item], list[str]]:
    """Items with masks, weak items for training, and a note on weak ones that val or test name, which are left out."""
    strong = [item for item in items if has_mask(item)]
    weak = [item for item in items if not has_mask(item)]
    held_out = [item for item in weak if item.split in ("val", "test")]
    notes = []
    if held_out:
        splits = " and ".join(sorted({str(item.split) for item in held_out}))
        names = first_few(item.name for item in held_out)
        notes.append(
            f"{number_of(len(held_out), 'picture')} of {splits} without a full mask, left out: scores need one: {names}"
        )
    return strong, [replace(item, split="train", group=item.name) for item in weak if item not in held_out], notes


def _source(record: NamedWeak, space: LabelSpace) -> Weak:
    if record.boxes is None:
        ids = {_id_of(tag, record, space) for tag in record.tags}
        return TagLabels(record.file, record.image, tuple(sorted(ids - {background_id(space)})))
    size = record.size or picture_size(record.image)
    made = [clipped(_id_of(name, record, space), corners, size) for name, corners in record.boxes]
    return BoxLabels(record.file, size, tuple(box for box in made if box is not None), background_id(space))


def _id_of(name: str, record: NamedWeak, space: LabelSpace) -> int:
    """The id of a class by its name, or by the id itself. Raises DataError."""
    meant = partners([name], space.names).get(name)
    for entry in space.classes:
        if entry.name == meant or (meant is None and str(entry.id) == name):
            return entry.id
    near = difflib.get_close_matches(name, space.names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"the classes are {first_few(space.names, 12)}"
    raise DataError(f"{record.file}: {name!r} of {record.image.name} is no class of the label table; {hint}")
