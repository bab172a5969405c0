"""Label tables from names: those of a names file, two-valued masks, and object masks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from denselab.data.item import NamedLabel
from denselab.labels import Colour, LabelEntry, LabelSpace, default_colour


def table_of_names(names: Sequence[NamedLabel], colours: dict[int, Colour] | None = None) -> LabelSpace:
    """The table of a names file; a name given twice gets its id behind it."""
    often = Counter(label.name for label in names)
    entries = []
    for label in names:
        name = label.name if often[label.name] == 1 else f"{label.name} ({label.id})"
        colour = label.colour or (colours or {}).get(label.id) or default_colour(label.id)
        role = "ignore" if label.ignore else "background" if label.background else "class"
        entries.append(LabelEntry(label.id, name, colour, role))  # type: ignore[arg-type]
    return LabelSpace(tuple(entries))


def two_valued_table(names: Sequence[NamedLabel] = ()) -> LabelSpace:
    """0 and 255 as two classes; two names without ids 0 and 255 are taken in their order."""
    labels = sorted(names, key=lambda label: label.id)
    if len(labels) != 2:
        labels = [NamedLabel(0, "class 0", (0, 0, 0)), NamedLabel(255, "class 255", (255, 255, 255))]
    return table_of_names([replace(labels[0], id=0), replace(labels[1], id=255)])


def object_table() -> LabelSpace:
    """0 background, 1 object."""
    return LabelSpace((LabelEntry(0, "background", (0, 0, 0), "background"), LabelEntry(1, "object", (230, 80, 40))))
