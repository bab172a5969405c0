"""What is asked where folders of pictures and labels pair in several ways, with the lines for data.yaml."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from denselab.data.folders.endings import is_label
from denselab.data.folders.placing import Pairs, Placed, named_in, pair_placed
from denselab.data.label_files.scan import read_contents
from denselab.data.listing.tree import SPLITS, Tree, bare_stem, folder_role, split_in_name, starts, words
from denselab.data.yaml_text import in_yaml
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

PEEKED = 3  # label files read to say what a folder holds, where it is asked which one is meant
DIGITS = "0123456789"
MOST_BEGINNINGS = 8  # of the names of one folder
MOST_INNER = 256  # pairs of inner folders that are tried; more are those of patients
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
    lines = each_or_all(tree, [pairs for _, _, pairs, _ in choices])
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
        parts = of_parts([image.file for image, _ in pairs], [mask.file for mask in masks])
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
    unnamed = [where for role, where in placed if role is None and len(where.file.parts) > 1]
    pictures, masks, found = _unnamed_pairs(tree, images, _by_inner(unnamed))
    found = found or _unnamed_pairs(tree, images, _by_outer(unnamed))[2]
    for some, labels in product(pictures, masks) if not found else ():
        parts = of_parts([picture.file for picture in some], [label.file for label in labels])
        if parts:
            raise DataError(parts_in_words(tree, parts))
    if found:
        raise DataError(
            f"{tree.root}: no folder is called as those of labels are, but these may hold them: write in data.yaml "
            f"{each_or_all(tree, found)}"
        )
    if not images:
        _ask_beginnings(tree, [where for role, where in placed if role is None])


def _ask_beginnings(tree: Tree, placed: Sequence[Placed]) -> None:
    """Raise SeveralWays where names that end in the same numbers begin in several ways: render0001 beside index0001."""
    groups: dict[str, list[Placed]] = defaultdict(list)
    for where in placed:
        groups[where.file.stem.rstrip(DIGITS)].append(where)
    if not 1 < len(groups) <= MOST_BEGINNINGS or len(set(map(len, groups.values()))) > 1:
        return
    lines = []
    for pairs in _unnamed_pairs(tree, [], groups)[2]:
        image, mask = (f"{side.file.stem.rstrip(DIGITS)}*" for side in pairs[0])
        lines.append(f"`pattern: {in_yaml({'image': image, 'mask': mask})}` ({in_words(tree, pairs)})")
    if lines:
        raise SeveralWays(
            f"{tree.root}: nothing is called as labels are, but these may be some: write in data.yaml "
            f"{' or '.join(lines)}"
        )


def _unnamed_pairs(
    tree: Tree, images: list[Placed], groups: Mapping[str, list[Placed]]
) -> tuple[list[list[Placed]], list[list[Placed]], list[Pairs]]:
    """The groups that hold pictures, those whose files are labels, and the pairs of each with each.

    images: those whose folders say that they are; the groups then hold none
    """
    held = {name: all(is_label(tree, where) for where in group[:PEEKED]) for name, group in groups.items()}
    pictures = [images] if images else [group for name, group in groups.items() if not held[name]]
    masks = [group for name, group in groups.items() if held[name]]
    paired = [(some, labels, pair_placed(some, labels)[0]) for some, labels in product(pictures, masks)]
    found = [(some[0].folder, labels[0].folder, pairs) for some, labels, pairs in paired if len(pairs) > 1]
    return pictures, masks, _of_like_names(found)


def _of_like_names(found: list[tuple[str, str, Pairs]]) -> list[Pairs]:
    """The pairs of folders that share as many words as either shares with any: Bilder 1 with Masken 1, not Masken 2.

    found: a folder of pictures, one of labels, their pairs
    """
    shared = [len({*words(pictures)} & {*words(labels)}) for pictures, labels, _ in found]
    most: Counter[tuple[int, str]] = Counter()
    for (pictures, labels, _), count in zip(found, shared, strict=True):
        for side in enumerate((pictures, labels)):
            most[side] = max(most[side], count)
    return [
        pairs
        for (pictures, labels, pairs), count in zip(found, shared, strict=True)
        if count == most[0, pictures] == most[1, labels]
    ]


def each_or_all(tree: Tree, choices: Sequence[Pairs]) -> str:
    """The lines of each choice, and those of all together where they may be parts of one."""
    joined = [pair for pairs in choices for pair in pairs]
    named = [{(p.folder, p.split, p.neutral, p.file.stem) for p in side} for side in zip(*joined, strict=True)]
    parts = len(choices) > 1 and all(len(side) == len(joined) for side in named)
    return all_lines(tree, choices) + (f"; or, where they are parts of one, {_lines(joined, set())}" if parts else "")


def all_lines(tree: Tree, choices: Sequence[Pairs]) -> str:
    """The lines of each choice, with what its label files hold."""
    homes = {_folder(label) for pairs in choices for _, label in pairs}
    return " or ".join(f"{_lines(pairs, homes)} ({in_words(tree, pairs)})" for pairs in choices)


def _lines(pairs: Pairs, homes: set[str]) -> str:
    """The lines of a choice. homes: of all label files that may be meant."""
    images, masks = ([pair[side] for pair in sorted(pairs, key=lambda pair: pair[0].file)] for side in (0, 1))
    above = any(home.startswith(f"{_folder(mask)}/") for mask in masks for home in homes)
    return f"`images: {in_yaml(folders_of(images))}` and `masks: {in_yaml(folders_of(masks, innermost=above))}`"


def folders_of(placed: Sequence[Placed], innermost: bool = False) -> Any:
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


def of_parts(pictures: Sequence[PurePosixPath], masks: Sequence[PurePosixPath]) -> list[PurePosixPath]:
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


def parts_in_words(tree: Tree, parts: Sequence[PurePosixPath]) -> str:
    """What is said of several label files of each picture."""
    return (
        f"{tree.root}: {number_of(len(parts), 'label file')} are called by a picture, several for each "
        f"({first_few(parts, 2)}): a file for each object or class: {JOINING}"
    )


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


def _by_outer(side: Sequence[Placed]) -> dict[str, list[Placed]]:
    """Files by the outermost folder that not all of them lie in, as if its name said what it holds."""
    groups: dict[str, list[Placed]] = defaultdict(list)
    levels = zip(*(placed.file.parts[:-1] for placed in side), strict=False)
    level = next((i for i, names in enumerate(levels) if len(set(names)) > 1), None)
    for placed in side if level is not None else ():
        name, *inner = placed.file.parts[level:-1]
        groups[name].append(replace(placed, folder=named_in(name), neutral="/".join(inner)))
    return groups


def _is_split_alone(folder: str) -> bool:
    return split_in_name(folder) is not None and named_in(folder) == folder


def _by_inner(side: Sequence[Placed]) -> dict[str, list[Placed]]:
    """Files by the folder that they are in, as if its name said what it holds; a split is passed over.

    train_A says more than a split, and is no neutral folder: it holds what test_A does.
    """
    groups: dict[str, list[Placed]] = defaultdict(list)
    for placed in side:
        neutral = PurePosixPath(placed.neutral)
        inner = next((part for part in reversed(placed.file.parts[:-1]) if not _is_split_alone(part)), "")
        if inner and folder_role(inner) is None:
            if neutral.name == inner:
                placed = replace(placed, folder=named_in(inner), neutral="/".join(neutral.parts[:-1]))
            elif split_in_name(inner) and not placed.folder:
                placed = replace(placed, folder=named_in(inner))
        groups[placed.folder].append(placed)
    return groups
