"""Copies of pictures by their names: those that a tool or a script made of them, and numbered ones."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from denselab.data.listing.tree import words

COUNTED = re.compile(r"^(?P<name>.+?)[_\-. ]\(?\d{1,3}\)?$")  # photo_2 or "photo (2)", beside photo
MOST_COPIES = 20  # of one picture, that are counted behind its name
# Roboflow's names: photo_jpg.rf.0a1b2c, once for each augmented copy of photo.jpg.
COPY = re.compile(r"^(?P<name>.+)_(?:jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9a-zA-Z]+$", re.IGNORECASE)
# Copies that a script made: photo_flip, photo_rot90, photo_aug_2.
MADE = re.compile(
    r"^(?P<name>.+?)(?:[_\-. ](?:aug(?:mented)?|copy|[hv]?flip(?:ped)?|rot(?:ated?)?|mirror(?:ed)?)[_\-. ]?\d*)+$",
    re.IGNORECASE,
)
# Words of the folders that hold such copies.
MADE_WORDS = frozenset(("aug", "augmented", "augmentation", "augmentations", "flipped", "rotated", "mirrored"))
# The same before the name: aug_0_photo, beside photo.
MADE_BEFORE = re.compile(
    r"^(?:(?:aug(?:mented)?|copy|[hv]?flip(?:ped)?|rot(?:ated?)?|mirror(?:ed)?)[_\-. ]?\d*[_\-. ])+(?P<name>.+)$",
    re.IGNORECASE,
)


def original_of(name: str) -> str:
    """The name of the picture that an augmented copy was made from; other names as they are."""
    copy = COPY.match(name) or MADE.match(name)
    return copy["name"] if copy else name


def originals(names: Sequence[str]) -> list[str]:
    """The names that pictures were made from; a copy whose name begins with how it was made, where that is there."""
    known = set(names)
    before = {name: made for name in names if (made := made_before(name)) != name and made in known}
    counted = numbered_copies(names)
    apart = _copies_apart(names)
    return [before.get(name) or counted.get(name) or apart.get(name) or original_of(name) for name in names]


def _copies_apart(names: Sequence[str]) -> dict[str, str]:
    """{copy: picture} of copies in another folder than their picture: images_aug/a_flip or images_aug/a of images/a."""
    stems = {name: PurePosixPath(original_of(name)).name for name in names}
    made = {n for n in names if original_of(n) != n or not MADE_WORDS.isdisjoint(words(PurePosixPath(n).parent.name))}
    often = Counter(stem for name, stem in stems.items() if name not in made)
    pictures = {stem: name for name, stem in stems.items() if name not in made and often[stem] == 1}
    return {name: pictures[stems[name]] for name in made if stems[name] in pictures}


def numbered_copies(names: Sequence[str]) -> dict[str, str]:
    """{copy: picture} of names that count behind that of another picture, in any folder: alder_0 beside alder.

    Not of one picture alone, nor of more than a few: these are pictures of one kind.
    """
    of_stem = {PurePosixPath(name).name: name for name in names}
    if len(of_stem) < len(names):
        return {}
    found: dict[str, list[str]] = defaultdict(list)
    for stem, name in of_stem.items():
        counted = COUNTED.match(stem)
        if counted and (original := of_stem.get(counted["name"])):
            found[original].append(name)
    if len(found) < 2 or max(map(len, found.values())) > MOST_COPIES:
        return {}
    return {name: original for original, copies in found.items() for name in copies}


def made_before(name: str) -> str:
    """A name without what stands before it in that of a copy: aug_0_photo -> photo; other names as they are."""
    path = PurePosixPath(name)
    made = MADE_BEFORE.match(path.name)
    return str(path.with_name(made["name"])) if made else name
