"""Label files of one set that may not mean alike, or were smoothed: what they hold together is asked about.

Each file by itself looks sound. That two tools wrote them shows in what no file has; smoothing, in what fills no area.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.data.item import NamedLabel
from denselab.data.label_files.encodings import MAX_COLOURS, colour_codes, colour_of_code
from denselab.data.label_files.label_table import NO_LABEL, is_near
from denselab.data.label_files.likeness import MANY_OBJECTS, is_in_one_piece
from denselab.data.label_files.scan import Contents, total_counts
from denselab.data.pixels.images import read_label_pixels, read_palette
from denselab.errors import DataError
from denselab.in_words import first_few
from denselab.labels import Colour, LabelEntry, default_colour, labels_line

SMALL = 127  # ids are lower where masks of 0 and 255 may stand beside them; soft edges have higher ones
PALETTES = 16  # files whose palettes are compared
LOOKED_INTO = 6  # files whose areas are looked for
BLENDS = 3  # colours that are mixtures of two others, from which on they are no accident
COMMON = 32  # colours that others may be mixtures of
NEAR = 3  # levels that rounding moves a mixture off its line
# First and last colour of matplotlib's and MATLAB's colour maps that no label table has: viridis, plasma, inferno,
# magma, cividis, turbo, parula.
COLOUR_MAPS: tuple[tuple[Colour, Colour], ...] = (
    ((68, 1, 84), (253, 231, 36)),
    ((13, 8, 135), (240, 249, 33)),
    ((0, 0, 4), (252, 255, 164)),
    ((0, 0, 4), (252, 253, 191)),
    ((0, 34, 78), (254, 232, 56)),
    ((48, 18, 59), (122, 4, 3)),
    ((62, 38, 168), (249, 251, 21)),
)
RESTLESS = 0.5  # share of the pixels that differ from the next one; in drawn labels a few in a hundred do
SMALLEST = 16  # pixels; a picture of fewer says nothing about that
LONE_COLOURS = 0.8  # share of the colours that one file alone has
DITHERED = 0.05  # share of the pixels that differ from all beside them; in drawn labels hardly any does
THIRD = 0.005  # share of the pixels within areas of a middle grey from which on it may be a class


def refuse_two_kinds(contents: Sequence[Contents], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where some files hold 0 and 255 alone, and 255 stands beside no other id in any.

    Where 255 means ignore, it stands beside the ids; so these may be the masks of another tool.
    """
    values = [set(c.values()) for c in contents]
    small = sorted(set[int]().union(*values) - {0, 255})
    alone = [c.path for c, held in zip(contents, values, strict=True) if held == {0, 255}]
    mixed = any(255 in held and not held <= {0, 255} for held in values)
    if not alone or mixed or not small or small[-1] >= SMALL or any(label.id == 255 for label in names):
        return
    other = next(c.path for c, held in zip(contents, values, strict=True) if held - {0, 255})
    rows = _rows(names, [0, *(v for v in small if v > 0)])
    same = (
        "one class, 1 there and 255 here (write `encoding: two-valued` and `threshold: 1` in data.yaml)"
        if small == [1]
        else f"a class of its own (write {labels_line((*rows, LabelEntry(255, 'class 255', (255, 255, 255))))} "
        "in data.yaml)"
    )
    raise DataError(
        f"{alone[0]}: holds 0 and 255 alone, but {other} holds {first_few(small, 4)}. Either 255 is {same}, "
        f"or it is left out (write {labels_line((*rows, NO_LABEL))})"
    )


def _rows(names: Sequence[NamedLabel], values: Iterable[int]) -> list[LabelEntry]:
    known = {label.id: label.name for label in names}
    return [LabelEntry(v, known.get(v, f"class {v}"), default_colour(v)) for v in values]


