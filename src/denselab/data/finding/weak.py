"""Boxes and tags beside any layout: of the files and folders that data.yaml names, or that are called so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from denselab.data.described.described import Folders, by_split
from denselab.data.item import Found, NamedWeak
from denselab.data.layouts.box_folder import find_box_folders, read_box_folder
from denselab.data.layouts.weak_files import find_weak_files, read_boxes, read_tags, weak_note
from denselab.data.listing.tree import Tree
from denselab.errors import DataError

Reader = Callable[[Tree, PurePosixPath, str | None], list[NamedWeak]]


def with_weak_files(tree: Tree, found: Found, boxes: Folders, tags: Folders, source: Path) -> Found:
    """Found with the boxes and tags of the files.

    boxes, tags: as data.yaml names them; None: what lies near the root under such a name.
    source: for messages.
    Raises DataError for a file that does not exist or cannot be read.
    """
    box_files, tag_files = find_weak_files(tree)
    box_places = [*box_files, *find_box_folders(tree)] if boxes is None else []
    done = {record.file for record in found.weak}
    records: list[NamedWeak] = list(found.weak)
    notes = [weak_note(found.weak)] if found.weak else []
    kinds: tuple[tuple[str, Folders, list[PurePosixPath], Reader], ...] = (
        ("boxes", boxes, box_places, _read_boxes),
        ("tags", tags, tag_files, read_tags),
    )
    for key, given, beside, read in kinds:
        for file, split in _named(tree, key, given, source) if given is not None else [(f, None) for f in beside]:
            if tree.path(file) not in done:
                read_now = read(tree, file, split)
                records += read_now
                notes.append(weak_note(read_now))
    return replace(found, weak=tuple(records), notes=(*found.notes, *notes))


def _read_boxes(tree: Tree, place: PurePosixPath, split: str | None) -> list[NamedWeak]:
    """The boxes of a COCO json, or of a folder with a file for each picture."""
    return read_box_folder(tree, place, split) if str(place) in tree.folders else read_boxes(tree, place, split)


def _named(tree: Tree, key: str, given: Folders, source: Path) -> list[tuple[PurePosixPath, str | None]]:
    assert given is not None, "asked for files that are named"
    files = [(PurePosixPath(name), split) for split, name in by_split(given).items()]
    for file, _ in files:
        if not tree.has(str(file)):
            raise DataError(f"{source}: {key}: {file} does not exist below {tree.root}; correct the path")
    return files
