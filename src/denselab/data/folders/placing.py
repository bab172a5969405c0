"""What the folders of a file say of it: whether it is a picture or a label, its split, and who its partner is."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from denselab.data.listing.pairing import pair_stems
from denselab.data.listing.tree import bare_stem, folder_role, split_in_name, starts, words
from denselab.data.splits.loose_lists import BOTH


@dataclass(frozen=True)
class Placed:
    """A picture file and what its folders say: kind of folder it is in (its name), neutral folders, split."""

    file: PurePosixPath
    folder: str
    neutral: str
    split: str | None


Pairs = list[tuple[Placed, Placed]]


def placed_in(file: PurePosixPath, split: str | None) -> Placed:
    """A file whose split is known, and whose folders say nothing more."""
    return Placed(file, "", "", split)


def _split_of(folder: str) -> str | None:
    """The split that a folder is called by; what is both, trainval, trains until val is drawn from it."""
    return split_in_name(folder) or ("train" if BOTH in words(folder) else None)


def named_in(folder: str) -> str:
    """The name of a folder without its split: "train_masks" and "masks" are one kind of folder."""
    return " ".join(word for word in words(folder) if _split_of(word) is None) or folder


def has_number(folder: str) -> bool:
    """Whether a folder's name has a number."""
    return any(word.isdigit() for word in words(folder))


def place(file: PurePosixPath, outermost: bool = False) -> tuple[str | None, Placed]:
    """The role that a file's folders give it (image, label, other, None) and where it stands.

    outermost: of folders with different roles the outermost counts, and not the innermost
    """
    role, folder, split, above = None, "", None, ""
    neutral: list[str] = []
    for part in file.parts[:-1]:
        part_role, part_split = folder_role(part), _split_of(part)
        if part_role is not None and not (outermost and role is not None):
            if role is not None and has_number(above):  # "Tile 1" is a part of the set
                neutral.append(above)
            role, folder, above = part_role, named_in(part), part
        elif part_split is None and part_role is None:
            neutral.append(part)
        split = part_split or split
    return role, Placed(file, folder, "/".join(neutral), split)


def pair_placed(images: list[Placed], labels: list[Placed]) -> tuple[Pairs, str]:
    """Pairs within the same split and neutral folders; the split counts only where both sides have it."""
    both = all(p.split for p in images) and all(p.split for p in labels)
    depth = [{(p.neutral, p.split) for p in side} for side in (images, labels)]
    use_neutral = len({neutral for neutral, _ in depth[0] | depth[1]}) > 1

    def stem(placed: Placed) -> tuple[str, str]:
        where = (placed.split or "") if both else ""
        return f"{where}/{placed.neutral}" if use_neutral else where, placed.file.stem

    pairing = pair_stems([stem(p) for p in images], [stem(p) for p in labels])
    if not pairing.pairs and use_neutral:
        for bared in (_without_shared, _by_own_names):
            sides = bared(images), bared(labels)
            if sides != (images, labels) and (found := pair_placed(*sides))[0]:
                return _restored(found, images, labels)
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


def _by_own_names(side: list[Placed]) -> list[Placed]:
    """The files of a side by what their folders are called besides the word for what they hold: pos1, pos1_masks."""
    named = ([*PurePosixPath(p.neutral).parts, p.folder] for p in side)
    neutral = ("/".join(filter(None, map(bare_stem, parts))) for parts in named)
    return [replace(p, folder="", neutral=own) for p, own in zip(side, neutral, strict=True)]


def _without_shared(side: list[Placed]) -> list[Placed]:
    """The files of a side without the neutral folders that say nothing more: annotations/trimaps beside images.

    Those that all of them lie in, at whatever depth; and those that are called as the file begins, where each has one.
    """
    neutral = [PurePosixPath(p.neutral).parts for p in side]
    shared = set.intersection(*map(set, neutral)) if side else set()
    own = [{p.file.stem, *starts(p.file.stem)} for p in side]
    each = all(not begun.isdisjoint(parts) for begun, parts in zip(own, neutral, strict=True))
    left_out = [shared | begun if each else shared for begun in own]
    kept = ([part for part in parts if part not in gone] for parts, gone in zip(neutral, left_out, strict=True))
    return [replace(p, neutral="/".join(parts)) for p, parts in zip(side, kept, strict=True)]


def _restored(paired: tuple[Pairs, str], images: list[Placed], labels: list[Placed]) -> tuple[Pairs, str]:
    by_file = {p.file: p for p in (*images, *labels)}
    return [(by_file[image.file], by_file[label.file]) for image, label in paired[0]], paired[1]
