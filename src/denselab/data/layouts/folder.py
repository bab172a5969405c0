"""Parallel folders of pictures and label pictures, under any usual names; also both kinds side by side in one folder.

The words in folder names say what is in them (tree.folder_role) and which split it is (images/train, train/images,
train_images). Without a label folder the words in file names decide (a_image.png beside a_mask.png), and last the
format (a.jpg beside a.png).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

from denselab.data.item import FileLabels, Found, Item
from denselab.data.layouts.endings import by_ending
from denselab.data.layouts.placing import Pairs, Placed, named_in, place
from denselab.data.layouts.told_pairs import refuse_other_pairs
from denselab.data.read.images import MAT_SUFFIX
from denselab.data.read.names import read_names
from denselab.data.read.pairing import pair_stems
from denselab.data.read.scan import read_contents
from denselab.data.read.tree import LABEL_WORDS, Tree, first_few, number_of, words
from denselab.data.read.yaml_text import in_yaml
from denselab.errors import DataError

FEWEST_NUMBERED = 4  # pictures; of fewer, numbers that are off by one may as well be chance
FURTHER = re.compile(r"^(.+?)[_\-. ]?\(?\d+\)?$")  # a second mask of a picture
PEEKED = 3  # label files read to say what a folder holds, where it is asked which one is meant


SPLITS = ("train", "val", "test")


class SeveralLabelFolders(DataError):
    """More than one folder has files that pair with the pictures. The message has the lines for each."""


def find_folder(tree: Tree) -> Found | None:
    """Parallel folders, or None where there is one kind of picture. Raises DataError where two choices fit alike."""
    images, labels = _by_folder(tree)
    if not labels:
        images, labels = _by_folder(tree, outermost=True)  # iSAID: Semantic_masks/images
    if not labels:
        endings = by_ending(tree)
        images, labels = _by_stem(tree) if len(endings) < 2 else ({}, {})
        if endings and not labels:
            return _of_ending(tree, endings)
    if not labels:
        images, labels = _by_format(tree)
    if not images or not labels:
        return None
    return found_pairs(tree, images, labels)


def found_pairs(
    tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]], layout: str = "folders"
) -> Found:
    """The pairs of the one picture folder and the one label folder that fit best."""
    choices = []
    for image_folder, pictures in images.items():
        for label_folder, masks in labels.items():
            pairs, rule = pair_placed(pictures, masks)
            if pairs:
                choices.append((image_folder, label_folder, pairs, rule))
    if not choices:
        raise DataError(_no_pairs(tree, images, labels))
    image_folder, label_folder, pairs, rule = _choose(tree, choices)
    notes = []
    if rule:
        first = pairs[0]
        notes.append(f"paired {first[0].file.name} with {first[1].file.name}, and so on: {rule}")
    _refuse_more_of_one(tree, pairs, labels[label_folder])
    _refuse_shifted(tree, images[image_folder], labels[label_folder])
    refuse_other_pairs(tree, {image.file: label.file for image, label in pairs})
    items = tuple(make_item(tree, image, label) for image, label in pairs)
    names, names_file = read_names(tree)
    if names_file:
        notes.append(f"class names from {names_file}")
    paired_images, paired_labels = {i.file for i, _ in pairs}, {m.file for _, m in pairs}
    lonely_images = tuple(tree.path(p.file) for p in images[image_folder] if p.file not in paired_images)
    lonely_labels = tuple(tree.path(p.file) for p in labels[label_folder] if p.file not in paired_labels)
    return Found(
        layout,
        unique_names(items),
        names=names,
        notes=tuple(notes),
        without_label=lonely_images,
        without_image=lonely_labels,
    )


def _refuse_shifted(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise DataError where pictures are numbered from 0 and labels from 1, or the other way round.

    Then every label but one has a picture of its number, which is its neighbour's.
    """
    numbers = [sorted(_number(p.file.stem) for p in side) for side in (images, labels)]
    (first, *_), (second, *_) = numbers
    each = len(images) == len(labels) >= FEWEST_NUMBERED and -1 not in (first, second)
    rows = all(row == list(range(row[0], row[0] + len(row))) for row in numbers)
    if each and rows and abs(first - second) == 1:
        raise DataError(
            f"{tree.root}: {len(images)} pictures are numbered from {first}, but their labels from {second}; number "
            "both alike, or, where the numbers agree and one of each is missing, take those out that have no partner "
            f"({(min if first < second else max)(images, key=lambda p: _number(p.file.stem)).file}, "
            f"{(max if first < second else min)(labels, key=lambda p: _number(p.file.stem)).file})"
        )


