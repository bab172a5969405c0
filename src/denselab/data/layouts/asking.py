"""What is asked where folders of pictures and labels pair in several ways, and what is said where they do not."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from denselab.data.layouts.endings import is_label
from denselab.data.layouts.placing import Pairs, Placed, named_in, pair_placed
from denselab.data.read.pairing import shared_start
from denselab.data.read.scan import read_contents
from denselab.data.read.tree import SPLITS, Tree, bare_stem, folder_role, split_in_name, starts
from denselab.data.read.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

PEEKED = 3  # label files read to say what a folder holds, where it is asked which one is meant
MOST_ENDINGS = 8  # of the names of labels; of more, none is offered
MOST_INNER = 256  # pairs of inner folders that are tried; more are those of patients
SHOWN = 2  # of these, where all of them are parts of one label
JOINING = (
    "join those of a picture into one, with a number for each class, or rename them to IMAGE-CLASS-NUMBER.png, which "
    "is read from a folder labels/ beside the pictures"
)


class SeveralLabelFolders(DataError):
    """More than one folder has files that pair with the pictures. The message has the lines for each."""


class SeveralWays(DataError):
    """Inner folders that say nothing, or endings of names, pair each. The message has the line for each."""


Choice = tuple[str, str, Pairs, str]
"""A folder of pictures, one of labels, their pairs, and the rule that pairs them."""


def of_one_name(choices: list[Choice]) -> list[Choice]:
    """The choices whose folders differ in the words for pictures and labels alone, as im1 and label1 do.

    All choices where not every folder has one such partner.
    """
    own = [choice for choice in choices if bare_stem(choice[0]) == bare_stem(choice[1])]
    each = all({choice[side] for choice in own} == {choice[side] for choice in choices} for side in (0, 1))
    once = all(len({choice[side] for choice in own}) == len(own) for side in (0, 1))
    return own if each and once else choices


def choose(tree: Tree, choices: list[Choice]) -> Choice:
    """The only choice; of several picture folders for one label folder, that with most pairs.

    Raises DataError where several folders may hold the labels: which of them is meant is asked, never chosen.
    """
    most = max(len(choice[2]) for choice in choices)
    best = [choice for choice in choices if len(choice[2]) == most]
    if len({choice[1] for choice in choices}) == 1 and len(best) == 1:
        return best[0]
    lines = _all_lines(tree, [pairs for _, _, pairs, _ in choices])
    joined = [pair for _, _, pairs, _ in choices for pair in pairs]
    named = [{(p.folder, p.split, p.neutral, p.file.stem) for p in side} for side in zip(*joined, strict=True)]
    if all(len(side) == len(joined) for side in named):
        lines += f"; or, where they are parts of one, {_lines(joined, set())}"
    of_pictures = len({choice[1] for choice in choices}) == 1
    raise SeveralLabelFolders(
        f"{tree.root}: {len(choices)} folders may hold the {'pictures' if of_pictures else 'labels'}; write in "
        f"data.yaml {lines}; "
        "a mask of the field of view goes there as `ignore_mask: FOLDER`"
    )


def refuse_several_beside(tree: Tree, pairs: Pairs, unpaired: Mapping[str, Sequence[Placed]]) -> None:
    """Raise SeveralLabelFolders where a folder that pairs with nothing has several label files for each picture.

    unpaired: {folder: label files}. They may be what is meant, and what has paired the mask of a field of view.
    """
    for masks in unpaired.values():
        parts = _of_parts([image.file for image, _ in pairs], [mask.file for mask in masks])
        if parts:
            raise SeveralLabelFolders(
                f"{parts_in_words(tree, parts)}. Where the labels are those of {pairs[0][1].file.parent}, write in "
                f"data.yaml {_lines(pairs, set())}"
            )


def ask_unnamed(tree: Tree, placed: Sequence[tuple[str | None, Placed]]) -> None:
    """Raise DataError for folders whose names do not say that they hold labels, and whose files say so: with lines.

    placed: all pictures, with the role that their folders give them
    """
    images = [where for role, where in placed if role == "image"]
    groups = _by_inner([where for role, where in placed if role is None and len(where.file.parts) > 1])
    held = {name: all(is_label(tree, where) for where in group[:PEEKED]) for name, group in groups.items()}
    pictures = [images] if images else [group for name, group in groups.items() if not held[name]]
    masks = [group for name, group in groups.items() if held[name]]
    found = [pairs for some in pictures for labels in masks if len(pairs := pair_placed(some, labels)[0]) > 1]
    for some, labels in product(pictures, masks) if not found else ():
        parts = _of_parts([picture.file for picture in some], [label.file for label in labels])
        if parts:
            raise DataError(parts_in_words(tree, parts))
    if found:
        raise DataError(
            f"{tree.root}: no folder is called as those of labels are, but these may hold them: write in data.yaml "
            f"{_all_lines(tree, found)}"
        )


def _all_lines(tree: Tree, choices: Sequence[Pairs]) -> str:
    homes = {_folder(label) for pairs in choices for _, label in pairs}
    return " or ".join(f"{_lines(pairs, homes)} ({in_words(tree, pairs)})" for pairs in choices)


def _lines(pairs: Pairs, homes: set[str]) -> str:
    """The lines of a choice. homes: of all label files that may be meant."""
    images, masks = ([pair[side] for pair in sorted(pairs, key=lambda pair: pair[0].file)] for side in (0, 1))
    above = any(home.startswith(f"{_folder(mask)}/") for mask in masks for home in homes)
    return f"`images: {in_yaml(_folders(images))}` and `masks: {in_yaml(_folders(masks, innermost=above))}`"


def _folders(placed: Sequence[Placed], innermost: bool = False) -> Any:
    """The folder to write in data.yaml, or several, or those of each split, where they differ.

    placed: in the order in which folders of pictures and labels go with each other
    innermost: the one that the file itself is in, where another choice lies below the one that says what it holds
    """
    found: dict[str | None, dict[str, None]] = defaultdict(dict)
    for p in sorted(placed, key=lambda p: SPLITS.index(p.split or "train")):
        found[p.split][str(p.file.parent) if innermost else _folder(p)] = None
    of_split = {split: list(own) if len(own) > 1 else next(iter(own)) for split, own in found.items()}
    first = next(iter(of_split.values()))
    if None in of_split or all(own == first for own in of_split.values()):
        folders = list(dict.fromkeys(folder for own in found.values() for folder in own))
        return folders if len(folders) > 1 else folders[0]
    return {str(split): own for split, own in of_split.items()}


def in_words(tree: Tree, pairs: Pairs) -> str:
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
    begun = {
        mask: next((m for m in reversed(starts(mask.stem)) if m in stems), None)
        or (mask.parent.name if mask.parent.name in stems else None)
        or (mask.stem if several[mask.stem] > often[mask.stem] > 0 else None)
        for mask in masks
    }
    found = [mask for mask, start in begun.items() if start is not None]
    return found if 2 * len(found) > len(masks) and len(found) > len({begun[mask] for mask in found}) else []


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
    parts = _of_parts(pictures, masks)
    if parts:
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


def parts_in_words(tree: Tree, parts: Sequence[PurePosixPath]) -> str:
    """What is said of several label files of each picture."""
    return (
        f"{tree.root}: {number_of(len(parts), 'label file')} are called by a picture, several for each "
        f"({first_few(parts, 2)}): a file for each object or class: {JOINING}"
    )


def _doubles(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """The files that another one of the same folder and name differs from by its suffix alone."""
    often = Counter(file.with_suffix("") for file in files)
    return [file for file in files if often[file.with_suffix("")] > 1]


def _endings(pictures: Sequence[Placed], masks: Sequence[Placed]) -> list[tuple[tuple[str, str], Pairs]]:
    """What stands behind the part that pictures and labels share, in the names of each, with the pairs of each.

    The part is the whole name of a picture where labels go on from there, else the most that both begin with. [] for
    more endings than a few, and where a picture would have several labels of one.
    """
    by_stem = {picture.file.stem: picture for picture in pictures}
    begun: dict[str, Placed] = {}
    for picture in sorted(pictures, key=lambda p: (len(p.file.stem), p.file)):
        for start in starts(picture.file.stem):
            begun.setdefault(start, picture)
    return _few(by_stem, masks) or _few(begun, masks)


def _few(begun: Mapping[str, Placed], masks: Sequence[Placed]) -> list[tuple[tuple[str, str], Pairs]]:
    """begun: {start of a name: the picture}"""
    found: dict[tuple[str, str], Pairs] = defaultdict(list)
    for mask in masks:
        start = next((m for m in reversed(starts(mask.file.stem)) if m in begun), None)
        if start is not None:
            ends = (begun[start].file.stem[len(start) :], mask.file.stem[len(start) :])
            found[ends].append((begun[start], mask))
    few = len(found) <= MOST_ENDINGS and all(
        len(pairs) > 1 and len({image.file for image, _ in pairs}) == len(pairs) and _is_word(image) and _is_word(mask)
        for (image, mask), pairs in found.items()
    )
    return sorted(found.items(), key=lambda end: end[0]) if few else []


def _ask_copies(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise SeveralLabelFolders where pictures in folders of splits have the names of others outside."""
    inside, outside = ([[p for p in side if bool(p.split) == split] for side in (images, labels)] for split in (1, 0))
    double = {p.file.stem for p in inside[0]} & {p.file.stem for p in outside[0]}
    choices = [pairs for part in (inside, outside) if all(part) and len(pairs := pair_placed(*part)[0]) > 1]
    if double and len(choices) > 1:
        raise SeveralLabelFolders(
            f"{tree.root}: {number_of(len(double), 'picture')} both in folders of splits and outside "
            f"({first_few(sorted(double))}): copies would be in train and test at once; write in data.yaml "
            f"{_all_lines(tree, choices)}"
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


def inner_pairs(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> dict[tuple[str, str], Pairs]:
    """The pairs of each inner folder of pictures with each one of labels whose first file can be read.

    Where names are equal in some, those of other names do not count.
    """
    sides = [_by_inner(side) for side in (images, labels)]
    if len(sides[0]) * len(sides[1]) > MOST_INNER:
        return {}
    readable = [name for name, group in sides[1].items() if not read_contents(tree.path(group[0].file)).error]
    paired = {(a, b): pair_placed(sides[0][a], sides[1][b]) for a, b in product(sides[0], readable)}
    found = {folders: (pairs, rule) for folders, (pairs, rule) in paired.items() if len(pairs) > 1}
    equal = {folders: pairs for folders, (pairs, rule) in found.items() if not rule}
    return equal or {folders: pairs for folders, (pairs, _) in found.items()}


def _ask_inner(tree: Tree, images: Sequence[Placed], labels: Sequence[Placed]) -> None:
    """Raise SeveralWays where several inner folders of one side pair with one of the other: A and B, rgb and nir."""
    found = list((inner_pairs(tree, images, labels) or _whole_pairs(images, labels)).values())
    often = [max(Counter(pair[side].file for pairs in found for pair in pairs).values(), default=0) for side in (0, 1)]
    if not 1 < len(found) <= MOST_ENDINGS or often == [1, 1]:
        return
    lines = [
        f"`images: {in_yaml(_folders([image for image, _ in pairs], innermost=True))}` and "
        f"`masks: {in_yaml(_folders([mask for _, mask in pairs], innermost=True))}` ({in_words(tree, pairs)})"
        for pairs in found
    ]
    told = f"{tree.root}: several folders go with the pictures;"
    parts = _of_parts([image.file for image in images], [label.file for label in labels]) if often[0] > 1 else []
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


def _by_inner(side: Sequence[Placed]) -> dict[str, list[Placed]]:
    """Files by the folder that they are in, as if its name said what it holds; a split is passed over."""
    groups: dict[str, list[Placed]] = defaultdict(list)
    for placed in side:
        neutral = PurePosixPath(placed.neutral)
        inner = next((part for part in reversed(placed.file.parts[:-1]) if split_in_name(part) is None), "")
        if inner and neutral.name == inner and folder_role(inner) is None:
            placed = replace(placed, folder=named_in(inner), neutral="/".join(neutral.parts[:-1]))
        groups[placed.folder].append(placed)
    return groups
