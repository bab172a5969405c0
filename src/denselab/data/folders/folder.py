"""Parallel folders of pictures and label pictures, under any usual names; also both kinds side by side in one folder.

The words in folder names say what is in them (tree.folder_role) and which split it is (images/train, train/images,
train_images). Without a label folder the words in file names decide (a_image.png beside a_mask.png), and last the
format (a.jpg beside a.png).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from denselab.data.folders.asking import (
    JOINING,
    SeveralLabelFolders,
    ask_unnamed,
    choose,
    in_words,
    inner_pairs,
    of_one_name,
    parts_in_words,
    refuse_several_beside,
)
from denselab.data.folders.endings import PEEKED, by_ending, is_label
from denselab.data.folders.placing import Pairs, Placed, has_number, pair_placed, place
from denselab.data.folders.told_pairs import refuse_other_pairs, told_pairs
from denselab.data.folders.unpaired import no_pairs
from denselab.data.item import FileLabels, Found, Item, LabelSource, NamedLabel
from denselab.data.label_files.scan import read_contents
from denselab.data.listing.tree import LABEL_WORDS, Tree, folder_role, role_of_folders, words
from denselab.data.names.name_records import names_of_tools
from denselab.data.names.names import read_names
from denselab.data.pixels.images import MAT_SUFFIX
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

FEWEST_NUMBERED = 4  # pictures; of fewer, numbers that are off by one may as well be chance
FURTHER = re.compile(r"^(.+?)[_\-. ]?\(?\d+\)?$")  # a second mask of a picture


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
    if images and labels:
        return found_pairs(tree, images, labels)
    placed = [place(file) for file in tree.label_files]
    everything = [where for _, where in placed]
    told = _told(tree, everything, everything, "folders")
    if told is None:
        ask_unnamed(tree, placed)
    return told


def found_pairs(
    tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]], layout: str = "folders"
) -> Found:
    """The pairs of the one picture folder and the one label folder that fit best, else those that a table names."""
    choices = []
    for image_folder, pictures in images.items():
        for label_folder, masks in labels.items():
            pairs, rule = pair_placed(pictures, masks)
            if pairs:
                choices.append((image_folder, label_folder, pairs, rule))
    sides = [[placed for group in side.values() for placed in group] for side in (images, labels)]
    told = _told(tree, sides[0], sides[1], layout)
    if not choices:
        return told or _of_inner(tree, images, labels, layout)
    image_folder, label_folder, pairs, rule = choose(tree, of_one_name(choices))
    refuse_several_beside(tree, pairs, {name: labels[name] for name in labels.keys() - {c[1] for c in choices}})
    first = pairs[0]
    notes = [f"paired {first[0].file.name} with {first[1].file.name}, and so on: {rule}"] if rule else []
    _refuse_more_of_one(tree, pairs, labels[label_folder])
    _refuse_shifted(tree, images[image_folder], labels[label_folder])
    refuse_other_pairs(tree, {image.file: label.file for image, label in pairs})
    if told is not None and len(told.items) > len(pairs):
        return told
    return _found(tree, pairs, images[image_folder], labels[label_folder], layout, notes)


def _of_inner(tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]], layout: str) -> Found:
    """The pairs of inner folders of which each goes with one of the other side: Slide_01 with GT_01.

    Raises DataError where there are none, or where that leaves most labels.
    """
    sides = [[placed for group in side.values() for placed in group] for side in (images, labels)]
    inner = inner_pairs(tree, sides[0], sides[1])
    pairs = [pair for of_folder in inner.values() for pair in of_folder]
    each = all(len({folders[side] for folders in inner}) == len(inner) for side in (0, 1))
    if not each or 2 * len(pairs) <= len(sides[1]):
        raise DataError(no_pairs(tree, images, labels))
    return _found(tree, pairs, sides[0], sides[1], layout, [])


def _told(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed], layout: str) -> Found | None:
    """The pairs that tables and records name, of these pictures and labels; None where they name none."""
    told, source = told_pairs(tree)
    image_of, label_of = ({placed.file: placed for placed in side} for side in (images, labels))
    pairs = [(image_of[a], label_of[b]) for a, b in sorted(told.items()) if a in image_of and b in label_of]
    return _found(tree, pairs, images, labels, layout, [f"pairs from {source}"]) if pairs else None


def _found(
    tree: Tree, pairs: Pairs, images: Sequence[Placed], labels: Sequence[Placed], layout: str, notes: list[str]
) -> Found:
    """The data set of these pairs. images, labels: of which some may have no partner"""
    names, told = names_for(tree, pairs)
    paired = {placed.file for pair in pairs for placed in pair}
    lonely_images = tuple(tree.path(p.file) for p in images if p.file not in paired and may_lack_label(p, pairs))
    lonely_labels = tuple(tree.path(p.file) for p in labels if p.file not in paired)
    return Found(
        layout,
        tuple(make_item(tree, image, label) for image, label in pairs),
        names=names,
        notes=(*notes, *told),
        without_label=lonely_images,
        without_image=lonely_labels,
    )


def may_lack_label(placed: Placed, pairs: Pairs) -> bool:
    """Whether a file may be a picture: not where it lies in a folder of labels, and no picture that has one does."""
    return role_of_folders(placed.file) != "label" or any(role_of_folders(p.file) == "label" for p, _ in pairs)


def names_for(tree: Tree, pairs: Pairs) -> tuple[tuple[NamedLabel, ...], tuple[str, ...]]:
    """The names of a names file, else those of a file of a tool that fits the labels; and a note that says where."""
    names, file = read_names(tree)
    if not names:
        names, file = names_of_tools(tree, [tree.path(label.file) for _, label in pairs])
    return names, ((f"class names from {file}",) if file else ())


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
    """The pairs of the only ending. Raises DataError for several, with a pattern for each and the way to join them."""
    if len(endings) == 1:
        pairs = next(iter(endings.values()))
        return found_pairs(tree, {"": [image for image, _ in pairs]}, {"": [label for _, label in pairs]})
    files = [label.file for pairs in endings.values() for _, label in pairs]
    shown = [read_contents(tree.path(pairs[0][1].file), clear=True) for pairs in endings.values()]
    if all(one.clear and len(one.counts) == 1 for one in shown):  # layers that an editor saved
        raise SeveralLabelFolders(parts_in_words(tree, files))
    ways = [
        f"`pattern: {in_yaml({'image': '*', 'mask': f'*{ending}'})}` ({in_words(tree, pairs)})"
        for ending, pairs in endings.items()
    ]
    parts = f". Where each shows one class: {JOINING}" if all(len(one.counts) <= 2 for one in shown) else ""
    raise SeveralLabelFolders(
        f"{tree.root}: {len(ways)} files of each picture may be its labels; write in data.yaml {' or '.join(ways)}"
        f"{parts}"
    )


def item_of(tree: Tree, image: PurePosixPath, source: LabelSource, split: str | None = None, group: str = "") -> Item:
    """A picture with its labels, named by its path without suffix."""
    return Item(str(image.with_suffix("")), tree.path(image), source, split, group)


def without_item(tree: Tree, pictures: Iterable[PurePosixPath], items: Iterable[Item]) -> tuple[Path, ...]:
    """The pictures that no item has."""
    taken = {item.image for item in items}
    return tuple(path for picture in pictures if (path := tree.path(picture)) not in taken)


def make_item(tree: Tree, image: Placed, label: Placed) -> Item:
    """An item of a picture and its label file."""
    return item_of(tree, image.file, FileLabels(tree.path(label.file)), image.split or label.split)


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
            parts = [part for part in file.parts[:-1] if has_number(part) and folder_role(part)]  # patch_0001/image.tif
            where = replace(where, folder="", neutral="/".join(filter(None, (where.neutral, *parts))))
            sides[bool(set(words(file.stem)) & LABEL_WORDS)].append(where)
    return ({"": sides[0]}, {"": sides[1]}) if all(sides) else ({}, {})


def _by_format(tree: Tree) -> tuple[dict[str, list[Placed]], dict[str, list[Placed]]]:
    """a.jpg beside a.png, in a folder that does not say more: the lossless one holds the labels.

    Of other two formats (a.bmp beside a.png) the one with few values does.
    """
    found = [place(file)[1] for file in tree.pictures]
    photos = [where for where in found if where.file.suffix.lower() in (".jpg", ".jpeg")]
    stems = {photo.file.with_suffix("") for photo in photos}
    masks = [w for w in found if w.file.suffix.lower() == ".png" and w.file.with_suffix("") in stems]
    if not masks:
        photos, masks = _of_two_formats(tree, found)
    photos, masks = [replace(p, folder="") for p in photos], [replace(m, folder="") for m in masks]
    return ({"": photos}, {"": masks}) if masks else ({}, {})


def _of_two_formats(tree: Tree, found: Sequence[Placed]) -> tuple[list[Placed], list[Placed]]:
    """Pictures and labels that differ by their suffix, where all are in two formats and one has few values alone."""
    often = Counter(where.file.with_suffix("") for where in found)
    forms: dict[str, list[Placed]] = defaultdict(list)
    for where in found:
        if often[where.file.with_suffix("")] == 2:
            forms[where.file.suffix.lower()].append(where)
    told = [(all(is_label(tree, where) for where in own[:PEEKED]), own) for own in forms.values()]
    if [labels for labels, _ in sorted(told, key=lambda one: one[0])] != [False, True]:
        return [], []
    first, second = sorted(told, key=lambda one: one[0])
    return first[1], second[1]
