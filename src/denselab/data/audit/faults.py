"""From the findings of each item to the faults of the whole set: splits, classes, pairs, leaks."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from denselab.data.audit.findings import Fault, ItemFindings, relative
from denselab.data.dataset import Dataset
from denselab.data.read.tree import first_few, number_of

# Bits of 256 by which two pictures may differ and still be one scene. Measured: CamVid's frames 1/15 s apart differ
# by 10 to 40, those 1 s apart by 27 to 125; the closest of 45,000 pairs of different places or surfaces by 36 (steel),
# 63 (membranes), 76 (streets); unrelated pictures by about 120.
NEAR_BITS = 28
# Frames of a video that follow each other differ less than the set's pictures do on average (CamVid: 0.71 as much).
VIDEO_RATIO = 0.85
VIDEO_FRAMES = 8  # fewer pictures of one series say nothing
COVERED_SHARE = 0.5  # of what was drawn of a class; more of it covered is worth a look
LISTED = 6  # names in a message


def all_faults(dataset: Dataset, findings: Sequence[ItemFindings], complete: bool) -> tuple[Fault, ...]:
    """Every fault, errors first.

    dataset: the data set
    findings: of its items
    complete: every file was read in full, so that absence can be reported too
    """
    faults = [*passed_over_faults(dataset), *pairing_faults(dataset), *split_faults(dataset)]
    faults += [fault for finding in findings for fault in finding.faults]
    faults += nothing_labelled(findings)
    faults += alpha_faults(dataset, findings)
    if complete:
        faults += [
            *class_faults(dataset, findings),
            *covered_faults(dataset, findings),
            *duplicate_faults(dataset, findings),
            *leak_faults(dataset, findings),
            *shared_series_faults(findings),
        ]
    return tuple(sorted(faults, key=lambda fault: fault.severity != "error"))


def passed_over_faults(dataset: Dataset) -> list[Fault]:
    """Folders that cannot be listed, pipes, devices and lost links: they may hide a part of the data."""
    fix = "make it readable (chmod), mend the link, or take it out"
    return [Fault("not readable", "error", relative(dataset, path), why, fix) for path, why in dataset.passed_over]


def pairing_faults(dataset: Dataset) -> list[Fault]:
    """Pictures without a label and labels without a picture: left out of training, sometimes on purpose."""
    faults = []
    for path in dataset.without_label:
        file, fix = relative(dataset, path), "label it, or take it out; it is not used"
        faults.append(Fault("label missing", "warning", file, "picture without a label", fix))
    for path in dataset.without_image:
        file, fix = relative(dataset, path), "add the picture or correct the name; it is not used"
        faults.append(Fault("picture missing", "warning", file, "label without a picture", fix))
    return faults


def alpha_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Some pictures with an alpha channel among others; where all have one, a note says so."""
    with_alpha = [finding for finding in findings if finding.alpha]
    if not with_alpha or len(with_alpha) == len(findings):
        return []
    count = f"{len(with_alpha)} of {number_of(len(findings), 'picture')}"
    message = f"{count} with an alpha channel, which is dropped: what was transparent shows its hidden colours"
    fix = "fine where all of it is opaque; else paste the picture on a background"
    return [Fault("alpha", "warning", relative(dataset, with_alpha[0].item.image), message, fix)]


def split_faults(dataset: Dataset) -> list[Fault]:
    """Too little to train on, or nothing to measure on."""
    if not dataset.items:
        fix = "check the folder's layout, or name the folders in data.yaml"
        return [Fault("no pictures", "error", "", "no picture with a label was found", fix)]
    if len(dataset.items) == 1:
        file = relative(dataset, dataset.items[0].image)
        message = "one labelled picture only: training needs at least one to learn from and one to measure on"
        return [Fault("one picture", "error", file, message, "add pictures, or cut it into tiles, some for validation")]
    faults = []
    for split, use in (("train", "to learn from"), ("val", "to choose the best model by")):
        if not dataset.of_split(split):
            fix = f"put pictures into {split}, or write `splits: {{train: all}}` in data.yaml and val is drawn from all"
            faults.append(Fault("empty split", "error", "", f"no picture in {split}: nothing {use}", fix))
    return faults


def nothing_labelled(findings: Sequence[ItemFindings]) -> list[Fault]:
    """No labelled pixel in anything that was counted, even if that was a sample."""
    counted = [finding.counts for finding in findings if finding.counts is not None]
    if not counted or any(counts.any() for counts in counted):
        return []
    message = f"every pixel of {number_of(len(counted), 'label')} is ignored: nothing to learn"
    fix = "give at least two ids the role class under `labels` in data.yaml, or label the pictures"
    return [Fault("all ignored", "error", "", message, fix)]


