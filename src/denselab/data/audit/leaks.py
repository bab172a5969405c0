"""Pictures that stand in two splits, or twice in one: copies, the same scene again, stretches of one video."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from denselab.data.audit.findings import Fault, ItemFindings, relative
from denselab.data.dataset import Dataset
from denselab.data.item import Item
from denselab.data.listing.tree import SPLITS
from denselab.data.splits.copies import numbered_copies, original_of
from denselab.data.splits.likenesses import LOOKED_AT, Alike, alike, looks
from denselab.data.splits.sequences import SUBJECT, tiles, without_ending
from denselab.errors import DataError
from denselab.in_words import first_few, number_of

# Frames of a video that follow each other differ less than the set's pictures do on average (CamVid: 0.71 as much).
VIDEO_RATIO = 0.85
VIDEO_FRAMES = 8  # fewer pictures of one series say nothing
LISTED = 6  # pairs in a message
COUNTED = re.compile(r"(?<!\d)\d{1,4}$")  # IMG_0001 is the name of a picture of every camera
AGREEING = 0.9  # of the labelled pixels of two pictures of one scene; fewer are worth a look


def duplicate_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Pictures with the very same pixels: a leak where the splits differ, else counted twice; whether labels agree."""
    groups: dict[bytes, list[ItemFindings]] = defaultdict(list)
    for finding in findings:
        if finding.digest:
            groups[finding.digest].append(finding)
    faults = []
    for first, *others in (group for group in groups.values() if len(group) > 1):
        for other in others:
            file, twin = (relative(dataset, one.item.image) for one in (other, first))
            leak = first.split != other.split
            message = f"has the same pixels as {twin}" + (f", {other.split} and {first.split}" if leak else "")
            share = agreement(dataset, first.item, other.item)
            message += f"; their labels agree in {share:.1%} of the pixels" if share is not None and share < 1 else ""
            fix = "keep one of them" if not leak else "keep one of them, or the scores are too good"
            faults.append(Fault("leak" if leak else "duplicate", "warning", file, message, fix))
    return faults


