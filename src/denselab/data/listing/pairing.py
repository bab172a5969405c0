"""Which label belongs to which picture: equal stems, or one rule that makes all stems equal."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from denselab.data.listing.tree import bare_stem

Stem = tuple[str, str]
"""(where, stem): the neutral part of the folder, and the file name without suffix."""


@dataclass(frozen=True)
class Pairing:
    """Which pictures and labels belong together.

    pairs: (picture, label) positions
    rule: "" for equal stems, else how they were made equal
    """

    pairs: tuple[tuple[int, int], ...]
    rule: str = ""


def pair_stems(images: Sequence[Stem], labels: Sequence[Stem]) -> Pairing:
    """Match pictures with labels by the first rule that matches the most; a rule that makes two files equal is dropped.

    Rules: equal stems; equal but for the coding of accents; equal but for capitals; equal without words such as
    img, image, gt, mask; equal after cutting off the prefix and suffix that all pictures, or all labels, share; equal
    but for zeros before numbers. Without any match there are no pairs.
    """
    rules: list[tuple[str, Callable[[Stem], Stem], Callable[[Stem], Stem]]] = [
        ("", _same, _same),
        ("letters with accents are equal however they are coded", _composed, _composed),
        ("capitals do not count", _folded, _folded),
        ("words such as image, img, label, mask, gt do not count", _bare, _bare),
        ("the prefix and suffix that all share do not count", _core(images), _core(labels)),
        ("zeros before a number do not count", _unpadded, _unpadded),
    ]
    best = Pairing(())
    for rule, of_image, of_label in rules:
        pairs = _match([of_image(stem) for stem in images], [of_label(stem) for stem in labels])
        if len(pairs) > len(best.pairs):
            best = Pairing(pairs, rule)
        if len(best.pairs) == min(len(images), len(labels)):
            break
    return best


def _match(images: Sequence[Stem], labels: Sequence[Stem]) -> tuple[tuple[int, int], ...]:
    label_counts, image_counts = Counter(labels), Counter(images)
    # Equal stems are a fault only where one of them could have a partner.
    if any(count > 1 and stem in label_counts for stem, count in image_counts.items()):
        return ()
    if any(count > 1 and stem in image_counts for stem, count in label_counts.items()):
        return ()
    position = {stem: index for index, stem in enumerate(labels)}
    return tuple((index, position[stem]) for index, stem in enumerate(images) if stem in position)


def _same(stem: Stem) -> Stem:
    return stem


def _composed(stem: Stem) -> Stem:
    """macOS stores the letter and its accent as two characters, most others as one."""
    return (unicodedata.normalize("NFC", stem[0]), unicodedata.normalize("NFC", stem[1]))


def _folded(stem: Stem) -> Stem:
    where, name = _composed(stem)
    return (where.casefold(), name.casefold())


def _unpadded(stem: Stem) -> Stem:
    where, name = _folded(stem)
    return where, re.sub(r"(?<!\d)0+(?=\d)", "", name)


def same_name(name: str) -> str:
    """A file name by which all systems and tools know it: one coding, no %20, small letters."""
    return unicodedata.normalize("NFC", unquote(name)).casefold()


def _bare(stem: Stem) -> Stem:
    return (stem[0].casefold(), bare_stem(stem[1]))


def shared_start(names: Sequence[str]) -> str:
    """The letters that all names begin with: those that the first and the last in order share."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _core(stems: Sequence[Stem]) -> Callable[[Stem], Stem]:
    """Cuts off the prefix and suffix common to all stems, but never into a number."""
    names = [stem for _, stem in stems]
    if len(names) < 2:
        return _same
    prefix = re.sub(r"\d+$", "", shared_start(names))
    suffix = re.sub(r"\d+$", "", shared_start([name[len(prefix) :][::-1] for name in names]))
    return lambda stem: (stem[0].casefold(), stem[1][len(prefix) : len(stem[1]) - len(suffix)])
