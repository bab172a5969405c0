"""Numbered things that are each seen in the same few ways: leaf1_10x, leaf1_40x, leaf2_10x, leaf2_40x."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate
from pathlib import PurePosixPath

from denselab.data.listing.tree import SPLIT_WORDS, words

# What divides the parts of a name; a letter behind a number is one too: object1a.
PART = re.compile(r"[^_\-. ]*[_\-. ]+|.*\d(?=[A-Za-z]$)|.+")
# Words of folders and names that stand for a class also with a number: class1/ beside class2/.
KIND_WORDS = frozenset(("class", "type", "category", "kind", "grade", "defect", "species"))
FEWEST = 3  # things
MOST_WAYS = 12  # in which each is seen
FULL = 0.8  # of all things in all ways, that are there at least


def things_of(names: Iterable[str]) -> dict[str, str]:
    """{name: thing} of names that are a number of things, each in the same ways; {} where they are not.

    A thing ends with a number, and there are no fewer things than ways: classes, and sets that only count their
    pictures, are neither.
    """
    begun: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for name in names:
        for count, start in enumerate(beginnings(name), 1):
            begun[count][name] = start
    return next((found for _, found in sorted(begun.items()) if _are_things(found)), {})


def beginnings(name: str) -> list[str]:
    """What a name begins with, part by part: "a/leaf1_10x" -> "a/leaf1", "a/leaf1_10x"."""
    path = PurePosixPath(name)
    return [str(path.with_name(start.rstrip("_-. ") or start)) for start in accumulate(PART.findall(path.name))]


def _are_things(found: dict[str, str]) -> bool:
    things = set(found.values())
    ways = Counter(name[len(thing) :] for name, thing in found.items())
    return (
        all(_is_numbered(PurePosixPath(thing).name) for thing in things)
        and 1 < len(ways) <= min(MOST_WAYS, len(things))
        and len(things) >= FEWEST
        and len(found) >= FULL * len(things) * len(ways)
    )


def _is_numbered(stem: str) -> bool:
    return stem[-1:].isdigit() and not set(words(stem)) & (KIND_WORDS | SPLIT_WORDS.keys())