def leak_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Pictures of two splits that look almost alike; one fault for each two splits, which lists pairs."""
    pairs = [
        pair
        for pair in alike([finding.look for finding in findings])
        if findings[pair.one].split != findings[pair.other].split
        and not _are_copies(findings[pair.one], findings[pair.other])
    ]
    by_splits: dict[tuple[str, str], list[Alike]] = defaultdict(list)
    for pair in pairs:
        splits = sorted((findings[pair.one].split, findings[pair.other].split), key=SPLITS.index)
        by_splits[splits[0], splits[1]].append(pair)
    return [_leak(dataset, findings, splits, found) for splits, found in by_splits.items()]


def _are_copies(one: ItemFindings, other: ItemFindings) -> bool:
    """Whether `duplicate_faults` tells of these two."""
    return bool(one.digest) and one.digest == other.digest


def quick_leaks(dataset: Dataset) -> list[Fault]:
    """What names tell, and a quick look at all pictures; none are looked at where there are too many."""
    if len(dataset.splits) < 2:
        return []
    named = named_leaks(dataset, [ItemFindings(item) for item in dataset.items])
    if len(dataset.items) > LOOKED_AT:
        return named
    seen = looks([item.image for item in dataset.items])
    findings = [ItemFindings(item, look=one) for item, one in zip(dataset.items, seen, strict=True)]
    return [*leak_faults(dataset, findings), *named]


def _leak(dataset: Dataset, findings: Sequence[ItemFindings], splits: tuple[str, str], pairs: Sequence[Alike]) -> Fault:
    one, other = splits
    shown = sorted(pairs, key=lambda pair: pair.differ)
    held = {
        finding.item.name for p in pairs for finding in (findings[p.one], findings[p.other]) if finding.split == other
    }
    listed = first_few((_in_words(dataset, findings, pair, other) for pair in shown), LISTED)
    message = (
        f"{len(held)} of {len(dataset.of_split(other))} {other} pictures look almost like one of {one}, as "
        f"neighbouring video frames do: {listed}"
    )
    return Fault("leak", "warning", "", message, "split by video or place, not by frame, or the scores are too good")


def _in_words(dataset: Dataset, findings: Sequence[ItemFindings], pair: Alike, first_split: str) -> str:
    """The two files, the picture of `first_split` first, and how far their labels agree where that is not much."""
    here, there = (findings[pair.one].item, findings[pair.other].item)
    if here.split != first_split:
        here, there = there, here
    share = agreement(dataset, here, there)
    told = f", labels agree in {share:.0%}" if share is not None and share < AGREEING else ""
    return (
        f"{relative(dataset, here.image)} and {relative(dataset, there.image)} ({pair.differ} of 256 bits differ{told})"
    )


def agreement(dataset: Dataset, one: Item, other: Item) -> float | None:
    """The share of pixels, labelled in both, whose labels agree; None for other sizes or unreadable labels."""
    try:
        first, second = dataset.read_labels(one), dataset.read_labels(other)
    except (DataError, OSError):
        return None
    ignore = dataset.label_space.ignore_index
    if first.shape != second.shape:
        return None
    both = (first != ignore) & (second != ignore)
    return float((first == second)[both].mean()) if both.any() else None


def picture_leaks(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """All faults of this module."""
    return [
        *duplicate_faults(dataset, findings),
        *leak_faults(dataset, findings),
        *shared_series_faults(findings),
        *named_leaks(dataset, findings),
    ]


def named_leaks(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """What the names of pictures in two splits tell, however they look: copies or tiles of one, slices of a patient."""
    copies, subjects, scenes = (defaultdict[str, list[ItemFindings]](list) for _ in range(3))
    stems = [PurePosixPath(finding.item.name).name for finding in findings]
    scene = tiles(bare := without_ending(stems))
    made = set[str]()
    counted = numbered_copies(sorted(set(stems)))
    for finding, stem, tile in zip(findings, stems, bare, strict=True):
        original = counted.get(stem) or original_of(stem)
        copies[original].append(finding)
        if original != stem and not COUNTED.search(original):
            made.add(original)
        if tile in scene:
            scenes[scene[tile]].append(finding)
        subject = SUBJECT.search(finding.item.name)
        if subject:
            subjects[subject[1].casefold()].append(finding)
    told = (
        ({name: copies[name] for name in made}, "copies of", "picture", "pictures", "all copies of a picture"),
        (scenes, "tiles of", "picture", "pictures", "all tiles of a picture"),
        (subjects, "pictures of", "patient or case", "patients or cases", "all pictures of a patient"),
    )
    return [fault for groups, *words in told if (fault := _shared(dataset, groups, *words))]


def _shared(
    dataset: Dataset, groups: Mapping[str, list[ItemFindings]], what: str, one: str, several: str, kept: str
) -> Fault | None:
    """A fault for groups that stand in two splits; None where there are none, or where each split counts anew."""
    shared = [found for found in groups.values() if len({f.split for f in found}) > 1]
    if not shared or 2 * sum(map(_counts_anew, shared)) > len(shared):
        return None
    listed = []
    for first, *rest in shared:
        other = next(f for f in rest if f.split != first.split)
        listed.append(" and ".join(f"{relative(dataset, f.item.image)} ({f.split})" for f in (first, other)))
    message = (
        f"{what} {number_of(len(shared), one, several)} stand in two splits, as the names tell: "
        f"{first_few(listed, LISTED)}"
    )
    return Fault("leak", "warning", "", message, f"keep {kept} in one split, or the scores are too good")


def _counts_anew(found: Sequence[ItemFindings]) -> bool:
    """Whether pictures of two splits have one name: then a number says nothing over both."""
    stems = {(PurePosixPath(f.item.name).name, f.split) for f in found}
    return len({stem for stem, _ in stems}) < len(stems)


def shared_series_faults(findings: Sequence[ItemFindings]) -> list[Fault]:
    """One video cut into splits: series whose names stand in two splits and whose pictures follow each other."""
    printed = [finding for finding in findings if finding.look is not None]
    series: dict[str, list[ItemFindings]] = defaultdict(list)
    for finding in printed:
        if not finding.item.group.endswith("/"):  # a bare number tells no series
            series[PurePosixPath(finding.item.group).name].append(finding)
    order = np.random.default_rng(0).permutation(len(printed))
    usual = _median_step([printed[index] for index in order])
    faults = []
    for name, frames in sorted(series.items()):
        splits = [split for split in SPLITS if any(frame.split == split for frame in frames)]
        if len(splits) < 2 or len(frames) < VIDEO_FRAMES or _median_step(frames) > VIDEO_RATIO * usual:
            continue
        counts = " and ".join(f"{sum(frame.split == split for frame in frames)} {split}" for split in splits)
        message = f"{counts} pictures are of one video or series, {name!r}"
        fix = "fine where they are stretches far apart; else keep a series in one split, or the scores are too good"
        faults.append(Fault("leak", "warning", "", message, fix))
    return faults


def _median_step(frames: Sequence[ItemFindings]) -> float:
    """The median of the bits that change from one picture to the next."""
    prints = np.array([frame.look.bits for frame in frames if frame.look is not None], dtype=np.uint64).reshape(-1, 4)
    steps = np.bitwise_count(prints[1:] ^ prints[:-1]).sum(axis=1)
    return float(np.median(steps)) if len(steps) else 0.0
