"""The folders and name patterns that data.yaml names, to pairs of pictures and labels."""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

from denselab.data.folders.endings import continued
from denselab.data.folders.folder import found_pairs, make_item, may_lack_label, names_for
from denselab.data.folders.placing import Placed, pair_placed, place
from denselab.data.item import FileLabels, Found
from denselab.data.listing.tree import SPLITS, Tree
from denselab.data.pixels.images import PICTURE_SUFFIXES
from denselab.errors import DataError
from denselab.in_words import number_of

Split = Literal["train", "val", "test"]
Folders = str | dict[Split, str] | None
"""A folder, or one for each split; None for all."""
SeveralFolders = str | list[str] | dict[Split, str | list[str]] | None
"""A folder, or several, or those of each split; None for all."""


class SplitPattern(BaseModel):
    """File names without suffix, with * for the part that a picture and its label share.

    A second * in that of pictures stands for what several pictures of one label differ in.
    """

    model_config = ConfigDict(extra="forbid")
    image: str = "*"
    mask: str = "*"


class Pattern(SplitPattern):
    """The pattern of all files, or one for each split."""

    train: SplitPattern | None = None
    val: SplitPattern | None = None
    test: SplitPattern | None = None

    def of(self, split: str | None) -> SplitPattern:
        """The pattern of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}.get(split or "") or self


def by_split(value: str | dict[Split, str]) -> dict[str | None, str]:
    """{split: folder or file}; None stands for all splits."""
    return {None: value} if isinstance(value, str) else dict(value.items())


def described_folders(
    tree: Tree, images: SeveralFolders, masks: SeveralFolders, pattern: Pattern | None, source: Path
) -> Found:
    """The pairs of the folders `images` and `masks` (of the whole tree where they name none), matched by `pattern`.

    source: the data.yaml, for messages. Raises DataError where a folder has no picture or nothing pairs.
    """
    labels = _files(tree, masks, "masks", source)
    taken = {placed.file for placed in labels}
    pictures = [p for p in _files(tree, images, "images", source) if pattern or p.file not in taken]
    if pattern is None:
        pictures, labels = _in_turn(pictures, labels, images, masks)
        return found_pairs(tree, {"": pictures}, {"": labels})
    of_image, of_mask = _by_middle(pictures, pattern, "image"), _by_middle(labels, pattern, "mask")
    images_of: dict[Placed, list[Placed]] = defaultdict(list)  # several where a second star stands for what differs
    for key, placed in of_image:
        images_of[key].append(placed)
    paired, _ = pair_placed(list(images_of), [key for key, _ in of_mask])
    mask_of = dict(of_mask)
    pairs = [(image, mask_of[b]) for a, b in paired for image in images_of[a] if image.file != mask_of[b].file]
    if not pairs:
        raise DataError(f"{source}: pattern {pattern.image} / {pattern.mask} pairs no file; correct it")
    taken = {image.file.with_suffix("") for image, _ in pairs}
    left = [
        placed.file
        for _, placed in of_image
        if placed.file.with_suffix("") not in taken and may_lack_label(placed, pairs)
    ]
    lonely = tuple(tree.path(file) for file in left if continued(file.with_suffix(""), taken) is None)
    names, told = names_for(tree, pairs)
    items = tuple(make_item(tree, a, b) for a, b in pairs)
    return Found("folders", items, names=names, notes=told, without_label=lonely)


def _in_turn(
    pictures: list[Placed], labels: list[Placed], images: SeveralFolders, masks: SeveralFolders
) -> tuple[list[Placed], list[Placed]]:
    """Both sides as they are; or the first folder of pictures with the first of labels and so on; or by names alone.

    The first of these that pairs the most. "Trout/Trout" and "Trout/Trout GT" have the same names in them as the
    folders of other fish; "images1" and "images2" may share one folder of labels.
    """
    ways = [(pictures, labels)]
    folders = _listed(images), _listed(masks)
    if all(folders) and [(split, len(own)) for split, own in folders[0]] == [(s, len(own)) for s, own in folders[1]]:
        ways.append((_numbered(pictures, folders[0]), _numbered(labels, folders[1])))
    if any(folders):
        ways.append(([replace(p, neutral="") for p in pictures], [replace(p, neutral="") for p in labels]))
    return max(ways, key=lambda way: len(pair_placed(*way)[0]))


def _listed(folders: SeveralFolders) -> list[tuple[str, list[str]]]:
    """(split, folders) where a key names several folders at once, by split; [] where it does not."""
    if isinstance(folders, list):
        return [("", folders)]
    given = folders.items() if isinstance(folders, dict) else ()
    several = any(isinstance(own, list) for _, own in given)
    return [(split, own if isinstance(own, list) else [own]) for split, own in sorted(given)] if several else []


def _numbered(side: list[Placed], folders: list[tuple[str, list[str]]]) -> list[Placed]:
    places = [folder for _, own in folders for folder in own]
    return [replace(p, neutral=_place_in(p.file, places)) for p in side]


def _place_in(file: PurePosixPath, folders: list[str]) -> str:
    """The position of the folder that holds a file, and the folders below it."""
    number = next(n for n, folder in enumerate(folders) if file.is_relative_to(PurePosixPath(folder)))
    return str(PurePosixPath(str(number), *file.parent.relative_to(PurePosixPath(folders[number])).parts))


def _by_middle(side: list[Placed], pattern: Pattern, kind: Literal["image", "mask"]) -> list[tuple[Placed, Placed]]:
    """(file under the name that the star stands for, file) of each that fits the pattern of its split."""
    found = []
    for placed in side:
        of_split = pattern.of(placed.split)
        middle = _middle(placed.file, of_split.image if kind == "image" else of_split.mask)
        if middle is not None:
            found.append((replace(placed, file=placed.file.with_name(middle + placed.file.suffix)), placed))
    return found


def _files(tree: Tree, folders: Folders | SeveralFolders, key: str, source: Path) -> list[Placed]:
    """The picture files of the folders that a key names; all of the tree where it names none."""
    placed = []
    given: dict[str | None, str | list[str]] = {None: "."}
    if folders is not None:
        given = dict(folders.items()) if isinstance(folders, dict) else {None: folders}
    pairs = [(split, f) for split, own in given.items() for f in (own if isinstance(own, list) else [own])]
    single = len(pairs) == len(given)
    for split, folder in pairs:
        name = str(PurePosixPath(folder))
        files = tree.pictures if key == "images" else tree.label_files
        inside = [f for f in files if name == "." or f.is_relative_to(name)]
        if not inside:
            kinds = ", ".join(PICTURE_SUFFIXES[:4])
            raise DataError(f"{source}: {key}: no picture ({kinds}, ...) in {tree.root / name}; correct the folder")
        for file in inside:
            where = place(file)[1]
            # The folder itself says nothing more; what lies below it must agree on both sides.
            below = file.parent.relative_to(name)
            neutral = "/".join(p for p in below.parts if p not in SPLITS)
            neutral = where.neutral if name == "." or not single else neutral
            placed.append(replace(where, folder="", neutral=neutral, split=split or where.split))
    return placed


def with_ignore_masks(tree: Tree, found: Found, folders: Folders, source: Path) -> Found:
    """Found whose label files know the mask of their picture; a picture without one counts as a whole."""
    masks = [replace(p, neutral="") for p in _files(tree, folders, "ignore_mask", source)]
    images = [
        Placed(PurePosixPath(item.image.relative_to(tree.root).as_posix()), "", "", item.split) for item in found.items
    ]
    pairs, _ = pair_placed(images, masks)
    of_image = {tree.path(image.file): tree.path(mask.file) for image, mask in pairs}
    if not of_image:
        raise DataError(f"{source}: ignore_mask: no file there has the name of a picture; correct the folder")
    if not all(isinstance(item.source, FileLabels) for item in found.items):
        raise DataError(f"{source}: ignore_mask goes with label pictures, not with shapes; take it out")
    items = tuple(
        replace(item, source=replace(item.source, ignore_mask=of_image.get(item.image)))
        if isinstance(item.source, FileLabels)
        else item
        for item in found.items
    )
    note = (
        f"left out (ignore) where an ignore mask is 0: {len(of_image)} of {number_of(len(items), 'picture')} have one"
    )
    taken = {path.resolve() for path in of_image.values()}
    unpaired = tuple(path for path in found.without_image if path.resolve() not in taken)
    return replace(found, items=items, notes=(*found.notes, note), without_image=unpaired)


def _middle(file: PurePosixPath, pattern: str) -> str | None:
    """The part of a stem that the first star of a pattern stands for; further ones stand for anything."""
    before, _, after = pattern.partition("*")
    rest = ".*".join(map(re.escape, after.split("*")))
    match = re.fullmatch(f"{re.escape(before)}(.+){rest}", file.stem, re.DOTALL)
    return match[1] if match else None
