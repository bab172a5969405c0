"""A data set: pictures with labels, one label table, splits. `open_dataset` recognises the layout."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from denselab.data.finding.recognise import recognise
from denselab.data.item import LEFT_OUT, FileLabels, Found, Item, LabelSource
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.infer import Inferred, infer_encoding
from denselab.data.label_files.label_table import alike as alike_names
from denselab.data.label_files.scan import MAX_SCANNED, counts_by_id
from denselab.data.listing.tree import SPLITS
from denselab.data.pixels.images import picture_mode, read_image
from denselab.data.pixels.spectral import SpectralBands, read_spectral, shown_as_rgb
from denselab.data.pixels.spectral_survey import spectral_of
from denselab.data.pixels.white import white_of
from denselab.data.splits.likenesses import LOOKED_AT, Alike, alike, looks
from denselab.data.splits.split import Summary, decide_splits, named_splits, nothing_to_train_on
from denselab.data.weak_items import scored_by_masks, weak_items
from denselab.data.weak_labels import weak_line
from denselab.errors import ConfigError, DataError
from denselab.in_words import first_few, number_of
from denselab.labels import LabelSpace
from denselab.numbers import finite, whole
from denselab.paths import given_path
from denselab.types import Image, LabelMap, Pixels, Sample

__all__ = ["Dataset", "Item", "LabelSource", "open_dataset", "require_outside", "require_trainable"]

PEEKED = 24  # label files that show the encoding where the table is given
SYNTHETIC_TRAIN = 240  # scenes of "synthetic" without a number; a quarter as many for val


@dataclass(frozen=True)
class Dataset:
    """An opened data set. Holds names and tables; pixels are read when asked for.

    layout, encoding: in words.
    items: pictures with their labels; each has a split.
    notes: everything that was inferred, one line each, for the user.
    without_label, without_image: files without a partner.
    white: the number that is white in pictures of more than 8 bits, the same for all; None where they have 8.
    bands: of pictures that are not RGB or grey of 8 bits; None where they are, or are scaled to it by `white`.
    warnings: what `check` warns of, one line each; filled before a training, for its log and report.
    passed_over: what could not be listed or is no file, and why.
    """

    root: Path
    layout: str
    encoding: str
    label_space: LabelSpace
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    without_label: tuple[Path, ...] = ()
    without_image: tuple[Path, ...] = ()
    white: int | None = None
    bands: SpectralBands | None = None
    warnings: tuple[str, ...] = ()
    passed_over: tuple[tuple[Path, str], ...] = ()

    def __len__(self) -> int:
        """How many pictures it has, over all splits."""
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Dataset {self.told()}>"

    def told(self) -> str:
        """Where it is, how it is read, and how many classes and pictures it has."""
        splits = ", ".join(f"{len(self.of_split(split)):,} {split}" for split in self.splits)
        classes = number_of(self.label_space.num_classes, "class", "classes")
        return f"{self.root}: {self.layout}, {classes}, {splits or 'no picture'}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have pictures, in the order train, val, test."""
        present = {item.split for item in self.items}
        return tuple(split for split in SPLITS if split in present)

    def of_split(self, split: str) -> tuple[Item, ...]:
        """The items of a split, () where it has none. Raises DataError unless split is train, val or test."""
        if split not in SPLITS:
            raise DataError(f"split {split!r}; use train, val or test")
        return tuple(item for item in self.items if item.split == split)

    def names_of(self, split: str) -> list[str]:
        """The names of a split's pictures, in order."""
        return [item.name for item in self.of_split(split)]

    def read_image(self, item: Item) -> Pixels:
        """(H, W, 3) uint8 RGB, or the picture's `bands`. Raises DataError naming the file."""
        return read_image(item.image, self.white) if self.bands is None else read_spectral(item.image, self.bands)

    def read_shown(self, item: Item) -> Sample:
        """`read`, with the picture as people see it: (H, W, 3) uint8."""
        sample = self.read(item)
        return replace(sample, image=self.shown(sample.image))

    def shown(self, image: Pixels) -> Image:
        """(H, W, 3) uint8: a picture of this data set as people see it."""
        return shown_as_rgb(image, self.bands)

    def read_labels(self, item: Item) -> LabelMap:
        """(H, W) class indices with ignore_index. Raises DataError naming the file, also for an id not in the table."""
        ids = item.source.ids()
        if ids.dtype == np.uint8 and self._lookup is not None:
            table, stranger = self._lookup
            # bytes.translate takes 0.22 ms for 360 x 480, indexing 0.37; a bytearray keeps the result writable.
            indices = np.frombuffer(bytearray(ids.tobytes()).translate(table), dtype=np.uint8).reshape(ids.shape)
            if stranger is None or not (indices == stranger).any():
                return indices
        try:
            return self.label_space.encode(ids)
        except DataError as error:
            raise DataError(f"{item.source.path}: {error}") from None

    def read(self, item: Item) -> Sample:
        """Picture and labels. Raises DataError naming both files where their sizes differ."""
        image, labels = self.read_image(item), self.read_labels(item)
        if image.shape[:2] != labels.shape:
            raise DataError(
                f"picture {image.shape[0]}x{image.shape[1]} in {item.image} "
                f"but label {labels.shape[0]}x{labels.shape[1]} in {item.source.path} (height x width); "
                "labels must match pixel for pixel: export them again at the picture's size, or take both out"
            )
        return Sample(item.name, image, labels)

    @cached_property
    def _lookup(self) -> tuple[bytes, int | None] | None:
        """256 class indices by id and the mark of unknown ids; None where uint8 cannot hold them beside the mark."""
        space = self.label_space
        if space.num_classes > 254:
            return None
        mark = 254
        table = np.full(256, mark, dtype=np.uint8)
        for entry in space.entries:
            if entry.role == "ignore" and 0 <= entry.id <= 255:
                table[entry.id] = space.ignore_index
        for index, entry in enumerate(space.classes):
            if 0 <= entry.id <= 255:
                table[entry.id] = index
        return table.tobytes(), mark if (table == mark).any() else None


