"""Pictures and labels side by side in one folder, the label named as the picture and more: a.jpg, a_1stHO.png."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import PurePosixPath

from denselab.data.folders.placing import Pairs, Placed, place
from denselab.data.label_files.scan import read_contents
from denselab.data.listing.tree import Tree
from denselab.data.pixels.images import LOSSY_SUFFIXES

ENDING = re.compile(r"[_\-. ](?=.*[A-Za-z])")  # what stands behind a picture's name: a mark, then some letter
MOST_VALUES = 64  # of a label file; pictures have more
PEEKED = 2  # label files of an ending that are read


def by_ending(tree: Tree) -> dict[str, Pairs]:
    """{ending: pairs} of the endings that most pictures have, as labels: lossless files of few values.

    {} where none has them all, so that words in the names decide.
    """
    found = [(file, place(file)) for file in tree.pictures]
    placed = {file.with_suffix(""): where for file, (role, where) in found if role != "other"}
    ends: dict[str, list[tuple[PurePosixPath, PurePosixPath]]] = defaultdict(list)
    for path in placed:
        start = continued(path, placed)
        if start is not None:
            ends[path.name[len(start.name) :]].append((start, path))
    pictures = {start for pairs in ends.values() for start, _ in pairs}
    usual = {ending: pairs for ending, pairs in sorted(ends.items()) if 2 * len(pairs) > len(pictures)}
    return {
        ending: [(placed[start], placed[path]) for start, path in pairs]
        for ending, pairs in usual.items()
        if len(pairs) > 1 and all(is_label(tree, placed[path]) for _, path in pairs[:PEEKED])
    }


def continued(path: PurePosixPath, placed: Collection[PurePosixPath]) -> PurePosixPath | None:
    """The shortest of these names that this one continues. All without suffix."""
    for match in ENDING.finditer(path.name):
        start = path.with_name(path.name[: match.start()]) if match.start() else None
        if start in placed:
            return start
    return None


def is_label(tree: Tree, label: Placed) -> bool:
    """Whether a file is a picture of few values, without losses."""
    if label.file.suffix.lower() in LOSSY_SUFFIXES:
        return False
    contents = read_contents(tree.path(label.file))
    return not contents.error and len(contents.counts) <= MOST_VALUES
