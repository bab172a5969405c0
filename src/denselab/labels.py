"""The label table: which ids occur in the label files, their names and colours, and which of them are classes.

Files hold *ids* (any integers). Networks and scores use *class indices* 0..K-1, numbered by rising id. An id of role
"ignore" has no index: its pixels become `ignore_index` and are left out of the loss and of every score.
"""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from denselab.errors import DataError
from denselab.numbers import whole, written
from denselab.types import LabelMap

MAX_ID = 2**31 - 1  # label maps hold ids as int32
MAX_LABELS = 65_535  # an index map has 16 bits, one index of which is ignore
NODATA = -(2**31)  # the "id" of pixels that a file declares as having no data; in no table, always ignored

Role = Literal["class", "background", "ignore"]
Colour = tuple[int, int, int]
VOID_COLOUR: Colour = (224, 224, 192)  # of the borders of objects in PASCAL VOC; here of all that is left out


@dataclass(frozen=True)
class LabelEntry:
    """One row of the label table.

    id: the number in the files
    name: of the label
    colour: RGB 0..255
    role: "class", "background" (also a class, of everything that has no other) or "ignore"

    Raises DataError for a number that is not whole or out of range, a name that is no text, or an unknown role.
    """

    id: int
    name: str
    colour: Colour
    role: Role = "class"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise DataError(f"label table: the name of id {self.id!r} is {self.name!r}; write it in quotes")
        number = whole(self.id, f"label table: the id of {self.name!r}", error=DataError)
        if abs(number) > MAX_ID:
            raise DataError(f"label table: id {str(number)[:30]} of {self.name!r} does not fit into 32 bits")
        if self.role not in get_args(Role):
            raise DataError(f"label table: role {self.role!r} of {self.name!r}; use one of {get_args(Role)}")
        object.__setattr__(self, "id", number)
        object.__setattr__(self, "colour", self._checked_colour())

    def _checked_colour(self) -> Colour:
        what = f"label table: the colour of {self.name!r}"
        values = tuple(self.colour) if isinstance(self.colour, Iterable) else ()
        numbers = [whole(value, what, 0, DataError) for value in values]
        if len(numbers) != 3 or max(numbers) > 255:
            raise DataError(f"{what} is {self.colour!r}; expected three numbers 0..255")
        return numbers[0], numbers[1], numbers[2]


