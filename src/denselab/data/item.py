"""One picture with the source of its labels, and Found: what a layout knows before it becomes a Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from denselab.data.label_files.encodings import Encoding, Kind, decode
from denselab.data.label_files.scan import counts_by_id, read_contents
from denselab.data.label_files.shapes import two_valued_mask
from denselab.data.label_files.transparent import cleared, transparent
from denselab.data.pixels.images import picture_mode, read_label_colours, read_label_pixels
from denselab.data.pixels.spectral_survey import GivenBands
from denselab.errors import DataError
from denselab.labels import NODATA, LabelSpace

LEFT_OUT = "left out"  # the split of a picture that no list names, where lists say who trains


class LabelSource(Protocol):
    """Where the labels of one picture come from."""

    @property
    def path(self) -> Path:
        """The file to name in errors about the labels."""
        ...

    def ids(self) -> NDArray[Any]:
        """(H, W) ids of the label table, any integer dtype. Raises DataError naming the file."""
        ...

    def summary(self) -> Mapping[int, int]:
        """{id: pixels, roughly}: which ids occur, estimated cheaply; {} where the file cannot be read."""
        ...


@dataclass(frozen=True)
class FileLabels:
    """Labels stored as a picture file. ignore_mask: a two-valued file; where it is 0, no label counts."""

    path: Path
    encoding: Encoding = field(default_factory=Encoding)
    ignore_mask: Path | None = None

    def ids(self) -> NDArray[Any]:
        pixels = read_label_colours(self.path) if self.encoding.kind == "colour" else read_label_pixels(self.path)
        if self.encoding.clear:
            pixels = cleared(pixels, transparent(self.path, picture_mode(self.path)))
        ids = decode(pixels, self.encoding, self.path)
        if self.ignore_mask is None:
            return ids
        seen = two_valued_mask(self.ignore_mask)
        if seen.shape != ids.shape:
            raise DataError(
                f"{self.ignore_mask}: ignore mask of {seen.shape[0]}x{seen.shape[1]}, but the label {self.path.name} "
                f"has {ids.shape[0]}x{ids.shape[1]}; both have the size of the picture"
            )
        return np.where(seen, ids.astype(np.int32), np.int32(NODATA))

    def summary(self) -> Mapping[int, int]:
        return counts_by_id(
            read_contents(self.path, self.encoding.clear, self.encoding.kind == "colour"), self.encoding
        )


@dataclass(frozen=True)
class Item:
    """A picture with its labels.

    name: unique in the data set; the picture's posix path below the root, without suffix.
    split: "train", "val", "test", or None (not decided yet). LEFT_OUT until a Dataset is made of what was found.
    group: the sequence it belongs to; a group stays in one split.
    """

    name: str
    image: Path
    source: LabelSource
    split: str | None = None
    group: str = ""

    def __repr__(self) -> str:
        return f"<Item {self.name}: {self.split or 'no split'}, labels from {self.source.path.name}>"


@dataclass(frozen=True)
class NamedLabel:
    """One row of a names file: an id, its name, and its colour and role where given."""

    id: int
    name: str
    colour: tuple[int, int, int] | None = None
    ignore: bool = False
    background: bool = False


Corners = tuple[float, float, float, float]
"""Top, left, bottom, right of a box, pixels."""


@dataclass(frozen=True)
class NamedWeak:
    """What a file says of a picture, before the label table is known.

    image: the picture. name: below the root, without suffix.
    file: that says it.
    split: where folder or file tell it.
    boxes: (class, (top, left, bottom, right)) of each; None where only the tags are known.
    tags: class names.
    size: (height, width), where the file says it.
    """

    image: Path
    name: str
    file: Path
    split: str | None = None
    boxes: tuple[tuple[str, Corners], ...] | None = None
    tags: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Found:
    """What a recogniser found.

    table, encoding: None where they have to be inferred from the label files (infer.py).
    encoding_text: the encoding in words.
    kind: an encoding that the user gave without its details.
    names: from a names file or data.yaml, by id.
    named_fully: the names are complete, so that a look into a few label files is enough.
    without_label, without_image: files without a partner.
    white: the number for white in deep pictures, where the user gave it.
    bands: what data.yaml and the files' names say of the pictures' bands.
    transparent: what transparent pixels of label pictures are, where the user said it.
    passed_over: what could not be listed or is no file, and why.
    weak: pictures of which files name boxes or tags; those that have no mask become items.
    divided: lists or data.yaml have given the splits; no other file is asked for them.
    """

    layout: str
    items: tuple[Item, ...]
    table: LabelSpace | None = None
    encoding: Encoding | None = None
    encoding_text: str = ""
    kind: Kind | None = None
    named_fully: bool = False
    names: tuple[NamedLabel, ...] = ()
    notes: tuple[str, ...] = ()
    without_label: tuple[Path, ...] = ()
    without_image: tuple[Path, ...] = ()
    white: int | None = None
    bands: GivenBands = field(default_factory=GivenBands)
    transparent: Literal["ignore", "keep"] | None = None
    passed_over: tuple[tuple[Path, str], ...] = ()
    weak: tuple[NamedWeak, ...] = ()
    divided: bool = False