def open_dataset(path: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Open a data set.

    path: a folder in any known layout, a data.yaml, or "synthetic" / "synthetic:N" (N train scenes, drawn when needed)
    val_fraction: share of the pictures for val, 0..1, where the data set gives no split
    seed: of that split

    Raises DataError where the layout is unknown, ambiguous (the message gives both choices as lines for data.yaml), or
    unusable, with the remedy.
    """
    seed = whole(seed, "`seed`", 0)
    if not 0.0 < finite(val_fraction, "`val_fraction`") < 1.0:
        raise DataError(f"val_fraction {val_fraction}; the share of pictures for val lies between 0 and 1, such as 0.2")
    return _open(path, partial(decide_splits, val_fraction=val_fraction, seed=seed, find_alike=_find_alike))


def _find_alike(items: Sequence[Item]) -> list[Alike]:
    """The pairs of pictures that show one scene; none are looked for in more than LOOKED_AT."""
    return alike(looks([item.image for item in items])) if len(items) <= LOOKED_AT else []


def open_as_named(path: str | Path) -> Dataset:
    """Open a data set and draw no split: a picture that no split names has None. path, errors: as `open_dataset`."""
    return _open(path, lambda items, _: named_splits(items))


Divide = Callable[[Sequence[Item], Summary], tuple[tuple[Item, ...], tuple[str, ...]]]
"""Items with their splits, and notes."""


@np.errstate(invalid="ignore", over="ignore")  # of a coordinate that is infinite; drawing it says so, in words
def _open(path: str | Path, divide: Divide) -> Dataset:
    given_path(path, "`data`")
    root = _synthetic(str(path)) if str(path).split(":")[0] == "synthetic" else Path(path)
    root, found = recognise(root)
    if not found.items:
        raise DataError(f"{root}: no picture with a label ({found.layout}); check the folder, or write a data.yaml")
    return _finish(root, found, divide)


def require_trainable(dataset: Dataset) -> None:
    """Raise DataError where train or val is empty, with what to do."""
    if len(dataset.items) < 2:
        raise DataError(
            f"{dataset.root}: {number_of(len(dataset.items), 'picture')} with labels; "
            "training needs at least two: add pictures"
        )
    if not dataset.of_split("train"):
        raise DataError(f"{dataset.root}: {nothing_to_train_on(dataset.splits)}")
    if not dataset.of_split("val"):
        raise DataError(f"{dataset.root}: no picture in val; add some, or name them under `splits` in data.yaml")


def require_outside(dataset: Dataset, folder: Path) -> None:
    """Raise ConfigError where a folder for results lies in the data set: they would be read as data."""
    if folder.resolve().is_relative_to(dataset.root.resolve()):
        raise ConfigError(
            f"{folder} lies inside the data set {dataset.root}, which stays untouched; give another `out`"
        )


def _finish(root: Path, found: Found, divide: Divide) -> Dataset:
    items, notes = tuple(item for item in found.items if item.split != LEFT_OUT), list(found.notes)
    files = [item for item in items if isinstance(item.source, FileLabels)]
    inferred: Inferred | None = None
    if files and (found.encoding is None or found.table is None):
        limit = PEEKED if found.named_fully else MAX_SCANNED
        inferred = infer_encoding(
            [item.source.path for item in files],
            found.names,
            found.encoding or (Encoding(found.kind) if found.kind else None),
            limit,
            found.transparent,
        )
        notes += inferred.notes
    encoding = found.encoding or (inferred.encoding if inferred else Encoding())
    table = found.table or (inferred.table if inferred else None)
    assert table is not None, "a layout without a table has label files, from which one was inferred"
    items = tuple(_with_encoding(item, encoding) for item in items)
    found, items, weak, told = _with_weak(found, items, table)
    items, more = _divided(root, items, weak, partial(divide, items, _Summaries(items, encoding, inferred)))
    notes += told
    bands, depth_note = spectral_of([item.image for item in _trained_on(items)], found.bands, found.white)
    white: int | None = None
    if bands is None:
        white, depth_note = white_of([item.image for item in items], found.white)
    modes = _mode_notes(items) if bands is None else []
    notes += alike_names([entry.name for entry in table.entries])
    notes += [*more, *_partner_notes(found), *modes, *([depth_note] if depth_note else [])]
    description = found.encoding_text or (inferred.description if inferred else encoding.kind)
    return Dataset(
        root,
        found.layout,
        description,
        table,
        items,
        tuple(notes),
        found.without_label,
        found.without_image,
        white,
        bands,
        passed_over=found.passed_over,
    )


def _with_weak(
    found: Found, items: tuple[Item, ...], table: LabelSpace
) -> tuple[Found, tuple[Item, ...], list[Item], list[str]]:
    """Items with masks, items with boxes or tags alone, and notes; the latter are no pictures without a label."""
    named, told = weak_items(found.weak, items, table)
    strong, weak, left_out = scored_by_masks([*items, *named])
    notes = [*told, *left_out]
    if weak:
        notes.append(f"{weak_line(weak, table)}: they only train, val and test are scored on full masks")
    known = {item.image for item in named}
    lonely = tuple(path for path in found.without_label if path not in known)
    return replace(found, without_label=lonely), tuple(strong), weak, notes


def _divided(
    root: Path, items: tuple[Item, ...], weak: Sequence[Item], divide: Callable[[], tuple[tuple[Item, ...], Any]]
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """All items with their splits, and notes. Weak ones train; no val is drawn where the masks are named val already.

    Raises DataError where no picture has a mask.
    """
    if not weak:
        return divide()
    if not items:
        raise DataError(
            f"{root}: every picture has boxes or tags alone; scores need full masks: add masks of some pictures for val"
        )
    held_out = {item.split for item in items} <= {"val", "test"}
    divided, notes = named_splits(items) if held_out else divide()
    return (*divided, *weak), notes


def _trained_on(items: Sequence[Item]) -> Sequence[Item]:
    """The training pictures, whose numbers are measured; all where there are none."""
    return [item for item in items if item.split == "train"] or items


def _with_encoding(item: Item, encoding: Encoding) -> Item:
    if not isinstance(item.source, FileLabels):
        return item
    return replace(item, source=replace(item.source, encoding=encoding))


class _Summaries:
    """{id: pixels} by item. Label files not scanned yet are all read, in threads, at the first question for one."""

    def __init__(self, items: Sequence[Item], encoding: Encoding, inferred: Inferred | None) -> None:
        self._items = items
        self._known: dict[Path, dict[int, int]] = {}
        if inferred is not None:
            self._known = {c.path: counts_by_id(c, encoding) for c in inferred.contents}

    def __call__(self, item: Item) -> dict[int, int]:
        if item.source.path not in self._known:
            missing = [i for i in self._items if i.source.path not in self._known]
            with ThreadPoolExecutor() as pool:
                self._known.update(zip((i.source.path for i in missing), pool.map(summary_of, missing), strict=True))
        return self._known[item.source.path]


def summary_of(item: Item) -> dict[int, int]:
    """{id: pixels, roughly} of an item's labels; {} where they cannot be read, which `check` tells."""
    try:
        return dict(item.source.summary())
    except DataError:
        return {}


def _partner_notes(found: Found) -> list[str]:
    notes = []
    for files, noun, lack in (
        (found.without_label, "picture", "label"),
        (found.without_image, "label", "picture"),
    ):
        if files:
            names = first_few(f.name for f in files)
            notes.append(f"{number_of(len(files), noun)} without a {lack}, left out: {names}")
    return notes


def _mode_notes(items: Sequence[Item]) -> list[str]:
    """What read_image does to pictures of unusual modes, judged by the headers of the first few."""
    modes: dict[str, str] = {}
    for item in items[:8]:
        try:
            modes.setdefault(picture_mode(item.image), item.image.name)
        except DataError:
            continue
    return [f"{text} ({modes[mode]})" for mode, text in MODE_NOTES.items() if mode in modes]


MODE_NOTES: Mapping[str, str] = {
    "RGBA": "pictures have an alpha channel; it is dropped",
    "LA": "pictures have an alpha channel; it is dropped",
    "L": "grey pictures are read as RGB with three equal channels",
    "1": "1-bit pictures are read as RGB",
    "P": "palette pictures are read in their colours",
}


def _synthetic(name: str) -> Path:
    """The folder of the synthetic data set, drawn unless it is there already."""
    from denselab.data.draw.synthetic import write_synthetic

    number = name.partition(":")[2] or str(SYNTHETIC_TRAIN)
    if not number.isdecimal() or int(number) < 1:
        raise DataError(
            f"{name!r}: write synthetic or synthetic:N with a number of train scenes, such as synthetic:100"
        )
    train = int(number)
    folder = f"synthetic-{train}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for base in (cache / "denselab", Path(tempfile.gettempdir()) / "denselab"):
        try:
            base.mkdir(parents=True, exist_ok=True)
            return write_synthetic(base / folder, train=train, val=max(1, train // 4))
        except OSError:
            continue
    raise DataError(
        f"{name}: neither the home folder nor the temporary folder can be written; free space or set TMPDIR"
    )
