"""From the findings of each item to the faults of the whole set: splits, classes, pairs, leaks."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.data.audit.findings import Fault, ItemFindings, Kind, relative
from denselab.data.audit.leaks import picture_leaks
from denselab.data.audit.turned import turned
from denselab.data.dataset import Dataset
from denselab.data.item import FileLabels
from denselab.data.layouts.rectangles import rectangles_alone
from denselab.data.listing.tree import starts
from denselab.data.weak_labels import has_mask, named_weakly
from denselab.data.yaml_text import in_yaml
from denselab.in_words import first_few, number_of
from denselab.labels import labels_line

UNLABELLED_SHARE = 0.5  # of the label pixels; sets that mean it (Cityscapes, CamVid, COCO-Stuff) have 0.01 to 0.1
COVERED_SHARE = 0.5  # of what was drawn of a class; more of it covered is worth a look
LISTED = 6  # names in a message
COLOUR_CODED = "RGB"  # what is said of labels in colours begins so


def all_faults(dataset: Dataset, findings: Sequence[ItemFindings], complete: bool) -> tuple[Fault, ...]:
    """Every fault, errors first.

    dataset: the data set
    findings: of its items
    complete: every file was read in full, so that absence can be reported too
    """
    faults = [*passed_over_faults(dataset), *pairing_faults(dataset), *split_faults(dataset)]
    faults += [fault for finding in findings for fault in finding.faults]
    faults += nothing_labelled(dataset, findings)
    faults += [*alpha_faults(dataset, findings), *rectangle_faults(dataset), *turned_faults(dataset, findings)]
    if complete:
        faults += [
            *class_faults(dataset, findings),
            *unlabelled_faults(dataset, findings),
            *covered_faults(dataset, findings),
            *picture_leaks(dataset, findings),
        ]
    return tuple(sorted(faults, key=lambda fault: fault.severity != "error"))


def passed_over_faults(dataset: Dataset) -> list[Fault]:
    """Folders that cannot be listed, pipes, devices and lost links: they may hide a part of the data."""
    fix = "make it readable (chmod), mend the link, or take it out"
    return [Fault("not readable", "error", relative(dataset, path), why, fix) for path, why in dataset.passed_over]


def pairing_faults(dataset: Dataset) -> list[Fault]:
    """Pictures without a label and labels without a picture: left out of training, sometimes on purpose."""
    known = frozenset(name for item in dataset.items for name in (item.source.path.stem, item.image.stem))
    beside = [path for path in dataset.without_label if _continues(path, known)]
    further = [path for path in dataset.without_image if path.stem in known or _continues(path, known)]
    told = f"{number_of(len(beside), 'picture')} called as a labelled one and more"
    fix = "fine for overlays and copies: not used; label them if they are pictures of their own"
    faults = _together(dataset, "label missing", beside, told, fix)
    for path in sorted(set(dataset.without_label) - set(beside)):
        file, fix = relative(dataset, path), "label it, or take it out; it is not used"
        faults.append(Fault("label missing", "warning", file, "picture without a label", fix))
    told = f"{number_of(len(further), 'further file')} beside the labels of pictures that have one"
    fix = "fine for copies and overlays: not used; if these are the labels, `masks: FOLDER` in data.yaml says so"
    faults += _together(dataset, "picture missing", further, told, fix)
    for path in sorted(set(dataset.without_image) - set(further)):
        file, fix = relative(dataset, path), "add the picture or correct the name; it is not used"
        faults.append(Fault("picture missing", "warning", file, "label without a picture", fix))
    return faults


def _together(dataset: Dataset, kind: Kind, paths: Sequence[Path], told: str, fix: str) -> list[Fault]:
    """One warning for all of these files; none without any."""
    shown = first_few((relative(dataset, path) for path in paths), LISTED)
    return [Fault(kind, "warning", "", f"{told}: {shown}", fix)] if paths else []


def _continues(path: Path, names: Collection[str]) -> bool:
    """Whether a file has one of these names and more behind it: a_overlay beside a."""
    return any(start in names for start in starts(path.stem))


def alpha_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Some pictures with an alpha channel among others; where all have one, a note says so."""
    with_alpha = [finding for finding in findings if finding.alpha]
    if not with_alpha or len(with_alpha) == len(findings):
        return []
    count = f"{len(with_alpha)} of {number_of(len(findings), 'picture')}"
    message = f"{count} with an alpha channel, which is dropped: what was transparent shows its hidden colours"
    fix = "fine where all of it is opaque; else paste the picture on a background"
    return [Fault("alpha", "warning", relative(dataset, with_alpha[0].item.image), message, fix)]