def refuse_shuffled_palettes(contents: Sequence[Contents]) -> None:
    """Raise DataError where an index has other colours in other palette files, as if each had numbered its colours.

    A palette of greys that rise with the index, as those of a display, says nothing; but for that of a GIF, where the
    greys of the file itself stand, as many as it holds. Files that number their colours
    skip no index, and a colour may stand at another index in each. Where indices are skipped and no colour moves, it
    is the palettes that are made up.
    """
    drawn = [c for c in contents if c.mode == "P" and not c.coloured]
    step = max(1, len(drawn) // PALETTES)
    seen: dict[int, tuple[Colour, Path]] = {}
    place: dict[Colour, int] = {}
    question, moves, skips = "", False, False
    palettes = [(content, read_palette(content.path)) for content in drawn[::step]]
    told = any(c.path.suffix.lower() == ".gif" or not _rise(c, palette) for c, palette in palettes)
    for content, palette in palettes:
        skips |= max(content.counts) >= len(content.counts)
        for index in content.counts:
            if index >= len(palette) or (not told and len(set(palette[index])) == 1):
                continue
            moves |= place.setdefault(palette[index], index) != index
            colour, first = seen.setdefault(index, (palette[index], content.path))
            if colour != palette[index]:
                question = question or (
                    f"{content.path}: {index} is {palette[index]} in its palette, but {colour} in {first.name}. Either "
                    "the colours are the classes (write `encoding: colour` in data.yaml), or the numbers are (write "
                    "`encoding: index`)"
                )
    if question and (moves or not skips):
        raise DataError(question)


def _rise(content: Contents, palette: Sequence[Colour]) -> bool:
    """Whether the greys of a palette rise with the index, where they occur."""
    used = (palette[index] for index in sorted(content.counts) if index < len(palette))
    greys = [colour[0] for colour in used if len(set(colour)) == 1]
    return greys == sorted(greys)


def refuse_third_level(contents: Sequence[Contents]) -> None:
    """Raise DataError where masks of 0 and 255 with soft edges have areas of a grey between: it may be a class."""
    filled: dict[int, int] = defaultdict(int)
    pixels = 0
    for content in _spread(contents):
        image = read_label_pixels(content.path)
        image = image if image.ndim == 2 else image[..., 1]
        pixels += image.size
        for value, count in _filled(image).items():
            filled[value] += count
    middle = [v for v, count in sorted(filled.items()) if 32 < v < 223 and count > THIRD * pixels]
    if middle:
        raise DataError(
            f"{contents[0].path}: masks of 0 and 255 with soft edges, but areas of {first_few(middle)} as well. Either "
            "these are a class (save the labels again, without smoothing or JPEG), or two-valued masks are meant "
            "(write `encoding: two-valued` in data.yaml)"
        )


def refuse_smoothed_colours(contents: Sequence[Contents], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where half of the colours are mixtures of two others and fill no area: soft edges, no classes."""
    totals = total_counts(content.counts for content in contents)
    given = {label.colour for label in names if label.colour is not None}
    if len(totals) > MAX_COLOURS and not given:
        return  # that many are refused
    known = {code for code in totals if colour_of_code(code) in given}
    if given and all(is_near(colour_of_code(code), given) for code in totals):
        return  # coloured loosely, which is told
    enough = max(BLENDS, (len(totals) - len(known)) / 2)
    mixed = _mixtures(totals) - known
    if len(mixed) < enough:
        return
    for content in _spread(contents, mixed):
        pixels = read_label_pixels(content.path)
        mixed -= set(_filled(colour_codes(pixels))) if pixels.ndim == 3 else set()
    if len(mixed) >= enough:
        way = "" if given else ", or write `encoding: colour` in data.yaml if each colour is a class"
        raise DataError(
            f"{contents[0].path}: {len(totals)} colours, of which {len(mixed)} stand along borders alone and lie "
            f"between two others: the labels were smoothed or resized like a photo. Save them without smoothing{way}"
        )


def refuse_scaled_colours(contents: Sequence[Contents], names: Sequence[NamedLabel]) -> None:
    """Raise DataError for the colours of a colour map that each file spans by itself, whatever classes it holds.

    matplotlib's `imsave` gives the lowest number of a file the first colour and the highest the last. Where a colour
    stands for one class in all files, those without the last class lack the last colour.
    """
    if any(label.colour is not None for label in names):
        return
    several = [c for c in contents if len(c.counts) > 1]
    span = next((ends for ends in COLOUR_MAPS if all(_near_both(c.counts, ends) for c in several)), None)
    if several and span and len({frozenset(c.counts) for c in several}) > 1:
        fewest, most = (pick(several, key=lambda c: len(c.counts)).path.name for pick in (min, max))
        raise DataError(
            f"{several[0].path}: all files have the first and the last colour of a colour map, {fewest} as {most}, so "
            "that each was scaled by itself and a colour is another class in another file (plt.imsave does so). Save "
            "the class numbers themselves as PNG; or, where a colour is one class in all files, give the colours as "
            "`labels` in data.yaml"
        )


def refuse_colour_for_each_object(contents: Sequence[Contents], names: Sequence[NamedLabel]) -> None:
    """Raise DataError where colours may be objects: each is one piece of a file, and there are many, or in one file."""
    if any(label.colour is not None for label in names):
        return
    several = [c for c in contents if len(c.counts) > 1]
    often = Counter(code for c in several for code in c.counts)
    lone = sum(count == 1 for count in often.values())
    if len(several) >= PALETTES // 4 and MANY_OBJECTS <= len(often) <= MAX_COLOURS and lone > LONE_COLOURS * len(often):
        raise DataError(
            f"{several[0].path}: {len(often)} colours, of which {lone} stand in one file alone. Either each colour is "
            "an object (write `encoding: objects` in data.yaml) or each is a class (write `encoding: colour`)"
        )
    rich = [c for c in contents if MANY_OBJECTS <= len(c.counts) <= MAX_COLOURS]
    if not rich or len(rich) < min(3, len(contents)) or not all(is_in_one_piece(_codes(c.path)) for c in rich[:3]):
        return
    raise DataError(
        f"{rich[0].path}: {len(rich[0].counts)} colours, each in one piece. Either each colour is an object (write "
        "`encoding: objects` in data.yaml) or each is a class (write `encoding: colour`)"
    )


def _codes(path: Path) -> NDArray[Any]:
    pixels = read_label_pixels(path)
    return colour_codes(pixels) if pixels.ndim == 3 else pixels


def refuse_dithered(contents: Sequence[Contents]) -> None:
    """Raise DataError for palette files whose indices change from pixel to pixel, as a colour made of two dots does.

    Pillow's `convert("P")` and `quantize` show by a pattern of dots each colour that their palette does not have.
    """
    drawn = [c for c in contents if c.mode == "P" and len(c.counts) > 2]
    for content in sorted(drawn, key=lambda c: -len(c.counts))[:LOOKED_INTO]:
        share = _lone_share(read_label_pixels(content.path))
        if share > DITHERED:
            raise DataError(
                f"{content.path}: {share:.0%} of the pixels differ from all four beside them: the colours were "
                'dithered when they were brought into a palette (`convert("P")`). Save the labels again as they were '
                "before, in colours or numbers; or write `encoding: index` in data.yaml if the dots are meant"
            )


def refuse_restless(contents: Sequence[Contents]) -> None:
    """Raise DataError for many numbers that change from pixel to pixel: a photograph, or distances, and no labels."""
    rich = [c for c in contents if len(c.values()) >= MANY_OBJECTS]
    for content in rich[:LOOKED_INTO]:
        pixels = read_label_pixels(content.path)
        numbers = pixels if pixels.ndim == 2 else pixels[..., 1]
        share = float((numbers[:, 1:] != numbers[:, :-1]).mean()) if min(numbers.shape) >= SMALLEST else 0.0
        if share > RESTLESS:
            raise DataError(
                f"{content.path}: {len(content.values()):,} numbers, and {share:.0%} of the pixels differ from the "
                "next: a grey photograph or distances, and no labels. Give the right folder as `masks:` in data.yaml, "
                "or write `encoding: index` if each number is a class"
            )


def _lone_share(numbers: NDArray[Any]) -> float:
    """The share of pixels, without the border of the picture, that differ from all four neighbours."""
    if min(numbers.shape) < 3:
        return 0.0
    centre = numbers[1:-1, 1:-1]
    beside = (numbers[:-2, 1:-1], numbers[2:, 1:-1], numbers[1:-1, :-2], numbers[1:-1, 2:])
    return float(np.logical_and.reduce([centre != other for other in beside]).mean())


def _near_both(codes: Iterable[int], ends: tuple[Colour, Colour]) -> bool:
    """Whether both ends of a colour map are there; its versions differ by a level."""
    colours = [colour_of_code(code) for code in codes]
    return all(any(max(abs(a - b) for a, b in zip(end, c, strict=True)) <= 1 for c in colours) for end in ends)


def _mixtures(totals: dict[int, int]) -> set[int]:
    """The colours that lie between two commoner ones, within rounding."""
    often = sorted(totals, key=lambda code: -totals[code])
    channels = {code: np.array(colour_of_code(code), float) for code in often}
    pairs = list(combinations(often[:COMMON], 2))
    if not pairs:
        return set()
    first, last = (np.array([channels[pair[side]] for pair in pairs]) for side in (0, 1))
    line = last - first
    length = (line**2).sum(axis=1)
    count = np.array([min(totals[a], totals[b]) for a, b in pairs])
    found = set()
    for code in often:
        offset = channels[code] - first
        share = (offset * line).sum(axis=1) / length
        away = np.abs(offset - share[:, None] * line).max(axis=1)
        if ((away <= NEAR) & (share > 0) & (share < 1) & (count > totals[code])).any():
            found.add(code)
    return found


def _spread(contents: Sequence[Contents], values: set[int] | None = None) -> list[Contents]:
    """A few files: those with most of the values, or those with most different ones."""
    return sorted(contents, key=lambda c: -len(c.counts if values is None else values & set(c.counts)))[:LOOKED_INTO]


def _filled(numbers: NDArray[Any]) -> dict[int, int]:
    """{number: how many pixels have it and all 8 around them too}."""
    height, width = numbers.shape
    if min(height, width) < 3:
        return {}
    centre = numbers[1:-1, 1:-1]
    alike = np.ones(centre.shape, bool)
    for top in range(3):
        for left in range(3):
            alike &= numbers[top : height - 2 + top, left : width - 2 + left] == centre
    values, counts = np.unique(centre[alike], return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
