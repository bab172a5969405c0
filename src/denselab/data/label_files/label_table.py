"""Label tables from names: those of a names file, two-valued masks, and object masks."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from denselab.data.item import NamedLabel
from denselab.data.label_files.encodings import MAX_COLOURS
from denselab.data.label_files.scan import Contents
from denselab.data.pixels.images import lossy_form
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import VOID_COLOUR, Colour, LabelEntry, LabelSpace, default_colour, labels_line

# What tools write into pixels of which nothing is known; 255, 65535 and negative numbers are left out at once.
MARKERS = (99, 254, 999, 9999, 32767, 65534)
MOST_OBJECTS = 100  # of one class in all pictures, whose numbers stand behind that of the class
FEW_STRANGE = 8  # colours that no name has; as many may be classes of their own
NEAR_COLOUR = 16  # levels in each channel
LOW_SHARE = 0.25  # of a marker: all ids are lower
NO_LABEL = LabelEntry(255, "no label", VOID_COLOUR, "ignore")
BACKGROUND = NamedLabel(0, "background", (0, 0, 0), background=True)


def alike(names: Sequence[str]) -> list[str]:
    """A note where names differ in capitals, blanks, hyphens only: two people may have meant one class."""
    folded: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded["".join(filter(str.isalnum, name.casefold())) or name].append(name)
    groups = [same for same in folded.values() if len(same) > 1]
    only = "capitals" if all(len({name.casefold() for name in same}) == 1 for same in groups) else "capitals or blanks"
    pairs = "; ".join(" and ".join(name if name == name.strip() else repr(name) for name in same) for same in groups)
    return [f"names that differ in {only} only are classes of their own: {pairs}"] if groups else []


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


def told_apart(rows: Sequence[LabelEntry]) -> tuple[list[LabelEntry], list[str]]:
    """Rows, with the id behind a name that two of them have, and a note that says so."""
    often = Counter(row.name for row in rows)
    double = [name for name, count in often.items() if count > 1]
    told = [f"{first_few(double)}: one name for several ids, which are classes of their own"] if double else []
    return [replace(row, name=f"{row.name} ({row.id})") if often[row.name] > 1 else row for row in rows], told


def colour_entry(label_id: int, colour: Colour) -> LabelEntry:
    """A class that is called by its colour; black is the background."""
    if colour == (0, 0, 0):
        return LabelEntry(label_id, "background", colour, "background")
    return LabelEntry(label_id, "#{:02x}{:02x}{:02x}".format(*colour), colour)


def of_strange(strange: Sequence[Colour], given: Sequence[NamedLabel]) -> list[str]:
    """A note of the colours of label files that no name has; with the line that names them too, where they are few."""
    if not strange:
        return []
    note = f"{number_of(len(strange), 'colour')} in no table: {first_few(strange)}"
    if len(strange) > FEW_STRANGE or any(label.background for label in given):
        return [note]
    first = max(label.id for label in given) + 1
    more = [colour_entry(first + n, colour) for n, colour in enumerate(sorted(strange))]
    line = labels_line((*table_of_names(given).entries, *more), colours=True)
    return [f"{note}; where they are classes too, write {line} in data.yaml"]


def by_grey(names: Sequence[NamedLabel], contents: Sequence[Contents]) -> Sequence[NamedLabel]:
    """Names with the grey of their colour as id, where the files hold greys: road 255 255 255 before background 0 0 0.

    Else their place in the table would count. So it does where the files hold other numbers.
    """
    greys = [label.colour[0] for label in names if label.colour is not None and len(set(label.colour)) == 1]
    if len(set(greys)) < max(2, len(names)) or not all(c.grey for c in contents):
        return names
    held = {value for c in contents for value in c.values()}
    if held <= set(greys) or (set(greys) == {0, 255} and max(held, default=0) > 1):
        return sorted((replace(n, id=grey) for n, grey in zip(names, greys, strict=True)), key=lambda n: n.id)
    return names


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


def too_many_names(path: Path, names: Sequence[NamedLabel]) -> DataError:
    """The error for 0/255 masks beside three names or more: 255 would be taken for ignore."""
    zero = next((label.name for label in names if label.id == 0), "background")
    rows = labels_line((LabelEntry(0, zero, (0, 0, 0)), LabelEntry(255, "foreground", (255, 255, 255))))
    return DataError(
        f"{path}: the labels hold 0 and 255 only, but {len(names)} classes have names "
        f"({first_few(label.name for label in names)}); write in data.yaml {rows} for what they show, or give the "
        "labels in which the classes have numbers"
    )


def refuse_other_numbers(path: Path, values: Sequence[int], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where fewer than two of the numbers in label files have a name.

    values: the numbers that occur, without that of ignored pixels

    The names count otherwise than the files, from 0 where those count from 1. The line that is offered gives them in
    their order where there are as many as numbers.
    """
    classes = [label for label in names if not label.ignore]
    by_id = {label.id: label for label in names}
    if len(values) < 2 or sum(value in by_id for value in values) > 1:
        return
    texts = [by_id[v].name if v in by_id else f"class {v}" for v in values]
    texts = [label.name for label in classes] if len(classes) == len(values) else texts
    rows = [LabelEntry(v, name, default_colour(v)) for v, name in zip(values, texts, strict=True)]
    listed = first_few((f"{label.id} {label.name}" for label in names), 8)
    raise DataError(
        f"{path}: the labels hold {first_few(values, 8)}, but the names that are given count otherwise ({listed}); "
        f"write in data.yaml which is which, such as {labels_line(rows)}"
    )