def rectangle_faults(dataset: Dataset) -> list[Fault]:
    """Nothing but rectangles drawn: they may be boxes around objects, as detection sets have them."""
    count = rectangles_alone(dataset.items)
    if not count:
        return []
    message = f"all shapes ({count}) are rectangles, read as full masks: a network learns, and is scored on, rectangles"
    fix = (
        "where they are boxes around objects, outline the objects in some pictures, which val needs, and train with "
        "labels=boxes; where the things are rectangles, `rectangles: masks` in data.yaml says so"
    )
    return [Fault("rectangles", "warning", relative(dataset, dataset.items[0].source.path), message, fix)]


def turned_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """All labels saved transposed, mirrored or upside down."""
    way = turned([finding.fits for finding in findings])
    if not way:
        return []
    first = next(finding.item for finding in findings if way in finding.fits)
    message = f"the labels seem to be {way}: turned back they meet the edges of the pictures, as they are they do not"
    fix = "compare some with their pictures on the contact sheet; where it is so, turn them back and save them again"
    return [Fault("turned", "warning", relative(dataset, first.source.path), message, fix)]


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


def nothing_labelled(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """No labelled pixel in anything that was counted, even if that was a sample."""
    counted = [finding.counts for finding in findings if finding.counts is not None]
    if not counted or any(counts.any() for counts in counted):
        return []
    message = f"every pixel of {number_of(len(counted), 'label')} is ignored: nothing to learn"
    fix = f"label the pictures, or write in data.yaml {_all_classes(dataset)}, where every id is a class"
    return [Fault("all ignored", "error", "", message, fix)]


def class_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Classes missing from a split, and sets with only one class."""
    faults: list[Fault] = []
    names = dataset.label_space.names
    totals = class_totals(dataset, findings)
    for finding in findings:
        totals[finding.split] += named_weakly([finding.item], dataset.label_space)  # one pixel each: they are there
    overall = sum(totals.values(), np.zeros(len(names), np.int64))
    present = np.flatnonzero(overall)
    if len(present) == 1:
        message = f"every labelled pixel is {names[present[0]]!r}: there is nothing to tell apart"
        faults.append(Fault("one class", "error", "", message, _way_to_two(dataset, findings)))
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


def unlabelled_faults(dataset: Dataset, findings: Sequence[ItemFindings]) -> list[Fault]:
    """Most pixels left out because 0 is called unlabelled: tools that paint objects call the background so."""
    zero = next((entry for entry in dataset.label_space.entries if entry.id == 0 and entry.role == "ignore"), None)
    counted = [finding for finding in findings if finding.counts is not None and has_mask(finding.item)]
    labelled = sum(int(finding.counts.sum()) for finding in counted if finding.counts is not None)
    ignored = sum(finding.ignored for finding in counted)
    if zero is None or not labelled or ignored <= UNLABELLED_SHARE * (labelled + ignored):
        return []
    share = ignored / (labelled + ignored)
    message = f"{share:.0%} of the pixels are left out, since 0 is called {zero.name!r}: what is there is never learnt"
    entries = [replace(e, role="background") if e is zero else e for e in dataset.label_space.entries]
    line = labels_line(entries, colours=dataset.encoding.startswith(COLOUR_CODED))
    fix = f"where it is the background, write in data.yaml {line}; fine where nobody looked at those pixels"
    return [Fault("unlabelled", "warning", "", message, fix)]


def _way_to_two(dataset: Dataset, findings: Sequence[ItemFindings]) -> str:
    """What to do about a single class: what is ignored may be the other one."""
    fix = "check the label table and how the labels are coded"
    if any(isinstance(item.source, FileLabels) and item.source.encoding.clear for item in dataset.items):
        return "what is transparent is left out: write `transparent: keep` in data.yaml, and the colour below counts"
    named = any(entry.role == "ignore" for entry in dataset.label_space.entries)
    if not named or not any(finding.ignored for finding in findings):
        return fix
    return f"where what is ignored is a class too, write in data.yaml {_all_classes(dataset)}; else {fix}"


def _all_classes(dataset: Dataset) -> str:
    """The line of the label table in which every id is a class."""
    coloured = dataset.encoding.startswith(COLOUR_CODED)
    return labels_line(dataset.label_space.entries, colours=coloured, classes=True)


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
            fix = f"`priority: {in_yaml([entry.name])}` in data.yaml puts it on top"
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
