"""Parallel folders of pictures and label pictures, under any usual names; also both kinds side by side in one folder.

The words in folder names say what is in them (tree.folder_role) and which split it is (images/train, train/images,
train_images). Without a label folder the words in file names decide (a_image.png beside a_mask.png), and last the
format (a.jpg beside a.png).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from denselab.data.item import FileLabels, Found, Item
from denselab.data.read.lists import apply_lists, find_lists, lists_that_fit, read_list
from denselab.data.read.names import read_names
from denselab.data.read.pairing import pair_stems
from denselab.data.read.scan import read_contents
from denselab.data.read.split_tables import find_table
from denselab.data.read.tree import LABEL_WORDS, Tree, first_few, folder_role, split_in_name, words
from denselab.errors import DataError

PEEKED = 3  # label files read to see which of two label folders has more classes


@dataclass(frozen=True)
class Placed:
    """A picture file and what its folders say: kind of folder it is in (its name), neutral folders, split."""

    file: PurePosixPath
    folder: str
    neutral: str
    split: str | None


Pairs = list[tuple[Placed, Placed]]


def find_folder(tree: Tree) -> Found | None:
    """Parallel folders, or None where there is one kind of picture. Raises DataError where two choices fit alike."""
    images, labels = _by_folder(tree)
    if not labels:
        images, labels = _by_stem(tree)
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
            pairs, rule = _pair(pictures, masks)
            if pairs:
                choices.append((image_folder, label_folder, pairs, rule))
    if not choices:
        raise DataError(_no_pairs(tree, images, labels))
    image_folder, label_folder, pairs, rule, notes = _choose(tree, choices)
    if rule:
        first = pairs[0]
        notes.append(f"paired {first[0].file.name} with {first[1].file.name}, and so on: {rule}")
    items = tuple(make_item(tree, image, label) for image, label in pairs)
    items, more = split_by_lists(tree, unique_names(items))
    names, names_file = read_names(tree)
    if names_file:
        notes.append(f"class names from {names_file}")
    paired_images, paired_labels = {i.file for i, _ in pairs}, {m.file for _, m in pairs}
    lonely_images = tuple(tree.path(p.file) for p in images[image_folder] if p.file not in paired_images)
    lonely_labels = tuple(tree.path(p.file) for p in labels[label_folder] if p.file not in paired_labels)
    return Found(
        layout, items, names=names, notes=(*notes, *more), without_label=lonely_images, without_image=lonely_labels
    )


def make_item(tree: Tree, image: Placed, label: Placed) -> Item:
    """An item of a picture and its label file."""
    name = str(image.file.with_suffix(""))
    return Item(name, tree.path(image.file), FileLabels(tree.path(label.file)), image.split or label.split)


def unique_names(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items whose names differ: where a.jpg and a.png are two pictures, the suffix stays."""
    often = Counter(item.name for item in items)
    return tuple(replace(i, name=i.name + i.image.suffix) if often[i.name] > 1 else i for i in items)


def split_by_lists(tree: Tree, items: tuple[Item, ...]) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items with the splits of list files, or of one file that gives all splits, where there are any; and notes."""
    lists = {
        split: path.relative_to(tree.root).as_posix() for split, path in lists_that_fit(items, find_lists(tree)).items()
    }
    if lists:
        line = ", ".join(f"{split}: {file}" for split, file in lists.items())
        named = {split: read_list(tree.path(file)) for split, file in lists.items()}
        return apply_lists(items, named, ", ".join(sorted(lists.values())), line)
    table = find_table(tree)
    if table is None:
        return items, ()
    path, folds = table
    file = path.relative_to(tree.root).as_posix()
    items, notes = apply_lists(items, folds[0], file)
    if len(folds) > 1:
        more = f"fold 0 of the {len(folds)} in {file}; `splits: {file}` and `fold: 1` in data.yaml take another"
        notes = (*notes, more)
    return items, notes


def place(file: PurePosixPath) -> tuple[str | None, Placed]:
    """The role that a file's folders give it (image, label, other, None) and where it stands."""
    role, folder, split = None, "", None
    neutral: list[str] = []
    for part in file.parts[:-1]:
        part_role, part_split = folder_role(part), split_in_name(part)
        if part_role is not None:
            role, folder = part_role, " ".join(w for w in words(part) if split_in_name(w) is None) or part
        elif part_split is None:
            neutral.append(part)
        split = part_split or split
    return role, Placed(file, folder, "/".join(neutral), split)