def class_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Classes missing from a split, and sets with only one class."""
    faults: list[Fault] = []
    names = dataset.label_space.names
    totals = class_totals(dataset, findings)
    overall = sum(totals.values(), np.zeros(len(names), np.int64))
    present = np.flatnonzero(overall)
    if len(present) == 1:
        message = f"every labelled pixel is {names[present[0]]!r}: there is nothing to tell apart"
        faults.append(Fault("one class", "error", "", message, "check the label table and how the labels are coded"))
    for split, counts in totals.items() if len(present) else ():
        if not counts.any():
            faults += _ignored_split(split, findings)
            continue
        absent = [name for name, here, anywhere in zip(names, counts, overall, strict=True) if anywhere and not here]
        if absent:
            use = {"train": "never learnt", "val": "not measured"}.get(split, "not in its scores")
            message = f"{split} has no pixel of {first_few(absent, LISTED)}: {use}"
            fix = f"move pictures with {'it' if len(absent) == 1 else 'them'} into {split}"
            faults.append(Fault("absent class", "warning", "", message, fix))
    nowhere = [name for name, count in zip(names, overall, strict=True) if not count]
    if nowhere and len(present) > 1:
        message = f"no label has a pixel of {first_few(nowhere, LISTED)} ({len(nowhere)} of {len(names)} classes)"
        fix = "fine for a part of a larger set; else correct the label table"
        faults.append(Fault("absent class", "warning", "", message, fix))
    return faults


def covered_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Classes that lose most of what was drawn of them to shapes that lie above."""
    drawn, lost = Counter[int](), Counter[int]()
    for label_id, (pixels, covered) in ((i, pair) for finding in findings for i, pair in finding.covered.items()):
        drawn[label_id] += pixels
        lost[label_id] += covered
    faults = []
    for entry in dataset.label_space.entries:
        if entry.role != "ignore" and lost[entry.id] > COVERED_SHARE * drawn[entry.id]:
            share = lost[entry.id] / drawn[entry.id]
            message = f"{entry.name}: {share:.0%} of its pixels are covered by shapes of other classes above it"
            fix = f"`priority: [{entry.name}]` in data.yaml puts it on top"
            faults.append(Fault("covered class", "warning", "", message, fix))
    return faults


def _ignored_split(split: str, findings: Sequence[ItemFindings]) -> list[Fault]:
    """A train or val split that was read and has no labelled pixel; a test split needs none."""
    use = {"train": "nothing to learn from", "val": "nothing to choose the best model by"}.get(split)
    if use is None or not any(finding.counts is not None and finding.split == split for finding in findings):
        return []
    message = f"every pixel of every {split} label is ignored: {use}"
    return [Fault("all ignored", "error", "", message, "label them, or change the split")]


def class_totals(dataset: Dataset, findings: Iterable[ItemFindings]) -> dict[str, NDArray[np.int64]]:
    """{split: (K,) pixels per class}, from the findings that have counts."""
    totals = {split: np.zeros(dataset.label_space.num_classes, np.int64) for split in dataset.splits}
    for finding in findings:
        if finding.counts is not None:
            totals[finding.split] += finding.counts
    return totals


def duplicate_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Pictures with the very same pixels: a leak where the splits differ, else counted twice."""
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
            fix = "keep one of them" if not leak else "keep one of them, or the scores are too good"
            faults.append(Fault("leak" if leak else "duplicate", "warning", file, message, fix))
    return faults


def leak_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Pictures of two splits that look almost alike, as neighbouring video frames do; one fault per pair of splits."""
    by_split: dict[str, list[ItemFindings]] = defaultdict(list)
    for finding in findings:
        if finding.fingerprint is not None:
            by_split[finding.split].append(finding)
    faults = []
    for one, other in combinations([split for split in ("train", "val", "test") if split in by_split], 2):
        alike = [pair for pair in nearest(by_split[other], by_split[one]) if pair[2] <= NEAR_BITS]
        alike = [pair for pair in alike if pair[0].digest != pair[1].digest]
        if not alike:
            continue
        here, there, bits = min(alike, key=lambda pair: pair[2])
        files = [relative(dataset, finding.item.image) for finding in (here, there)]
        total = len(dataset.of_split(other))
        message = (
            f"{len(alike)} of {total} {other} pictures look almost like one of {one}, as neighbouring video frames do; "
            f"the closest: {files[0]} and {files[1]} ({bits} of 256 bits differ)"
        )
        fix = "split by video or place, not by frame, or the scores are too good"
        faults.append(Fault("leak", "warning", "", message, fix))
    return faults


def nearest(
    queries: Sequence[ItemFindings], others: Sequence[ItemFindings]
) -> list[tuple[ItemFindings, ItemFindings, int]]:
    """For each query its most similar other finding, and the bits in which their fingerprints differ."""
    table = np.stack([finding.fingerprint for finding in others if finding.fingerprint is not None])
    found = []
    for query in queries:
        if query.fingerprint is not None:
            bits = np.bitwise_count(table ^ query.fingerprint).sum(axis=1)
            best = int(bits.argmin())
            found.append((query, others[best], int(bits[best])))
    return found


def shared_series_faults(findings: Sequence[ItemFindings]) -> list[Fault]:
    """One video cut into splits: series whose names stand in two splits and whose pictures follow each other."""
    printed = [finding for finding in findings if finding.fingerprint is not None]
    series: dict[str, list[ItemFindings]] = defaultdict(list)
    for finding in printed:
        if not finding.item.group.endswith("/"):  # a bare number tells no series
            series[PurePosixPath(finding.item.group).name].append(finding)
    order = np.random.default_rng(0).permutation(len(printed))
    usual = _median_step([printed[index] for index in order])
    faults = []
    for name, frames in sorted(series.items()):
        splits = [split for split in ("train", "val", "test") if any(frame.split == split for frame in frames)]
        if len(splits) < 2 or len(frames) < VIDEO_FRAMES or _median_step(frames) > VIDEO_RATIO * usual:
            continue
        counts = " and ".join(f"{sum(frame.split == split for frame in frames)} {split}" for split in splits)
        message = f"{counts} pictures are of one video or series, {name!r}"
        fix = "fine where they are stretches far apart; else keep a series in one split, or the scores are too good"
        faults.append(Fault("leak", "warning", "", message, fix))
    return faults


def _median_step(frames: Sequence[ItemFindings]) -> float:
    """The median of the bits that change from one picture to the next."""
    prints = np.array([frame.fingerprint for frame in frames], dtype=np.uint64).reshape(-1, 4)
    steps = np.bitwise_count(prints[1:] ^ prints[:-1]).sum(axis=1)
    return float(np.median(steps)) if len(steps) else 0.0
