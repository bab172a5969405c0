"""Why no label goes with a picture of its name, and what is asked where other parts of the names or folders say it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import PurePosixPath

from denselab.data.folders.asking import (
    SeveralLabelFolders,
    SeveralWays,
    all_lines,
    folders_of,
    in_words,
    inner_pairs,
    of_parts,
    parts_in_words,
)
from denselab.data.folders.placing import Pairs, Placed, pair_placed
from denselab.data.label_files.scan import read_contents
from denselab.data.listing.pairing import shared_start
from denselab.data.listing.tree import Tree, folder_role, starts
from denselab.data.yaml_text import in_yaml
from denselab.in_words import first_few, number_of

MOST_ENDINGS = 8  # of the names of labels; of more, none is offered
SHOWN = 2  # of these, where all of them are parts of one label

Start = tuple[str | None, str]
"""What the name of a picture begins with, in its split."""


def no_pairs(tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]]) -> str:
    """Why no label goes with a picture, and the way. Raises SeveralWays where some do, with the line for each."""
    sides = [[p for group in side.values() for p in group] for side in (images, labels)]
    pictures, masks = ([p.file for p in side] for side in sides)
    _ask_copies(tree, *sides)
    _ask_shared(tree, *sides)
    ends = _endings(*sides)
    if not ends:
        _ask_inner(tree, *sides)
    unread = read_contents(tree.path(masks[0])).error
    if unread:
        return unread
    for files, what in ((pictures, "picture"), (masks, "label file")):
        double = _doubles(files)
        if double:
            return (
                f"{tree.root}: {number_of(len(double), what)} in two formats ({first_few(double, 2)}): take one of "
                "each out"
            )
    patterns = [
        f"`pattern: {in_yaml({'image': f'*{image}', 'mask': f'*{mask}'})}` ({in_words(tree, pairs)})"
        for (image, mask), pairs in ends
    ]
    parts = of_parts(pictures, masks)
    if parts and not (ends and all(_is_whole(tree, pairs) for _, pairs in ends)):
        taking = " or ".join(patterns[:SHOWN]) + ", and so on" * (len(patterns) > SHOWN)
        if patterns:
            raise SeveralWays(f"{parts_in_words(tree, parts)}; or take one of them by {taking} in data.yaml")
        return parts_in_words(tree, parts)
    if len(ends) > 1:
        raise SeveralWays(_in_several_ways(tree, ends, patterns))
    if ends:
        raise SeveralWays(
            f"{tree.root}: pictures and labels have endings of their own; write in data.yaml {' or '.join(patterns)}"
        )
    stems = {picture.stem for picture in pictures}
    folders = sorted({mask.parent.name for mask in masks if mask.stem in stems})
    if len(folders) > 1:
        return (
            f"{tree.root}: the labels lie in folders that the pictures do not have ({first_few(folders)}). Where "
            "these are classes, rename the labels to IMAGE-CLASS-NUMBER.png in one folder labels/, which is read; "
            "where they say nothing, put all labels into one folder"
        )
    return (
        f"{tree.root}: no label has the name of a picture: {first_few(pictures, 2)} against {first_few(masks, 2)}; "
        "rename them, or say in pairs.csv which belong together, with a line `PICTURE,LABEL` for each, or write "
        "`pattern: {image: 'A*', mask: 'B*'}` in data.yaml, where * stands for the part that both share"
    )


def _in_several_ways(tree: Tree, ends: Sequence[tuple[tuple[str, str], Pairs]], patterns: Sequence[str]) -> str:
    """What is asked where labels have several endings, with the line that takes all where no picture has two."""
    images = [image.file for _, pairs in ends for image, _ in pairs]
    mark = shared_start([mask for (_, mask), _ in ends])
    last = all(mask.file.stem.rfind(mark) == len(image.file.stem) for _, pairs in ends for image, mask in pairs)
    each = mark and last and len(set(images)) == len(images)
    return (
        f"{tree.root}: the labels are called in {len(ends)} ways, and may be numbered in as many; write in data.yaml "
        f"which of them count: {' or '.join(patterns)}"
        + (f"; where they are numbered alike, {_pattern('', f'{mark}*')} takes all" if each else "")
    )


def _is_whole(tree: Tree, pairs: Pairs) -> bool:
    """Whether a label file holds more classes than one and a background, so that it is no part of another."""
    return len(read_contents(tree.path(pairs[0][1].file)).counts) > 2


def _doubles(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """The files that another one of the same folder and name differs from by its suffix alone."""
    often = Counter(file.with_suffix("") for file in files)
    return [file for file in files if often[file.with_suffix("")] > 1]


def _endings(pictures: Sequence[Placed], masks: Sequence[Placed]) -> list[tuple[tuple[str, str], Pairs]]:
    """What stands behind the part that pictures and labels share, in the names of each, with the pairs of each.

    The part is the whole name of a picture where labels go on from there, else the most that both begin with. [] for
    more endings than a few, and where a picture would have several labels of one.
    """
    if not all(placed.split for placed in (*pictures, *masks)):  # else names may begin anew in each split
        pictures, masks = ([replace(placed, split=None) for placed in side] for side in (pictures, masks))
    by_stem = {(picture.split, picture.file.stem): picture for picture in pictures}
    begun: dict[Start, Placed] = {}
    for picture in sorted(pictures, key=lambda p: (len(p.file.stem), p.file)):
        for start in starts(picture.file.stem):
            begun.setdefault((picture.split, start), picture)
    return _few(by_stem, masks) or _few(begun, masks)


def _few(begun: Mapping[Start, Placed], masks: Sequence[Placed]) -> list[tuple[tuple[str, str], Pairs]]:
    found: dict[tuple[str, str], Pairs] = defaultdict(list)
    for mask in masks:
        start = next((m for m in reversed(starts(mask.file.stem)) if (mask.split, m) in begun), None)
        if start is not None:
            picture = begun[mask.split, start]
            found[picture.file.stem[len(start) :], mask.file.stem[len(start) :]].append((picture, mask))
    few = len(found) <= MOST_ENDINGS and all(
        len(pairs) > 1 and len({image.file for image, _ in pairs}) == len(pairs) and _is_word(image) and _is_word(mask)
        for (image, mask), pairs in found.items()
    )
    equal = all(image == mask for image, mask in found)  # the names are: it is the folders that differ
    return sorted(found.items(), key=lambda end: end[0]) if few and not equal else []


def _ask_copies(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise SeveralLabelFolders where pictures in folders of splits have the names of others outside."""
    inside, outside = ([[p for p in side if bool(p.split) == split] for side in (images, labels)] for split in (1, 0))
    double = {p.file.stem for p in inside[0]} & {p.file.stem for p in outside[0]}
    choices = [pairs for part in (inside, outside) if all(part) and len(pairs := pair_placed(*part)[0]) > 1]
    if double and len(choices) > 1:
        raise SeveralLabelFolders(
            f"{tree.root}: {number_of(len(double), 'picture')} both in folders of splits and outside "
            f"({first_few(sorted(double))}): copies would be in train and test at once; write in data.yaml "
            f"{all_lines(tree, choices)}"
        )


