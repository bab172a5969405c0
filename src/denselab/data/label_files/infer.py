"""Infers the encoding and the label table of label files that nobody described.

Every inference becomes a note. Where the files can be understood in two ways, DataError gives the line for data.yaml
of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from denselab.data.item import NamedLabel
from denselab.data.label_files.encodings import MAX_COLOURS, Encoding, Kind, colour_of_code
from denselab.data.label_files.label_table import (
    BACKGROUND,
    by_grey,
    colour_entry,
    object_table,
    of_strange,
    refuse_divided,
    refuse_lone_marker,
    refuse_lossy_colours,
    refuse_other_colours,
    refuse_other_numbers,
    refuse_overrun,
    refuse_shared_colours,
    refuse_shifted_names,
    refuse_two_voids,
    table_of_names,
    too_many_names,
    two_valued_table,
)
from denselab.data.label_files.likeness import (
    are_red,
    is_smeared_two_valued,
    looks_like_objects,
    refuse_counted,
    refuse_grey_levels,
    refuse_grey_pictures,
)
from denselab.data.label_files.negative import ignoring_negative, kept, split_negative
from denselab.data.label_files.scan import MAX_SCANNED, Contents, counts_by_id, scan, total_counts
from denselab.data.label_files.transparent import ask
from denselab.data.label_files.unlike import (
    refuse_colour_for_each_object,
    refuse_dithered,
    refuse_restless,
    refuse_scaled_colours,
    refuse_shuffled_palettes,
    refuse_smoothed_colours,
    refuse_third_level,
    refuse_two_kinds,
)
from denselab.data.pixels.images import lossy_form, read_palette
from denselab.data.pixels.tiff import read_tags
from denselab.errors import DataError
from denselab.in_words import first_few, number_of
from denselab.labels import VOID_COLOUR, Colour, LabelEntry, LabelSpace, default_colour, labels_line

MOST = 65535  # of 16 bits
ODD_SHARE = 0.1  # of the label files; more of another kind are no slip of the hand


@dataclass(frozen=True)
class Inferred:
    """The encoding and table of label files.

    encoding: how pixels become ids
    table: the label table
    description: the encoding in words
    notes: what was inferred, for the user
    contents: of the files that were read
    """

    encoding: Encoding
    table: LabelSpace
    description: str
    notes: tuple[str, ...]
    contents: tuple[Contents, ...]


def infer_encoding(
    paths: Sequence[Path],
    names: Sequence[NamedLabel] = (),
    given: Encoding | None = None,
    limit: int = MAX_SCANNED,
    transparent: Literal["ignore", "keep"] | None = None,
) -> Inferred:
    """The encoding and table of label files.

    names: of ids, from a names file or data.yaml
    given: the encoding, where the user gives it
    limit: how many files to read
    transparent: what transparent pixels are; None where the user did not say

    Raises DataError where none is readable, or where two ways are possible.
    """
    kind = given.kind if given is not None else None
    contents = scan(paths, limit, clear=transparent == "ignore", colours=kind == "colour")
    usable = [c for c in contents if not c.error]
    if not usable:
        raise DataError(contents[0].error if contents else "no label file to infer the classes from")
    see_through, notes = _see_through(usable, transparent, kind)
    if len(contents) < len(paths) and not names:
        notes.append(
            f"classes inferred from {len(contents)} of {len(paths)} label files; list them in data.yaml to be sure"
        )
    if len(usable) < len(contents):
        faults = [c.error for c in contents if c.error]
        notes.append(f"{number_of(len(faults), 'label file')} cannot be read: {first_few(faults, 2)}")
    notes += _nodata_notes([c for c in usable if not c.clear])
    usable, odd = _without_odd(usable)
    if odd:
        notes.append(f"{number_of(len(odd), 'label file')} unlike all others, not learnt from: {first_few(odd, 2)}")
    usable, negative = split_negative(usable, names)
    names = by_grey(names, usable)
    if given is not None:
        encoding, table, description, more = _of_given(given, usable, names)
    elif any(not c.grey for c in usable):
        encoding, table, description, more = _infer_red_or_colours(usable, names)
    else:
        encoding, table, description, more = _infer_numbers(usable, names)
    if negative and encoding.kind == "index":
        table = ignoring_negative(table, negative)
        more = [
            *more,
            f"ids below 0 ({first_few(negative)}) are left out (ignore); "
            f"{kept(table, negative)} in data.yaml keeps them",
        ]
    encoding = replace(encoding, clear=transparent == "ignore" and bool(see_through))
    return Inferred(encoding, table, description, (*notes, *more), tuple(contents))


def _see_through(
    usable: list[Contents], transparent: Literal["ignore", "keep"] | None, kind: Kind | None
) -> tuple[list[Contents], list[str]]:
    """The contents with transparent pixels, and what is said of them. Raises DataError if the user did not say."""
    found = [c for c in usable if c.clear]
    if found and transparent is None:
        opaque = [
            *scan([c.path for c in found], clear=True, colours=kind == "colour"),
            *(c for c in usable if not c.clear),
        ]
        counted = (len(total_counts(c.counts for c in contents)) for contents in (opaque, usable))
        raise ask(found[0].path, sum(c.clear for c in found) / len(usable), *counted)
    ignored = found and transparent == "ignore"
    return found, ["transparent pixels are left out (ignore)"] if ignored else []


def _without_odd(contents: list[Contents]) -> tuple[list[Contents], list[str]]:
    """Contents without the few that are JPEG, or in colours, where nearly all others are not; and the names of these.

    What a few files are must not decide how all are read, nor hide what else is wrong: each is refused by itself.
    """
    lossy, coloured = [c for c in contents if c.lossy], [c for c in contents if not c.grey]
    odd = {c.path for few in (lossy, coloured) if len(few) <= ODD_SHARE * len(contents) for c in few}
    return [c for c in contents if c.path not in odd], sorted(path.name for path in odd)


def _nodata_notes(contents: list[Contents]) -> list[str]:
    """The share of pixels that TIFF files declare to have no data: meant, or a tag that a tool left behind."""
    missing = [c for c in contents if c.missing]
    if not missing:
        return []
    share = sum(c.missing for c in missing) / sum(c.missing + sum(c.counts.values()) for c in contents)
    number = read_tags(missing[0].path).nodata
    tag = f"the files' NODATA ({number:g})" if number is not None else "NaN"
    return [
        f"{share:.1%} of the label pixels are {tag}: left out (ignore); `gdal_edit.py -unsetnodata FILE` keeps them"
    ]


Inference = tuple[Encoding, LabelSpace, str, list[str]]
"""Encoding, table, the encoding in words, notes."""


def _of_given(given: Encoding, contents: list[Contents], names: Sequence[NamedLabel]) -> Inference:
    """The table under the encoding that the user gave."""
    if given.kind == "colour":
        return _infer_colours(contents, names)
    if given.kind == "two-valued":
        table = two_valued_table(names)
        return Encoding("two-valued"), table, "two-valued, threshold 128", _unnamed(names, table)
    if given.kind == "objects":
        return Encoding("objects"), object_table(), "object numbers: 0 background, others object", []
    values = sorted(total_counts(counts_by_id(c, given) for c in contents))
    table, notes = _index_table(contents, values, names)
    return given, table, given.kind, notes


def _infer_colours(contents: list[Contents], names: Sequence[NamedLabel]) -> Inference:
    single = [c.path for c in contents if not c.coloured]
    if len(single) == len(contents):
        raise DataError(f"{single[0]}: the labels are numbers, and have no colours; take `encoding: colour` out")
    if single:
        coloured = next(c.path for c in contents if c.coloured)
        raise DataError(
            f"{single[0]} holds numbers but {coloured} holds colours; "
            "labels of one set must be coded alike: convert or remove one kind"
        )
    totals = total_counts(c.counts for c in contents)
    refuse_lossy_colours(contents, len(totals))
    given = [label for label in names if label.colour is not None]
    if given:
        refuse_shared_colours(contents[0].path, {colour_of_code(code) for code in totals}, given)
        table = {label.colour: label.id for label in given if label.colour is not None}
        strange = [colour_of_code(code) for code in totals if colour_of_code(code) not in table]
        refuse_other_colours(contents[0].path, strange, given)
        notes = of_strange(strange, given)
        return _colour_encoding(table), table_of_names(given), "RGB colours, table given", notes
    if len(totals) > MAX_COLOURS:
        raise DataError(
            f"{contents[0].path}: {len(totals):,} colours in the label files; a colour-coded label has one per class. "
            "They were smeared by JPEG or resizing, or are no labels: save them as PNG without smoothing, "
            "or give the right folder as `masks:` in data.yaml"
        )
    # Black first, then by colour: the same colours give the same ids whatever the order of the files.
    colours = [colour_of_code(code) for code in sorted(totals)]
    entries = tuple(colour_entry(index, colour) for index, colour in enumerate(colours))
    if names:
        _ask_colours(contents[0].path, entries, names)
    notes = [
        f"colour table inferred from the labels: {first_few((f'{e.id} {e.name}' for e in entries), 8)}; "
        f"other names: {labels_line(entries, colours=True)} in data.yaml"
    ]
    encoding = _colour_encoding({entry.colour: entry.id for entry in entries})
    return encoding, LabelSpace(entries), "RGB colours, table inferred", notes


def _ask_colours(path: Path, entries: Sequence[LabelEntry], names: Sequence[NamedLabel]) -> None:
    """Raise DataError: names without colours do not say which colour is which class. The line to correct has both.

    The names go to the colours in their order, and further colours keep their own.
    """
    ordered = sorted(names, key=lambda label: label.id)
    taken = {label.name for label in ordered}
    rows = [
        replace(e, name=label.name, role="ignore" if label.ignore else "background" if label.background else "class")
        for e, label in zip(entries, ordered, strict=False)
    ]
    rows += [replace(e, name=e.name if e.name not in taken else f"colour {e.id}") for e in entries[len(rows) :]]
    raise DataError(
        f"{path}: labels are coded in {number_of(len(entries), 'colour')}, but the {number_of(len(names), 'name')} "
        f"given have no colours; write in data.yaml which is which, such as {labels_line(rows, colours=True)}"
    )


def _colour_encoding(table: dict[Colour, int]) -> Encoding:
    return Encoding("colour", colours=tuple(sorted(table.items(), key=lambda pair: pair[1])))


def _infer_red_or_colours(contents: list[Contents], names: Sequence[NamedLabel]) -> Inference:
    """The ids in red where there are such, else the colours."""
    red = are_red(contents, names)
    refuse_smoothed_colours(contents, names)
    refuse_scaled_colours(contents, names)
    refuse_colour_for_each_object(contents, names)
    if not red:
        return _infer_colours(contents, names)
    encoding, table, description, notes = _of_given(Encoding("red"), contents, names)
    note = "the numbers in red are the ids; `encoding: colour` in data.yaml takes them for colours"
    return encoding, table, description, [*notes, note]


def _infer_numbers(contents: list[Contents], names: Sequence[NamedLabel]) -> Inference:
    totals = total_counts(c.values() for c in contents)
    values = sorted(totals)
    refuse_two_kinds(contents, names)
    refuse_shuffled_palettes(contents)
    refuse_dithered(contents)
    if is_smeared_two_valued(totals) and not _named_void(names):
        refuse_third_level(contents)
        lossy = f" ({lossy_form(contents[0].path)})" if contents[0].lossy else ""
        between = sum(n for v, n in totals.items() if v not in (0, 255)) / sum(totals.values())
        note = (
            f"two-valued masks smeared{lossy}: {between:.1%} of the pixels are neither 0 nor 255; threshold 128 decides"
        )
        table = two_valued_table(names)
        text = "two-valued 0/255, smeared: threshold 128"
        return Encoding("two-valued"), table, text, [note, *_unnamed(names, table)]
    if values == [0, 255] and _named_void(names) and not any(label.id == 255 for label in names):
        raise too_many_names(contents[0].path, names)
    if set(values) <= {0, 255} and 255 in values and not _named_void(names):
        note = "255 stands beside 0 only: it is a class here, not ignore"
        table = two_valued_table(names)
        return Encoding(), table, "two-valued 0/255", [note, *_unnamed(names, table)]
    if values == [0, MOST] and not _named_void(names):
        table = two_valued_table(names)
        note = f"{MOST} stands beside 0 only: it is a class here, not ignore"
        return Encoding("two-valued"), table, f"two-valued 0/{MOST}", [note, *_unnamed(names, table)]
    if any(c.lossy for c in contents):
        lossy_file = next(c.path for c in contents if c.lossy)
        raise DataError(
            f"{lossy_file}: labels saved as {lossy_form(lossy_file)}, which changes the ids "
            f"({len(values)} values); export them as PNG"
        )
    if not names:
        refuse_restless(contents)
    if looks_like_objects(contents):
        note = (
            f"the labels number single objects (up to {values[-1]}): all are class 1; `encoding: index` keeps the ids"
        )
        text = f"{contents[0].bits}-bit object numbers: 0 background, others object"
        return Encoding("objects"), object_table(), text, [note]
    if not names:
        refuse_counted(contents)
        refuse_grey_pictures(values, contents[0].path)
    refuse_divided(contents[0].path, values, names)
    if not any(label.id == 255 for label in names):
        refuse_grey_levels(values, contents)
    table, notes = _index_table(contents, values, names)
    return Encoding(), table, _index_description(contents), notes


def _index_description(contents: list[Contents]) -> str:
    if any(c.mode in ("P", "PA") for c in contents):
        return "palette PNG (the index counts, not the colour)"
    if all(c.bits == 1 for c in contents):
        return "1-bit"
    if any(c.coloured for c in contents):
        return "index, saved in three equal channels"
    return f"index, {max(c.bits for c in contents)}-bit"


def _index_table(
    contents: list[Contents], values: list[int], names: Sequence[NamedLabel]
) -> tuple[LabelSpace, list[str]]:
    colours = _shared_palette([c.path for c in contents if c.mode == "P"])
    if len(names) == 1 and names[0].id == 0 and not names[0].background and values == [0, 1]:
        names = (BACKGROUND, replace(names[0], id=1))  # a list of one class, which does not count the background
    if names:
        refuse_two_voids(contents[0].path, values, names)
        numbers = [v for v in values if v != _marker(values)]
        refuse_other_numbers(contents[0].path, numbers, names)
        refuse_shifted_names(contents[0].path, numbers, names)
        table = table_of_names(names, colours)
        known, void = {entry.id for entry in table.entries}, _marker(values)
        strange = [v for v in numbers if v not in known]
        notes = [f"ids {first_few(strange, 8)} occur in labels but have no name"] if strange else []
        if void is None or void in known:
            return table, notes
        return LabelSpace((*table.entries, _void(table, void))), [*notes, f"{void} has no name: ignore"]
    refuse_lone_marker(contents[0].path, values)
    refuse_overrun(contents[0].path, values)
    void = _marker(values)
    entries = [LabelEntry(v, f"class {v}", colours.get(v, default_colour(v))) for v in values if v != void]
    if void is not None:
        entries.append(LabelEntry(void, "ignore", VOID_COLOUR, "ignore"))
    notes = _unnamed(names, LabelSpace(tuple(entries)))
    if void is not None:
        notes.append(f"{void} stands beside small ids: it is left out (ignore)")
    return LabelSpace(tuple(entries)), notes


def _unnamed(names: Sequence[NamedLabel], table: LabelSpace) -> list[str]:
    if names:
        return []
    return [f"nothing says what the ids mean: name them by {labels_line(table.entries)} in data.yaml"]


def _marker(values: list[int]) -> int | None:
    """The number that marks pixels without a label: the largest of 8 or of 16 bits, beside smaller ids."""
    if len(values) < 2:
        return None
    return 255 if 255 in values else MOST if values[-1] == MOST and values[-2] < 255 else None


def _void(table: LabelSpace, label_id: int) -> LabelEntry:
    taken = {entry.name for entry in table.entries}
    return LabelEntry(
        label_id, next(n for n in ("ignore", "void", f"ignore {label_id}") if n not in taken), VOID_COLOUR, "ignore"
    )


def _named_void(names: Sequence[NamedLabel]) -> bool:
    """Whether a names file lists more than two labels, or says itself that 255 is ignored."""
    return any(label.id == 255 and label.ignore for label in names) or sum(not label.ignore for label in names) > 2


def _shared_palette(paths: list[Path]) -> dict[int, Colour]:
    """{index: colour} of palette files whose first few agree; {} otherwise."""
    palettes = {read_palette(path) for path in paths[:5]}
    palette = palettes.pop() if len(palettes) == 1 else ()
    return {index: colour for index, colour in enumerate(palette) if len(set(palette)) > 1 and index < 256}