def _refuse_more_of_one(tree: Tree, pairs: Pairs, labels: Sequence[Placed]) -> None:
    """Raise DataError where a picture has more masks than the one of its name: a_mask_1.png beside a_mask.png."""
    paired = {label.file for _, label in pairs}
    masks = {file.with_suffix("") for file in paired if set(words(file.stem)) & LABEL_WORDS}
    lonely = (label.file for label in labels if label.file not in paired)
    more = [file for file in lonely if (own := FURTHER.match(file.stem)) and file.with_name(own[1]) in masks]
    if more:
        raise DataError(
            f"{tree.root}: {number_of(len(more), 'label file')} of pictures that have another ({first_few(more, 2)}): "
            "a file for each object. Join those of a picture into one (the largest number of each pixel), or take the "
            "pictures out"
        )


def _number(stem: str) -> int:
    """The number that a stem ends with; -1 where it has none, or several."""
    digits = re.findall(r"\d+", stem)
    return int(digits[0]) if len(digits) == 1 and stem.endswith(digits[0]) else -1


def _of_ending(tree: Tree, endings: Mapping[str, Pairs]) -> Found:
    """The pairs of the only ending. Raises DataError for several, with a pattern for each."""
    if len(endings) == 1:
        pairs = next(iter(endings.values()))
        return found_pairs(tree, {"": [image for image, _ in pairs]}, {"": [label for _, label in pairs]})
    ways = [
        f"`pattern: {in_yaml({'image': '*', 'mask': f'*{ending}'})}` ({_in_words(tree, pairs)})"
        for ending, pairs in endings.items()
    ]
    raise SeveralLabelFolders(
        f"{tree.root}: {len(ways)} files of each picture may be its labels; write in data.yaml {' or '.join(ways)}"
    )


def make_item(tree: Tree, image: Placed, label: Placed) -> Item:
    """An item of a picture and its label file."""
    name = str(image.file.with_suffix(""))
    return Item(name, tree.path(image.file), FileLabels(tree.path(label.file)), image.split or label.split)


