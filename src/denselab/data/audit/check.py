"""Read a whole data set once, in parallel, and say what is in it and what is wrong with it. Nothing is written."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from denselab.console import progress
from denselab.data.audit.faults import all_faults, class_totals, split_of
from denselab.data.audit.findings import Fault, Reading, Size, read_fully, read_headers
from denselab.data.dataset import Dataset, Item, open_dataset
from denselab.labels import LabelSpace
from denselab.runtime import cpu_count

# What a quick check looks at: the first costs about 0.3 ms each, the second up to 50 ms with large pictures.
QUICK_HEADERS = 1500
QUICK_PICTURES = 32
EXAMPLES = 4  # per class, for the contact sheet


@dataclass(frozen=True)
class CheckReport:
    """What is in a data set. complete: every file was read in full (a quick check samples).

    pictures: {split: how many}. class_pixels: {split: {class name: pixels}}. ignored_pixels: {split: pixels}.
    class_pictures: {class name: pictures with a pixel of it}. sizes: ((H, W), how many pictures), most frequent first.
    examples: {class name: the names of the items with the most pixels of it}.
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
        """The faults because of which training would fail or learn nonsense."""
        return tuple(fault for fault in self.faults if fault.severity == "error")

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The faults with which training works."""
        return tuple(fault for fault in self.faults if fault.severity == "warning")

    @property
    def would_train(self) -> bool:
        """Whether training would run and learn what is meant."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """One line: whether it would train, and the first reason why not."""
        if self.would_train:
            looked = "" if self.complete else " (a quick look)"
            return f"fit for training{looked}, {_count(len(self.warnings), 'warning')}"
        first = self.errors[0]
        where = f"{first.file}: " if first.file else ""
        more = f" (and {_count(len(self.errors) - 1, 'more error')})" if len(self.errors) > 1 else ""
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

    quick: headers of at most 1500 pictures and the pixels of 32, seconds even for large sets. workers: threads, all cores
    unless given. seed: which pictures a quick check takes, and the split of a path that has none. quiet: no progress.
    Raises DataError where the data set cannot be opened at all.
    """
    if not isinstance(dataset, Dataset):
        dataset = open_dataset(dataset, seed=seed)
    headers = _sample(dataset.items, QUICK_HEADERS, seed) if quick else ()
    in_full = _sample(dataset.items, QUICK_PICTURES, seed) if quick else dataset.items
    threads = workers or min(cpu_count(), 16)
    readings = _read_all(in_full, partial(read_fully, dataset), threads, quiet=quick or quiet)
    seen = {item.name for item in in_full}
    rest = [item for item in headers if item.name not in seen]
    readings += _read_all(rest, partial(read_headers, dataset), threads, quiet=True)
    return summarise(dataset, readings, complete=len(in_full) == len(dataset.items))


def summarise(dataset: Dataset, readings: Sequence[Reading], complete: bool) -> CheckReport:
    """The report of what was read."""
    names = dataset.label_space.names
    totals = class_totals(dataset, readings)
    counted = [reading.counts > 0 for reading in readings if reading.counts is not None]
    pictures = np.array(counted, dtype=np.int64).reshape(-1, len(names)).sum(axis=0)
    ignored = Counter(dict.fromkeys(dataset.splits, 0))
    for reading in readings:
        ignored[split_of(reading)] += reading.ignored
    sizes = Counter(reading.size for reading in readings if reading.size)
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
        examples=_examples(names, readings),
        notes=dataset.notes,
        faults=all_faults(dataset, readings, complete),
    )


def _examples(names: Sequence[str], readings: Sequence[Reading]) -> dict[str, tuple[str, ...]]:
    """For each class the items that show most of it; from different sequences first, so that they differ."""
    counted = [(reading.item, reading.counts) for reading in readings if reading.counts is not None]
    examples: dict[str, tuple[str, ...]] = {}
    for index, name in enumerate(names):
        having = sorted(((int(counts[index]), item) for item, counts in counted if counts[index]), key=lambda p: -p[0])
        first_of_group = {item.group or item.name: item.name for _, item in reversed(having)}
        ordered = [*reversed(first_of_group.values()), *(item.name for _, item in having)]
        examples[name] = tuple(dict.fromkeys(ordered))[:EXAMPLES]
    return examples


def _sample(items: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    """At most count items, drawn by the seed, in their order."""
    if len(items) <= count:
        return tuple(items)
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return tuple(items[index] for index in sorted(chosen.tolist()))


def _read_all(items: Sequence[Item], read: Callable[[Item], Reading], threads: int, quiet: bool) -> list[Reading]:
    """read of each item, in order; threads, since decoding and counting release the interpreter."""
    readings = []
    with ThreadPoolExecutor(threads) as pool, progress("checking", len(items), "pictures", quiet) as bar:
        for reading in pool.map(read, items):
            readings.append(reading)
            bar.advance()
    return readings


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