def _ask_shared(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise SeveralWays where most pictures are called as a label and more, several for each: exposures of a scene."""
    stems = [label.file.stem for label in labels]
    word = stems[0][len(max(starts(stems[0]), key=len, default=stems[0])) :]  # _mask, where all labels end with it
    word = word if folder_role(word) == "label" and all(stem.endswith(word) for stem in stems) else ""
    by_stem = {stem.removesuffix(word): label for stem, label in zip(stems, labels, strict=True)}
    found: dict[str, Pairs] = defaultdict(list)
    for image in images:
        start = next((start for start in reversed(starts(image.file.stem)) if start in by_stem), None)
        if start is not None:
            found[image.file.stem[len(start) :]].append((image, by_stem[start]))
    pairs = [pair for own in found.values() for pair in own]
    often = Counter(label.file for _, label in pairs)
    if 2 * len(pairs) <= len(images) or 2 * sum(count > 1 for count in often.values()) <= len(labels):
        return
    one = [f"{_pattern(ending, word)} ({in_words(tree, own)})" for ending, own in sorted(found.items()) if len(own) > 1]
    mark = shared_start(list(found)).rstrip("0123456789") or min(found)[0]
    last = all(p.file.stem.rfind(mark) == len(p.file.stem) - len(end) for end, own in found.items() for p, _ in own)
    way = (
        f"Write in data.yaml {_pattern(f'{mark}*', word)}"
        if last
        else "Write pairs.csv, with a line `PICTURE,LABEL` for each,"
    )
    each = f"to take one picture of each, {' or '.join(one)}" if 0 < len(one) <= MOST_ENDINGS else ""
    raise SeveralWays(
        f"{tree.root}: {number_of(len(pairs), 'picture')} are called by a label and more, several for each "
        f"({first_few((image.file for image, _ in pairs), 2)}): exposures or views of one thing. "
        f"{way} to give the label to all of them{'; or, ' * bool(each)}{each}"
    )


def _pattern(image: str, mask: str) -> str:
    """The line for names with these endings."""
    return f"`pattern: {in_yaml({'image': f'*{image}', 'mask': f'*{mask}'})}`"


def _is_word(ending: str) -> bool:
    """Whether an ending may say what a file is; a number tells pictures apart."""
    return not ending or any(map(str.isalpha, ending))


def _ask_inner(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise SeveralWays where several inner folders of one side pair with one of the other: A and B, rgb and nir."""
    found = list((inner_pairs(tree, images, labels) or _whole_pairs(images, labels)).values())
    often = [max(Counter(pair[side].file for pairs in found for pair in pairs).values(), default=0) for side in (0, 1)]
    if not 1 < len(found) <= MOST_ENDINGS or often == [1, 1]:
        return
    lines = [
        f"`images: {in_yaml(folders_of([image for image, _ in pairs], innermost=True))}` and "
        f"`masks: {in_yaml(folders_of([mask for _, mask in pairs], innermost=True))}` ({in_words(tree, pairs)})"
        for pairs in found
    ]
    told = f"{tree.root}: several folders go with the pictures;"
    parts = of_parts([image.file for image in images], [label.file for label in labels]) if often[0] > 1 else []
    if often[1] > 1:
        told = f"{tree.root}: several pictures go with each label, of which one counts;"
    elif parts:
        told = f"{parts_in_words(tree, parts)}; or take those of one folder:"
    raise SeveralWays(f"{told} write in data.yaml {' or '.join(lines)}")


def _whole_pairs(images: Sequence[Placed], labels: Sequence[Placed]) -> dict[tuple[str, str], Pairs]:
    """The pairs of each folder of pictures with each one of labels, whatever lies above: Annotator 1/label masks."""
    groups: tuple[dict[str, list[Placed]], dict[str, list[Placed]]] = (defaultdict(list), defaultdict(list))
    for side, placed in ((0, images), (1, labels)):
        for p in placed:
            groups[side][str(p.file.parent)].append(replace(p, folder="", neutral=""))
    if len(groups[0]) * len(groups[1]) > MOST_ENDINGS:
        return {}
    found = {(a, b): pair_placed(groups[0][a], groups[1][b])[0] for a, b in product(*groups)}
    return {folders: pairs for folders, pairs in found.items() if len(pairs) > 1}