def _by_folder(tree: Tree) -> tuple[dict[str, list[Placed]], dict[str, list[Placed]]]:
    placed = [place(file) for file in tree.pictures]
    images, labels = _grouped(placed, "image"), _grouped(placed, "label")
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


def _pair(images: list[Placed], labels: list[Placed]) -> tuple[Pairs, str]:
    """Pairs within the same split and neutral folders; the split counts only where both sides have it."""
    both = all(p.split for p in images) and all(p.split for p in labels)
    depth = [{(p.neutral, p.split) for p in side} for side in (images, labels)]
    use_neutral = len({neutral for neutral, _ in depth[0] | depth[1]}) > 1

    def stem(placed: Placed) -> tuple[str, str]:
        where = (placed.split or "") if both else ""
        return f"{where}/{placed.neutral}" if use_neutral else where, placed.file.stem

    pairing = pair_stems([stem(p) for p in images], [stem(p) for p in labels])
    return [(images[i], labels[j]) for i, j in pairing.pairs], pairing.rule


def _choose(tree: Tree, choices: list[tuple[str, str, Pairs, str]]) -> tuple[str, str, Pairs, str, list[str]]:
    """The only choice, else that with most pairs, then most classes, and a note. Raises DataError for a draw."""
    if len(choices) == 1:
        return *choices[0], []
    most = max(len(choice[2]) for choice in choices)
    full = [choice for choice in choices if len(choice[2]) == most]
    classes = [_classes_in(tree, choice[2]) for choice in full]
    best = [choice for choice, count in zip(full, classes, strict=True) if count == max(classes)]
    if len(best) > 1:
        lines = " or ".join(f"`images: {_folder(c[2][0][0])}` and `masks: {_folder(c[2][0][1])}`" for c in best[:2])
        raise DataError(f"{tree.root}: two label folders fit equally well; write in data.yaml {lines}")
    notes = [
        f"{_folder(other[2][0][1])} holds labels too; {_folder(best[0][2][0][1])} is used, because it "
        + ("has more of them" if len(other[2]) < most else "has more classes")
        + f": `images: {_folder(other[2][0][0])}` and `masks: {_folder(other[2][0][1])}` in data.yaml takes the other"
        for other in choices
        if other[1] != best[0][1]
    ]
    return *best[0], notes


def _classes_in(tree: Tree, pairs: Pairs) -> int:
    contents = [read_contents(tree.path(label.file)) for _, label in pairs[:PEEKED]]
    return len({value for c in contents for value in c.counts if value != 255})


def _folder(placed: Placed) -> str:
    """The folder to write in data.yaml: up to the component that says what it holds."""
    parts = placed.file.parts[:-1]
    for index, part in enumerate(parts):
        if folder_role(part) is not None:
            return "/".join(parts[: index + 1])
    return "/".join(parts) or "."


def _no_pairs(tree: Tree, images: dict[str, list[Placed]], labels: dict[str, list[Placed]]) -> str:
    pictures = [p.file for side in images.values() for p in side]
    masks = [p.file for side in labels.values() for p in side]
    return (
        f"{tree.root}: no label has the name of a picture: {first_few(pictures, 2)} against {first_few(masks, 2)}; "
        "rename them, or write `pattern: {image: 'A*', mask: 'B*'}` in data.yaml, "
        "where * stands for the part that both share"
    )