def refuse_shifted_names(path: Path, values: Sequence[int], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where names count from 0 and the label files' numbers may be one higher: the last has no name.

    values: the numbers that occur, without that of ignored pixels

    Then 0 is the background, which the list leaves out, or occurs nowhere.
    """
    count = len(names)
    if sorted(label.id for label in names) != list(range(count)) or any(n.ignore or n.background for n in names):
        return
    if count < 2 or not values or values[-1] != count or values[0] < 0:
        return
    higher = [replace(label, id=label.id + 1) for label in names]
    rows = table_of_names([BACKGROUND, *higher] if values[0] == 0 else higher).entries
    last = max(names, key=lambda label: label.id)
    raise DataError(
        f"{path}: the labels hold {count}, but the {count} names end with {last.id} {last.name}. Where they count "
        f"one lower than the labels, write in data.yaml {labels_line(rows)}; else add the name of {count}"
    )


def refuse_shared_colours(path: Path, colours: Collection[Colour], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where a colour that occurs is that of two classes, with a line for each of the two.

    path: of a label file. colours: that occur.
    """
    by_colour: dict[Colour, list[NamedLabel]] = defaultdict(list)
    for label in names:
        if label.colour is not None and label.colour in colours:
            by_colour[label.colour].append(label)
    shared = {c: rows for c, rows in by_colour.items() if len(rows) > 1 and not all(row.ignore for row in rows)}
    if not shared:
        return
    colour, rows = next(iter(shared.items()))
    but_first = [row for same in shared.values() for row in same[1:]]
    but_last = [row for same in shared.values() for row in same[:-1]]
    kept = ([label for label in names if label not in left_out] for left_out in (but_first, but_last))
    lines = [labels_line(table_of_names(some).entries, colours=True) for some in kept]
    raise DataError(
        f"{path}: the names that are given have one colour {colour} for {' and '.join(row.name for row in rows)}; "
        f"write in data.yaml which of them it is: {' or '.join(lines)}"
    )


def refuse_other_colours(path: Path, strange: Sequence[Colour], given: Sequence[NamedLabel]) -> None:
    """Raise DataError where colours that no name has are theirs but for red and blue exchanged, or but for noise.

    path: of a label file. strange: colours that occur and that no name has. given: names with their colours.
    """
    table = {label.colour: label for label in given if label.colour is not None}
    if strange and all(_exchanged(colour) in table for colour in strange):
        rows = [replace(label, colour=_exchanged(colour)) for colour, label in table.items()]
        raise DataError(
            f"{path}: the colours, such as {strange[0]}, are those of the names with red and blue exchanged; write in "
            f"data.yaml {labels_line(table_of_names(rows).entries, colours=True)}"
        )
    if len(strange) > max(FEW_STRANGE, len(table)) and all(is_near(colour, table) for colour in strange):
        raise DataError(
            f"{path}: {len(strange)} colours, such as {strange[0]}, are near one of the names, and of none: the labels "
            "were smoothed, compressed or coloured loosely; save each pixel in the very colour of its class, as PNG"
        )


def refuse_lossy_colours(contents: Sequence[Contents], colours: int) -> None:
    """Raise DataError for many colours in files of a format that changes them. colours: in all files"""
    lossy = next((c.path for c in contents if c.lossy), None)
    if lossy is not None and colours > MAX_COLOURS:
        raise DataError(
            f"{lossy}: {colours:,} colours in the label files; {lossy_form(lossy)} changes them. Export the labels as "
            "PNG; from these files alone they cannot be had again"
        )


def _exchanged(colour: Colour) -> Colour:
    return colour[2], colour[1], colour[0]


def is_near(colour: Colour, table: Collection[Colour]) -> bool:
    """Whether a colour differs from one of the table by a few levels at most."""
    return any(max(abs(a - b) for a, b in zip(colour, known, strict=True)) <= NEAR_COLOUR for known in table)


def refuse_two_voids(path: Path, values: Sequence[int], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where 0 is named as unlabelled and 255, which has no name, may be what is meant by that.

    path: of a label file. values: the numbers that occur

    Then the names may count one higher than the files, as those of COCO-Stuff do. Not so where the last one occurs.
    """
    by_id = {label.id: label for label in names}
    last = max(by_id, default=0)
    is_open = 0 in by_id and by_id[0].ignore and 255 not in by_id and {0, 255} <= set(values) and last not in values
    if not is_open or sorted(by_id) != list(range(last + 1)):
        return
    entries = table_of_names(names).entries
    higher = [replace(e, id=e.id - 1) for e in entries if e.id > 0]
    as_they_are, one_lower = (labels_line((*rows, NO_LABEL)) for rows in (entries, higher))
    raise DataError(
        f"{path}: 0, which is named {by_id[0].name}, and 255, which has no name: both may be what has no label. Either "
        f"the names are those of the numbers (write {as_they_are} in data.yaml), or they count one higher than the "
        f"files, where 0 is {higher[0].name} (write {one_lower})"
    )


def refuse_lone_marker(path: Path, values: Sequence[int]) -> None:
    """Raise DataError for a number far above all others that tools write where nothing is known, with both answers.

    path: of a label file. values: the numbers that occur, which have no names
    """
    classes = [value for value in values if value not in (255, 65535)]
    marker = classes[-1] if classes else 0
    if marker not in MARKERS or len(classes) < 3 or classes[-2] > LOW_SHARE * marker:
        return
    if marker == 254 and 255 not in values:  # alone it is as likely an id
        return
    rows = [LabelEntry(v, f"class {v}", default_colour(v)) for v in values if v <= marker]
    rows += [LabelEntry(v, "ignore", default_colour(v), "ignore") for v in values if v > marker]
    without = [replace(row, name="no label", role="ignore") if row.id == marker else row for row in rows]
    raise DataError(
        f"{path}: the labels hold {first_few(classes, 8)}. Either {marker} is a class too (write {labels_line(rows)} "
        f"in data.yaml) or it is left out (write {labels_line(without)})"
    )


def refuse_overrun(path: Path, values: Sequence[int]) -> None:
    """Raise DataError where the numbers beside 0 are the last of 8 bits, 255 and 254, with both answers.

    path: of a label file. values: the numbers that occur, which have no names

    Ids that were multiplied by 255 to be seen run over: 1 is 255, 2 is 254. Else 255 may be what has no label.
    """
    high = [value for value in values if value != 0]
    if len(high) < 2 or len(high) > FEW_STRANGE or high != list(range(256 - len(high), 256)):
        return
    rows = [LabelEntry(0, "class 0", (0, 0, 0)), *(LabelEntry(v, f"class {v}", default_colour(v)) for v in high)]
    times = [replace(row, name=f"class {-row.id % 256}") for row in rows]
    void = [*rows[:-1], replace(rows[-1], name="no label", role="ignore")]
    raise DataError(
        f"{path}: the labels hold {first_few(values, 8)}. Either they are ids times 255, which runs over 8 bits: 255 "
        f"is 1 and 254 is 2 (write {labels_line(times)} in data.yaml), or 255 is left out (write {labels_line(void)})"
    )


def refuse_divided(path: Path, values: Sequence[int], names: Sequence[NamedLabel]) -> None:
    """Raise DataError for numbers of a class and an object in one, as Cityscapes (26001) and KITTI (6657) write them.

    path: of a label file. values: the numbers that occur

    The objects of each class count from 0 or 1. With the number of a class alone, lower ones may stand beside them.
    """
    strange = set(values) - {label.id for label in names}
    for divisor, fewest in ((1000, 1), (256, 2)):
        of_class: dict[int, list[int]] = defaultdict(list)
        for value in values:
            if value >= divisor and value != 65535:
                of_class[value // divisor].append(value % divisor)
        counted = all(own[0] <= 1 and own[-1] - own[0] == len(own) - 1 < MOST_OBJECTS for own in of_class.values())
        several = max(map(len, of_class.values()), default=0) > 1 and len(of_class) >= fewest
        if strange and several and counted and max(of_class) <= 255:
            line = "`encoding: divided`" + (f" and `divisor: {divisor}`" if divisor != 1000 else "")
            raise DataError(
                f"{path}: the labels hold {first_few(values, 8)}. Either they are a class times {divisor} and the "
                f"number of an object (write {line} in data.yaml), or each is a class (write `encoding: index`)"
            )


def object_table() -> LabelSpace:
    """0 background, 1 object."""
    return LabelSpace((LabelEntry(0, "background", (0, 0, 0), "background"), LabelEntry(1, "object", (230, 80, 40))))