def unique_names(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items whose names differ: where a.jpg and a.png are two pictures, the suffix stays."""
    often = Counter(item.name for item in items)
    return tuple(replace(i, name=i.name + i.image.suffix) if often[i.name] > 1 else i for i in items)


def _by_folder(tree: Tree, outermost: bool = False) -> tuple[dict[str, list[Placed]], dict[str, list[Placed]]]:
    placed = [place(file, outermost) for file in tree.pictures]
    images, labels = _grouped(placed, "image"), _grouped([place(file, outermost) for file in tree.label_files], "label")
    if not labels:  # PASCAL-Context: trainval/*.mat; MATLAB's files are no pictures
        stems = {file.stem for file in tree.pictures}
        named = [f for f in tree.label_files if f.suffix.lower() == MAT_SUFFIX and f.stem in stems]
        labels = _grouped([place(file, outermost) for file in named], None)
    if labels and not images:  # CamVid's train beside trainannot, or pictures in the root beside masks/
        images = _grouped(placed, None)
    return images, labels


def _grouped(placed: Sequence[tuple[str | None, Placed]], wanted: str | None) -> dict[str, list[Placed]]:
    groups: dict[str, list[Placed]] = defaultdict(list)
    for role, where in placed:
        if role == wanted:
            groups[where.folder].append(where)
    return dict(groups)


def _by_stem(tree: Tree) -> tuple[dict[str, list[Placed]], dict[str, list[Placed]]]:
    """Pictures and labels side by side in one folder, distinguished by words in the file names."""
    sides: tuple[list[Placed], list[Placed]] = ([], [])
    for file in tree.pictures:
        role, where = place(file)
        if role != "other":
            sides[bool(set(words(file.stem)) & LABEL_WORDS)].append(replace(where, folder=""))
    return ({"": sides[0]}, {"": sides[1]}) if all(sides) else ({}, {})


def _by_format(tree: Tree) -> tuple[dict[str, list[Placed]], dict[str, list[Placed]]]:
    """a.jpg beside a.png, in a folder that does not say more: the lossless one holds the labels."""
    photos = [place(f)[1] for f in tree.pictures if f.suffix.lower() in (".jpg", ".jpeg")]
    stems = {photo.file.with_suffix("") for photo in photos}
    masks = [place(f)[1] for f in tree.pictures if f.suffix.lower() == ".png" and f.with_suffix("") in stems]
    photos, masks = [replace(p, folder="") for p in photos], [replace(m, folder="") for m in masks]
    return ({"": photos}, {"": masks}) if masks else ({}, {})


def pair_placed(images: list[Placed], labels: list[Placed]) -> tuple[Pairs, str]:
    """Pairs within the same split and neutral folders; the split counts only where both sides have it."""
    both = all(p.split for p in images) and all(p.split for p in labels)
    depth = [{(p.neutral, p.split) for p in side} for side in (images, labels)]
    use_neutral = len({neutral for neutral, _ in depth[0] | depth[1]}) > 1

    def stem(placed: Placed) -> tuple[str, str]:
        where = (placed.split or "") if both else ""
        return f"{where}/{placed.neutral}" if use_neutral else where, placed.file.stem

    pairing = pair_stems([stem(p) for p in images], [stem(p) for p in labels])
    if not pairing.pairs and use_neutral:  # annotations/trimaps beside images: what all of a side share says nothing
        bare_images, bare_labels = _without_shared(images), _without_shared(labels)
        if (bare_images, bare_labels) != (images, labels):
            return _restored(pair_placed(bare_images, bare_labels), images, labels)
    whole = [(images[i], labels[j]) for i, j in pairing.pairs], pairing.rule
    if not both or len(whole[0]) == min(len(images), len(labels)):
        return whole
    # Each split may have a rule of its own: 21_training with 21_manual1, but 01_test with 01_manual1 (DRIVE).
    parts = [
        pair_placed([p for p in images if p.split == split], [p for p in labels if p.split == split])
        for split in sorted({p.split or "" for p in images} & {p.split or "" for p in labels})
        if len({p.split for p in (*images, *labels)}) > 1
    ]
    pairs = [pair for part, _ in parts for pair in part]
    return (pairs, next((rule for _, rule in parts if rule), "")) if len(pairs) > len(whole[0]) else whole


def _without_shared(side: list[Placed]) -> list[Placed]:
    """The files of a side without the neutral folders that all of them lie in."""
    shared = len(PurePosixPath(commonpath([p.neutral for p in side])).parts)
    return [replace(p, neutral="/".join(PurePosixPath(p.neutral).parts[shared:])) for p in side]


def _restored(paired: tuple[Pairs, str], images: list[Placed], labels: list[Placed]) -> tuple[Pairs, str]:
    by_file = {p.file: p for p in (*images, *labels)}
    return [(by_file[image.file], by_file[label.file]) for image, label in paired[0]], paired[1]


def _choose(tree: Tree, choices: list[tuple[str, str, Pairs, str]]) -> tuple[str, str, Pairs, str]:
    """The only choice; of several picture folders for one label folder, that with most pairs.

    Raises DataError where several folders may hold the labels: which of them is meant is asked, never chosen.
    """
    most = max(len(choice[2]) for choice in choices)
    best = [choice for choice in choices if len(choice[2]) == most]
    if len({choice[1] for choice in choices}) == 1 and len(best) == 1:
        return best[0]
    homes = {_folder(label) for _, _, pairs, _ in choices for _, label in pairs}
    lines = " or ".join(f"{_lines(pairs, homes)} ({_in_words(tree, pairs)})" for _, _, pairs, _ in choices)
    raise SeveralLabelFolders(
        f"{tree.root}: {len(choices)} folders may hold the labels; write in data.yaml {lines}; "
        "a mask of the field of view goes there as `ignore_mask: FOLDER`"
    )


def _lines(pairs: Pairs, homes: set[str]) -> str:
    """The lines of a choice. homes: of all label files that may be meant."""
    images, masks = ([pair[side] for pair in pairs] for side in (0, 1))
    above = any(home.startswith(f"{_folder(mask)}/") for mask in masks for home in homes)
    return f"`images: {in_yaml(_folders(images))}` and `masks: {in_yaml(_folders(masks, innermost=above))}`"


def _folders(placed: Sequence[Placed], innermost: bool = False) -> Any:
    """The folder to write in data.yaml, or several, or those of each split, where they differ.

    innermost: the one that the file itself is in, where another choice lies below the one that says what it holds
    """
    found: dict[str | None, dict[str, None]] = defaultdict(dict)
    for p in sorted(placed, key=lambda p: (SPLITS.index(p.split or "train"), p.file)):
        found[p.split][str(p.file.parent) if innermost else _folder(p)] = None
    of_split = {split: list(own) if len(own) > 1 else next(iter(own)) for split, own in found.items()}
    first = next(iter(of_split.values()))
    if None in of_split or all(own == first for own in of_split.values()):
        folders = list(dict.fromkeys(folder for own in found.values() for folder in own))
        return folders if len(folders) > 1 else folders[0]
    return {str(split): own for split, own in of_split.items()}


def _in_words(tree: Tree, pairs: Pairs) -> str:
    """How many pairs, and the values of the first few label files."""
    contents = [read_contents(tree.path(label.file)) for _, label in pairs[:PEEKED]]
    values = sorted({value for c in contents for value in c.counts})
    kind = "colours" if any(c.coloured for c in contents) else "values"
    shown = f" {first_few(values, 4)}" if kind == "values" else ""
    return f"{number_of(len(pairs), 'pair')}, {len(values)} {kind}{shown}"


def _folder(placed: Placed) -> str:
    """The folder to write in data.yaml: up to the component that says what it holds, by which it was found."""
    parts = placed.file.parts[:-1]
    for index in range(len(parts) - 1, -1, -1):
        if placed.folder == named_in(parts[index]):
            return "/".join(parts[: index + 1])
    return "/".join(parts) or "."


def _of_parts(pictures: Sequence[PurePosixPath], masks: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """The label files that are called as a picture and more, lie in a folder of its name, or in one of each class.

    [] unless most do, several for each picture.
    """
    stems = {picture.stem for picture in pictures}
    often = Counter(picture.stem for picture in pictures)
    several = Counter(stem for _, stem in {(mask.parent, mask.stem) for mask in masks})
    starts = {
        mask: next((m for m in reversed(_starts(mask.stem)) if m in stems), None)
        or (mask.parent.name if mask.parent.name in stems else None)
        or (mask.stem if several[mask.stem] > often[mask.stem] > 0 else None)
        for mask in masks
    }
    found = [mask for mask, start in starts.items() if start is not None]
    return found if 2 * len(found) > len(masks) and len(found) > len({starts[mask] for mask in found}) else []


def _starts(stem: str) -> list[str]:
    """What stands before each mark in a stem: a and a_1 of a_1-red."""
    return [stem[: match.start()] for match in re.finditer(r"[_\-. ]", stem)]


def _no_pairs(tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]]) -> str:
    pictures = [p.file for side in images.values() for p in side]
    masks = [p.file for side in labels.values() for p in side]
    parts = _of_parts(pictures, masks)
    if parts:
        return (
            f"{tree.root}: {number_of(len(parts), 'label file')} are called by a picture, several for each "
            f"({first_few(parts, 2)}): a file for each object or class. Join those of a picture into one, with a "
            "number for each class, or rename them to IMAGE-CLASS-NUMBER.png, which is read"
        )
    return (
        f"{tree.root}: no label has the name of a picture: {first_few(pictures, 2)} against {first_few(masks, 2)}; "
        "rename them, or write `pattern: {image: 'A*', mask: 'B*'}` in data.yaml, "
        "where * stands for the part that both share"
    )