@dataclass(frozen=True)
class LabelSpace:
    """The label table of a data set, and the mapping between ids in files and class indices in arrays.

    entries: the rows, in any order

    Raises DataError for ids or names listed twice, or a table without classes.
    """

    entries: tuple[LabelEntry, ...]

    def __post_init__(self) -> None:
        _refuse_twice("id", [entry.id for entry in self.entries])
        _refuse_twice("name", [entry.name for entry in self.entries])
        if self.num_classes == 0:
            raise DataError("label table: no entry is a class; at least one must not have the role 'ignore'")

    @cached_property
    def classes(self) -> tuple[LabelEntry, ...]:
        """The entries that are predicted and scored, by rising id; their position is the class index."""
        return tuple(sorted((e for e in self.entries if e.role != "ignore"), key=lambda e: e.id))

    @property
    def num_classes(self) -> int:
        """K, the number of classes (background counts, ignore does not)."""
        return sum(entry.role != "ignore" for entry in self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by class index."""
        return tuple(entry.name for entry in self.classes)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """(K, 3) uint8 RGB colours by class index."""
        return np.array([entry.colour for entry in self.classes], dtype=np.uint8).reshape(-1, 3)

    @property
    def ignore_index(self) -> int:
        """The index of ignored pixels: 255, or 65535 if there are more than 255 classes."""
        return 255 if self.num_classes <= 255 else 65535

    @property
    def background(self) -> int | None:
        """The class index of the background; None where no class has that role."""
        return next((index for index, entry in enumerate(self.classes) if entry.role == "background"), None)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """dtype of index maps: uint8, or uint16 if there are more than 255 classes."""
        return np.uint8 if self.num_classes <= 255 else np.uint16

    def encode(self, ids: NDArray[Any], unknown: Literal["error", "ignore"] = "error") -> LabelMap:
        """Class indices of an array of ids. Ids of role ignore, and NODATA, become ignore_index.

        ids: any shape and integer dtype
        unknown: "error" refuses ids that are not in the table, "ignore" maps them to ignore_index

        Raises DataError that names the first unknown id.
        """
        values, inverse = _unique(ids)
        index_of = {entry.id: index for index, entry in enumerate(self.classes)}
        known = {entry.id for entry in self.entries}
        strangers = [int(v) for v in values if int(v) not in known and v != NODATA]
        if strangers and unknown != "ignore":
            raise DataError(
                f"label id {strangers[0]} is not in the label table (ids {_span(known)}); "
                f"correct the label file, or write in data.yaml {self.line_with(strangers[:1])}"
            )
        table = np.array([index_of.get(int(v), self.ignore_index) for v in values], dtype=self.dtype)
        return cast(LabelMap, table[inverse].reshape(ids.shape))

    def line_with(self, ids: Sequence[int]) -> str:
        """The line of data.yaml for this table with further ids, which are left out: role ignore.

        Two lines where 0 is among them: names that begin at 1 mostly leave out the background, which is a class.
        """
        more = [LabelEntry(i, f"unknown {i}", default_colour(i), "ignore") for i in ids]
        left_out = labels_line((*self.entries, *more))
        if 0 not in ids or "background" in self.names:
            return left_out
        ground = [LabelEntry(0, "background", default_colour(0)) if entry.id == 0 else entry for entry in more]
        return f"{labels_line((*self.entries, *ground))} where 0 is the background, {left_out} where it is left out"

    def decode(self, indices: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]:
        """The ids of an array of class indices, in the smallest of uint8, uint16, int32 that holds the table's ids.

        indices: any shape

        ignore_index becomes the first id of role ignore that is 0 or more; it stays if the table has none.
        Raises DataError for what is no index of a class.
        """
        if not np.issubdtype(indices.dtype, np.integer):
            raise DataError(f"indices have dtype {indices.dtype}; whole numbers were expected")
        strange = ((indices < 0) | (indices >= self.num_classes)) & (indices != self.ignore_index)
        if strange.any():
            raise DataError(
                f"index {indices[strange][0]} is no class: there are {self.num_classes}, from 0, and "
                f"{self.ignore_index} for ignored pixels"
            )
        ids = [entry.id for entry in self.classes]
        # A negative id would need a signed dtype, which PNG does not have.
        void = next((e.id for e in self.entries if e.role == "ignore" and e.id >= 0), self.ignore_index)
        low, high = min([*ids, void]), max([*ids, void])
        dtype = np.int32 if low < 0 or high > 65535 else np.uint8 if high <= 255 else np.uint16
        table = np.full(self.ignore_index + 1, void, dtype=dtype)
        table[: len(ids)] = ids
        return np.asarray(table[indices])

    def to_list(self) -> list[dict[str, Any]]:
        """The table as plain data for JSON and YAML."""
        return [{"id": e.id, "name": e.name, "colour": list(e.colour), "role": e.role} for e in self.entries]

    @staticmethod
    def from_list(rows: Iterable[Mapping[str, Any]]) -> "LabelSpace":
        """The table from the rows of `to_list`.

        rows: name, colour and role may be missing

        Raises DataError for a malformed row.
        """
        entries = []
        for position, row in enumerate(rows):
            if position == MAX_LABELS:
                raise DataError(f"label table: more than {MAX_LABELS:,} labels; a label file cannot hold more")
            try:
                label_id = _written_id(row["id"], position)
                name = row.get("name", f"class {label_id}")
                colour = row.get("colour", default_colour(label_id))
                entries.append(LabelEntry(label_id, _text(name), colour, row.get("role", "class")))
            except (KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"label table: row {position} ({row!r}) is not {{id, name, colour, role}}: {error}"
                ) from None
        return LabelSpace(tuple(entries))


LISTED_ROWS = 40  # of a line of `labels`; a longer one is no help


def labels_line(entries: Iterable[LabelEntry], *, colours: bool = False, classes: bool = False) -> str:
    """The label table as one line for data.yaml, with backticks; only the key where it has more than 40 rows.

    colours: with the colours, as colour-coded labels need them
    classes: without the roles, so that every id is a class
    """
    rows: list[dict[str, Any]] = []
    for e in sorted(entries, key=lambda e: e.id):
        role = {} if classes or e.role == "class" else {"role": e.role}
        rows.append({"id": e.id, "name": e.name, **({"colour": list(e.colour)} if colours else {}), **role})
    if len(rows) > LISTED_ROWS:
        return "`labels`"
    text = yaml.safe_dump(rows, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000)
    return f"`labels: {text.strip()}`"


def partners(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """The one of `known` that each of some class names means, {name: known name}; a name without one is left out.

    Capitals do not count, but where names of either side differ in them alone: those are classes of their own.
    """
    own, others = _by_letters(names), _by_letters(known)
    found = {}
    for letters, same in own.items():
        theirs = others.get(letters, [])
        found.update({name: name for name in same if name in theirs})
        if len(same) == len(theirs) == 1:
            found[same[0]] = theirs[0]
    return found


def _by_letters(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what they are without capitals."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.casefold(), []).append(name)
    return found


def default_colour(label_id: int) -> Colour:
    """A colour for an id that has none: black for 0, then hues a golden angle apart, so that neighbours differ."""
    if label_id == 0:
        return (0, 0, 0)
    lightness = (0.5, 0.65, 0.38)[label_id % 3]
    red, green, blue = colorsys.hls_to_rgb(
        (0.02 + 0.618034 * max(-MAX_ID, min(label_id, MAX_ID))) % 1.0, lightness, 0.72
    )
    return (round(red * 255), round(green * 255), round(blue * 255))


def _written_id(value: Any, row: int) -> int:
    try:
        return written(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"label table: the id in row {row} is {value!r}; expected a whole number") from None


def _text(name: Any) -> Any:
    """A name that YAML read as a number, as text; not a truth value, whose word (no, off) is lost."""
    return str(name) if isinstance(name, int | float) and not isinstance(name, bool) else name


def _refuse_twice(kind: str, values: Sequence[int] | Sequence[str]) -> None:
    seen = set[int | str]()
    for value in values:
        seen_before = value in seen
        seen.add(value)
        if seen_before:
            raise DataError(f"label table: {kind} {value!r} is listed twice; give each label its own {kind}")


def _unique(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Values and inverse as of numpy.unique; small values are counted, which is much faster for label maps."""
    if not np.issubdtype(ids.dtype, np.integer) and ids.dtype != np.bool_:
        raise DataError(f"labels have dtype {ids.dtype}; whole numbers were expected")
    if ids.dtype == np.bool_:  # as an index below it would be a mask
        ids = ids.astype(np.uint8)
    if ids.size and ids.min() >= 0 and ids.max() <= 65535:
        flat = ids.ravel()
        present = np.bincount(flat)
        values = np.flatnonzero(present)
        position = np.zeros(len(present), dtype=np.intp)
        position[values] = np.arange(len(values))
        return values, position[flat]
    values, inverse = np.unique(ids, return_inverse=True)
    return values, inverse.ravel()


def _span(ids: Iterable[int]) -> str:
    ordered = sorted(ids)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}..{ordered[-1]}"
    return ", ".join(map(str, ordered[:12])) + (", ..." if len(ordered) > 12 else "")
