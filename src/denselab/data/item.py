"""One picture of a data set and where its labels come from; what a layout finds before it is made into a Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from denselab.data.read.encodings import Encoding, Kind, decode
from denselab.data.read.images import read_label_pixels
from denselab.data.read.scan import counts_by_id, read_contents
from denselab.labels import LabelSpace


class LabelSource(Protocol):
    """Where the labels of one picture come from. Pickles, so that loader processes can have it."""

    @property
    def path(self) -> Path:
        """The file to name when something is wrong with the labels."""
        ...

    def ids(self) -> NDArray[Any]:
        """(H, W) ids of the label table, any integer dtype. Raises DataError naming the file."""
        ...

    def summary(self) -> Mapping[int, int]:
        """{id: pixels, roughly}: which ids occur, as cheaply as can be told; {} where the file cannot be read."""
        ...


@dataclass(frozen=True)
class FileLabels:
    """Labels in a picture file of the same size."""

    path: Path
    encoding: Encoding = field(default_factory=Encoding)

    def ids(self) -> NDArray[Any]:
        return decode(read_label_pixels(self.path), self.encoding, self.path)

    def summary(self) -> Mapping[int, int]:
        return counts_by_id(read_contents(self.path), self.encoding)


@dataclass(frozen=True)
class Item:
    """A picture with its labels. name: unique, the picture's posix path below the root, without suffix.

    split: "train", "val", "test" or None (not decided yet). group: the sequence it belongs to; one group, one split.
    """

    name: str
    image: Path
    source: LabelSource
    split: str | None = None
    group: str = ""


@dataclass(frozen=True)
class NamedLabel:
    """What a names file says about one id."""

    id: int
    name: str
    colour: tuple[int, int, int] | None = None
    ignore: bool = False
    background: bool = False


@dataclass(frozen=True)
class Found:
    """What a layout found. encoding and table are None where the label files have to tell (see learn.py).

    encoding_text: the encoding in words. kind: the encoding that the user told, to be completed. names: from a names file
    or data.yaml, by id; named_fully: they are all there is, so that a look into a few label files is enough.
    without_label, without_image: files that have no partner.
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
