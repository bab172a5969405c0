"""Label tables from names: those of a names file, two-valued masks, and object masks."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from denselab.data.item import NamedLabel
from denselab.errors import DataError
from denselab.labels import Colour, LabelEntry, LabelSpace, default_colour

BACKGROUND = NamedLabel(0, "background", (0, 0, 0), background=True)


def alike(names: Sequence[str]) -> list[str]:
    """A note where names differ in capitals only: two people may have meant one class."""
    folded: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded[name.casefold()].append(name)
    pairs = [" and ".join(same) for same in folded.values() if len(same) > 1]
    return [f"names that differ in capitals only are classes of their own: {'; '.join(pairs)}"] if pairs else []


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
    """0 and 255 as two classes; two names without ids 0 and 255 are taken in their order.

    Without names 0 is background and 255 foreground. A single name is that of 255, unless it is background. Raises
    DataError for more than two names.
    """
    labels = sorted((label for label in names if not label.ignore), key=lambda label: label.id)
    if not labels:
        labels = [NamedLabel(0, "background", (0, 0, 0)), NamedLabel(255, "foreground", (255, 255, 255))]
    if len(labels) == 1 and labels[0].background:
        labels.append(NamedLabel(255, "foreground"))
    if len(labels) == 1:
        labels.insert(0, BACKGROUND)
    if len(labels) > 2:
        listed = ", ".join(label.name for label in labels)
        raise DataError(f"two-valued masks show two classes, but {len(labels)} have names ({listed}); list two of them")
    return table_of_names([replace(labels[0], id=0), replace(labels[1], id=255)])


def object_table() -> LabelSpace:
    """0 background, 1 object."""
    return LabelSpace((LabelEntry(0, "background", (0, 0, 0), "background"), LabelEntry(1, "object", (230, 80, 40))))
