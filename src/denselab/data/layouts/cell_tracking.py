"""Cell Tracking Challenge: 01/t000.tif, outlined in 01_GT/SEG/man_seg000.tif. https://celltrackingchallenge.net

A number is a cell: 0 is background, all others are one class. The markers in TRA are no outlines. Of the frames that
people did not outline, 01_ST/SEG may have the outlines that programs agree on: they are left out.
"""

import re
from pathlib import PurePosixPath

from denselab.data.folders.folder import item_of
from denselab.data.item import FileLabels, Found
from denselab.data.label_files.encodings import Encoding
from denselab.data.label_files.label_table import object_table
from denselab.data.listing.tree import Tree
from denselab.in_words import number_of

SEGMENTED = re.compile(r"^(\d+)_(GT|ST)/SEG/man_seg(\d+)\.tiff?$", re.IGNORECASE)
FRAME = re.compile(r"^(\d+)/t(\d+)\.tiff?$", re.IGNORECASE)


def find_cell_tracking(tree: Tree) -> Found | None:
    """The frames with outlines made by people, of all sequences; None where there are none."""
    outlined: dict[tuple[str, int], PurePosixPath] = {}
    computed = 0
    for file in tree.pictures:
        match = SEGMENTED.match(str(file))
        if match and match[2].upper() == "GT":
            outlined[match[1], int(match[3])] = file
        computed += bool(match and match[2].upper() == "ST")
    items, bare = [], 0
    for file in tree.pictures:
        match = FRAME.match(str(file))
        label = outlined.get((match[1], int(match[2]))) if match else None
        if label is not None:
            items.append(item_of(tree, file, FileLabels(tree.path(label))))
        bare += match is not None and label is None
    if not items:
        return None
    notes = ["the numbers of SEG are cells, all of one class"]
    if bare:
        notes.append(f"{number_of(bare, 'frame')} without outlines in GT/SEG, left out")
    if computed:
        notes.append(f"{number_of(computed, 'file')} of ST, outlines by programs, left out")
    text = "object numbers: 0 background, others object"
    layout, encoding = "Cell Tracking Challenge", Encoding("objects")
    return Found(layout, tuple(items), object_table(), encoding, text, notes=tuple(notes))
