"""Recall curves of segments and boxes on data with objects: the share of objects that a proposal overlaps by some IoU.

    python benchmarks/regions.py DATA [--strategies single fast] [--most 100 500] [--pictures 12] [--kept DIR] [--json]

Counted as in denselab.regions.recall. Objects are the data set's own; where it tells none apart, connected regions of a
class. Prints a Markdown table with the recall at every second level, the average recall and the seconds of a picture;
a picture taken from --kept costs nothing. --json prints the whole curves.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from denselab.data import Dataset, open_dataset
from denselab.data.many_files import spread
from denselab.data.objects import read_objects, source_of
from denselab.regions.kept import segments_in
from denselab.regions.recall import RecallCurve, best_boxes, best_segments, recall_curve
from denselab.regions.search import STRATEGIES, Search

LEAST_SIDE = 8  # pixels: the objects of some data are smaller than selective search's 20


def curves(
    dataset: Dataset, search: Search, sizes: list[int], pictures: int, folder: Path | None
) -> tuple[dict[tuple[str, int], RecallCurve], float]:
    """({("segments" or "boxes", number of proposals): curve}, median seconds of a picture); one search serves all."""
    best: dict[tuple[str, int], list[float]] = {(kind, n): [] for kind in ("segments", "boxes") for n in sizes}
    seconds = []
    for item in spread(dataset.items, pictures):
        image, objects = dataset.read_image(item), read_objects(dataset, item)
        started = time.perf_counter()
        found = segments_in(folder, image, search)
        seconds.append(time.perf_counter() - started)
        for n in sizes:
            first = found.chosen(range(min(n, len(found))))
            best["segments", n] += best_segments(objects.numbers, first).tolist()
            best["boxes", n] += best_boxes(objects.boxes, first.boxes).tolist()
    return {key: recall_curve(np.array(values)) for key, values in best.items()}, float(np.median(seconds))


def main() -> None:
    """Print the table, or the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--strategies", nargs="+", default=["single", "fast"], choices=list(STRATEGIES))
    parser.add_argument("--most", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    dataset = open_dataset(given.data)
    rows = []
    for name in given.strategies:
        search = Search(name, most=max(given.most), least_side=LEAST_SIDE)
        found, seconds = curves(dataset, search, given.most, given.pictures, given.kept)
        rows += [(name, kind, number, curve, seconds) for (kind, number), curve in found.items()]
    if given.json:
        keys = ("strategies", "kind", "most", "curve", "seconds")
        print(json.dumps([dict(zip(keys, (*row[:3], asdict(row[3]), row[4]), strict=True)) for row in rows], indent=1))
        return
    print(f"{dataset.root.name}: objects from {source_of(dataset.items[0])}\n")
    levels = rows[0][3].levels[::2]
    heads = ["strategies", "kind", "most", "objects", *(f"at {level:g}" for level in levels), "average", "s a picture"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, kind, number, curve, seconds in rows:
        recalls = [f"{recall:.2f}" for recall in curve.recall[::2]]
        cells = [name, kind, str(number), str(curve.objects), *recalls, f"{curve.average:.2f}", f"{seconds:.1f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
