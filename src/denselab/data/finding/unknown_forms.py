"""What is said of a folder of pictures whose labels are in no known layout: what seems to hold them, and the way."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from denselab.data.listing.tree import Tree, role_of_folders
from denselab.documents import Unreadable, open_ordinary
from denselab.in_words import first_few, number_of

SUFFIXES = (".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tsv", ".yaml", ".yml")
BEGINNING = 2**20  # bytes of a file, in which it names one of the first pictures
LOOKED_AT = 20  # files
SOUGHT = 8  # pictures


def no_known_layout(tree: Tree) -> str:
    """The message for pictures without labels in a known layout, and for labels without their pictures."""
    count = number_of(len(tree.pictures), "picture")
    roles = {role_of_folders(file) for file in tree.pictures}
    if "label" in roles and roles <= {"label", "other"}:
        return (
            f"{tree.root}: {count}, all in folders of labels ({first_few(tree.pictures, 2)}), and none that they could "
            "be the labels of; put the pictures, of the same names, into a folder images/ beside them"
        )
    form = _names_pictures(tree)
    told = f"{form} is about them, in a form that is not known; export it as COCO json, " if form else ""
    return (
        f"{tree.root}: {count}, but no labels in a known layout; {told}{'or ' if told else ''}"
        "put label PNGs of the same names into a folder labels/ beside images/, "
        "or write `images: FOLDER` and `masks: FOLDER` in data.yaml"
    )


def _names_pictures(tree: Tree) -> str:
    """The first of a few files that is called by a picture, or names one; "" where none does."""
    sought = tree.pictures[:SOUGHT]
    files = tree.with_suffix(*SUFFIXES)[:LOOKED_AT]
    stems = {picture.stem for picture in sought}
    return next((str(file) for file in files if file.stem in stems or _names_one_of(tree, file, sought)), "")


def _names_one_of(tree: Tree, file: PurePosixPath, sought: Sequence[PurePosixPath]) -> bool:
    try:
        with open_ordinary(tree.path(file)) as stream:
            text = stream.read(BEGINNING)
    except (OSError, Unreadable):
        return False
    return any(picture.name.encode() in text for picture in sought)
