"""Recall of each source of proposals on data with objects: the share of objects that a box overlaps by some IoU.

    python benchmarks/proposals.py DATA [--boxes 50 500] [--pictures 12] [--sources windows edgeboxes selective]

Counted as by Hosang et al. (PAMI 2016): an object is found at an IoU where the best box reaches it; the mean is over
the objects of all pictures. Prints a Markdown table, with the seconds of a picture.
"""

import argparse
import time

import numpy as np

from denselab.data import Dataset, open_dataset
from denselab.data.many_files import spread
from denselab.data.objects import read_objects, source_of
from denselab.proposals.boxes import overlaps
from denselab.proposals.sources import SOURCES, source_named

LEVELS = (0.5, 0.7, 0.9)
SHAPE = (224, 224)  # DeconvNet's input


Found = dict[int, list[float]]
"""{number of boxes: best IoU of each object}."""


def best_overlaps(dataset: Dataset, source: str, boxes: list[int], pictures: int) -> tuple[Found, float]:
    """(best overlaps, seconds of a picture); one search serves all numbers, except of windows, which are few."""
    found: Found = {number: [] for number in boxes}
    seconds = []
    for item in spread(dataset.items, pictures):
        image, objects = dataset.read_image(item), read_objects(dataset, item)
        started = time.perf_counter()
        most = source_named(source)(image, max(boxes), SHAPE)
        seconds.append(time.perf_counter() - started)
        for number in boxes:
            taken = source_named(source)(image, number, SHAPE) if source == "windows" else most[:number]
            best = overlaps(objects.boxes, taken).max(axis=1, initial=0) if len(taken) else np.zeros(len(objects.boxes))
            found[number] += best.tolist()
    return found, float(np.median(seconds))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--boxes", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    given = parser.parse_args()
    dataset = open_dataset(given.data)
    print(f"{dataset.root.name}: objects from {source_of(dataset.items[0])}\n")
    heads = ["source", "boxes", "objects", *(f"recall at {level}" for level in LEVELS), "mean best IoU", "s a picture"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for source in given.sources:
        found, seconds = best_overlaps(dataset, source, given.boxes, given.pictures)
        for number, best in found.items():
            recalls = [f"{np.mean(np.array(best) >= level):.2f}" for level in LEVELS]
            cells = [source, str(number), str(len(best)), *recalls, f"{np.mean(best):.2f}", f"{seconds:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
