"""Reads a data set once, in parallel, and reports what is in it and what is wrong with it. Writes nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from denselab.console import progress
from denselab.data.audit.faults import all_faults, class_totals
from denselab.data.audit.findings import Fault, ItemFindings, Size, read_fully, read_headers
from denselab.data.audit.leaks import quick_leaks
from denselab.data.dataset import Dataset, Item, open_dataset
from denselab.in_words import number_of
from denselab.labels import LabelSpace
from denselab.numbers import flags, whole
from denselab.runtime import cpu_count

# What a quick check looks at: the first costs about 0.3 ms each, the second up to 50 ms with large pictures.
QUICK_HEADERS = 1500
QUICK_PICTURES = 32
EXAMPLES = 4  # per class, for the contact sheet


@dataclass(frozen=True)
class CheckReport:
    """What is in a data set.

    root: of the data set
    layout: its name
    encoding: of the labels, in words
    complete: every file was read in full; False after a quick check, which samples
    label_space: the label table
    pictures: {split: number of pictures}
    class_pixels: {split: {class name: pixels}}
    class_pictures: {class name: pictures that show it}
    ignored_pixels: {split: pixels}
    sizes: ((H, W), number of pictures), most frequent first
    examples: {class name: names of the items that show most of it}
    notes: for the user
    faults: what is wrong
    """

    root: str
    layout: str
    encoding: str
    complete: bool
    label_space: LabelSpace
    pictures: dict[str, int]
    class_pixels: dict[str, dict[str, int]]
    class_pictures: dict[str, int]
    ignored_pixels: dict[str, int]
    sizes: tuple[tuple[Size, int], ...]
    examples: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        """Faults that would make training fail or learn nonsense."""
        return tuple(fault for fault in self.faults if fault.severity == "error")

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """Faults that training survives."""
        return tuple(fault for fault in self.faults if fault.severity == "warning")

    @property
    def would_train(self) -> bool:
        """Whether training would run and learn what was intended."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """One line: whether it would train, else the first reason why not."""
        if self.would_train:
            looked = "" if self.complete else " (a quick look)"
            warnings = number_of(len(self.warnings), "warning") if self.warnings else "no warnings"
            return f"fit for training{looked}, {warnings}"
        first = self.errors[0]
        where = f"{first.file}: " if first.file else ""
        more = f" (and {number_of(len(self.errors) - 1, 'more error')})" if len(self.errors) > 1 else ""
        return f"would not train: {where}{first.message}; {first.fix}{more}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {key: value for key, value in vars(self).items() if key not in ("label_space", "sizes", "faults")}
        return {
            **plain,
            "labels": self.label_space.to_list(),
            "sizes": [{"height": size[0], "width": size[1], "pictures": count} for size, count in self.sizes],
            "examples": {name: list(items) for name, items in self.examples.items()},
            "notes": list(self.notes),
            "faults": [asdict(fault) for fault in self.faults],
            "would_train": self.would_train,
            "verdict": self.verdict,
        }


def check_dataset(
    dataset: Dataset | str | Path,
    *,
    quick: bool = False,
    workers: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> CheckReport:
    """Read pictures and labels and report what is there. Never writes.

    dataset: an opened data set, or a path for `open_dataset`
    quick: read the headers of at most 1500 pictures and the pixels of 32; takes seconds even for large sets
    workers: threads; all cores unless given
    seed: chooses the pictures of a quick check, and the split of a path that has none
    quiet: show no progress

    Raises DataError where the data set cannot be opened, ConfigError.
    """
    flags(quick=quick, quiet=quiet)
    if not isinstance(dataset, Dataset):
        dataset = open_dataset(dataset, seed=seed)
    headers = _sample(dataset.items, QUICK_HEADERS, seed) if quick else ()
    in_full = _sample(dataset.items, QUICK_PICTURES, seed) if quick else dataset.items
    threads = min(cpu_count(), 16) if workers is None else whole(workers, "`workers`", 1)
    findings = _read_all(in_full, partial(read_fully, dataset), threads, quiet=quick or quiet)
    seen = {item.name for item in in_full}
    rest = [item for item in headers if item.name not in seen]
    findings += _read_all(rest, partial(read_headers, dataset), threads, quiet=True)
    complete = len(in_full) == len(dataset.items)
    return summarise(dataset, findings, complete, () if complete else quick_leaks(dataset))


def summarise(
    dataset: Dataset, findings: Sequence[ItemFindings], complete: bool, more: Sequence[Fault] = ()
) -> CheckReport:
    """The report of what was read. more: further faults."""
    names = dataset.label_space.names
    totals = class_totals(dataset, findings)
    counted = [finding.counts > 0 for finding in findings if finding.counts is not None]
    pictures = np.array(counted, dtype=np.int64).reshape(-1, len(names)).sum(axis=0)
    ignored = Counter(dict.fromkeys(dataset.splits, 0))
    for finding in findings:
        ignored[finding.split] += finding.ignored
    sizes = Counter(finding.size for finding in findings if finding.size)
    return CheckReport(
        root=str(dataset.root),
        layout=dataset.layout,
        encoding=dataset.encoding,
        complete=complete,
        label_space=dataset.label_space,
        pictures={split: len(dataset.of_split(split)) for split in dataset.splits},
        class_pixels={split: dict(zip(names, map(int, counts), strict=True)) for split, counts in totals.items()},
        class_pictures=dict(zip(names, map(int, pictures), strict=True)),
        ignored_pixels=dict(ignored),
        sizes=tuple(sizes.most_common()),
        examples=_examples(names, findings),
        notes=dataset.notes,
        faults=(*all_faults(dataset, findings, complete), *more),
    )


def _examples(names: Sequence[str], findings: Sequence[ItemFindings]) -> dict[str, tuple[str, ...]]:
    """For each class the items that show most of it, from different sequences first."""
    counted = [(finding.item, finding.counts) for finding in findings if finding.counts is not None]
    examples: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(names):
        having = sorted(((int(counts[index]), item) for item, counts in counted if counts[index]), key=lambda p: -p[0])
        first_of_group = {item.group or item.name: item.name for _, item in reversed(having)}
        ordered = [*reversed(first_of_group.values()), *(item.name for _, item in having)]
        examples[name] = tuple(dict.fromkeys(ordered))[:EXAMPLES]
    return examples


def _sample(items: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    """At most `count` items, drawn by the seed, in their order."""
    if len(items) <= count:
        return tuple(items)
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return tuple(items[index] for index in sorted(chosen.tolist()))


def _read_all(
    items: Sequence[Item], read: Callable[[Item], ItemFindings], threads: int, quiet: bool
) -> list[ItemFindings]:
    """read(item) for each item, in order. In threads: decoding and counting release the interpreter's lock."""
    findings = []
    with ThreadPoolExecutor(threads) as pool, progress("checking", len(items), "pictures", quiet) as bar:
        for finding in pool.map(read, items):
            findings.append(finding)
            bar.advance()
    return findings
