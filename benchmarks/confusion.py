"""Nanoseconds per pixel of the confusion matrix, against numpy's bincount and what else is installed.

Run: python benchmarks/confusion.py [--pictures N] [--height H] [--width W] [--classes K] [--rounds N]

Every round times all methods one after the other on the same maps, so that a slow moment of the machine hits all of
them; the
ratio is the median over rounds of (other / ours). Maps are regions of one class, and the prediction is the truth
moved by a few
pixels with blocks of mistakes, as a network's is; "noise" is the worst case, where no word of eight pixels is flat.
All methods must give the same counts, or the run stops. The aim is at most 1 ns per pixel.
"""

import argparse
import datetime
import importlib.util
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.evaluation.confusion import confusion_matrix

IGNORE = 255
Method = Callable[[], NDArray[Any]]


def main() -> None:
    """Print a table for region-like maps and one for noise; `best` is the fastest round, near what an idle machine
    gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("pictures", 20), ("height", 360), ("width", 480), ("classes", 11), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shape = (args.pictures, args.height, args.width)
    print(f"{datetime.date.today()}, commit {commit()}, {hardware()}")
    print(
        f"{args.pictures} maps of {args.height}x{args.width}, {args.classes} "
        f"classes, medians of {args.rounds} paired rounds"
    )
    for kind, maps in (("regions", region_maps), ("noise", noise_maps)):
        truth, prediction = maps(shape, args.classes)
        report(kind, methods(truth, prediction, args.classes), args.rounds, truth.size)


def report(kind: str, found: dict[str, Method], rounds: int, pixels: int) -> None:
    """Time the methods in turn and print their medians; stops where counts differ."""
    expected = found["denselab"]()  # also compiles
    for name, method in found.items():
        if not np.array_equal(method(), expected):
            raise SystemExit(f"{name} counts differently")
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, method in found.items():
            start = time.perf_counter()
            method()
            seconds[name].append(time.perf_counter() - start)
    print(f"\n{kind:24} {'ns/pixel':>10} {'best':>8} {'times ours':>12}")
    for name, values in seconds.items():
        ratio = statistics.median(v / ours for v, ours in zip(values, seconds["denselab"], strict=True))
        median, best = (1e9 * value / pixels for value in (statistics.median(values), min(values)))
        print(f"{name:24} {median:10.2f} {best:8.2f} {ratio:12.1f}")


def methods(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], k: int) -> dict[str, Method]:
    """The counting methods, ours first; torch and torchmetrics where they are installed."""

    def bincount() -> NDArray[np.int64]:
        valid = truth != IGNORE
        pairs = truth[valid].astype(np.int64) * k + prediction[valid]
        return np.bincount(pairs, minlength=k * k).reshape(k, k)

    found: dict[str, Method] = {
        "denselab": lambda: confusion_matrix(truth, prediction, k, IGNORE),
        "denselab, uint16": wide(truth, prediction, k),
        "numpy bincount": bincount,
    }
    if importlib.util.find_spec("torch"):
        found["torch bincount"] = torch_bincount(truth, prediction, k)
    if importlib.util.find_spec("torchmetrics"):
        found["torchmetrics"] = torchmetrics_matrix(truth, prediction, k)
    if importlib.util.find_spec("sklearn"):
        found["scikit-learn"] = sklearn_matrix(truth, prediction, k)
    return found


def wide(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], k: int) -> Method:
    """Ours on maps for more than 255 classes."""
    truth16, prediction16 = truth.astype(np.uint16), prediction.astype(np.uint16)
    return lambda: confusion_matrix(truth16, prediction16, k, IGNORE)


def torch_bincount(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], k: int) -> Method:
    """As most training scripts count, on the int64 labels that they hold."""
    import torch

    t, p = torch.from_numpy(truth).long(), torch.from_numpy(prediction).long()

    def count() -> NDArray[np.int64]:
        valid = t != IGNORE
        return torch.bincount(t[valid] * k + p[valid], minlength=k * k).reshape(k, k).numpy()

    return count


def torchmetrics_matrix(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], k: int) -> Method:
    """torchmetrics' functional confusion matrix."""
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    t, p = torch.from_numpy(truth).long(), torch.from_numpy(prediction).long()
    return lambda: multiclass_confusion_matrix(p, t, num_classes=k, ignore_index=IGNORE).numpy()


def sklearn_matrix(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], k: int) -> Method:
    """scikit-learn's confusion matrix of the pixels that count."""
    from sklearn.metrics import confusion_matrix as theirs

    valid = truth != IGNORE
    return lambda: theirs(truth[valid], prediction[valid], labels=np.arange(k))


def region_maps(shape: tuple[int, int, int], k: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Regions some 40 pixels wide with wavy borders, 3 % ignored; predictions moved by (2, 3) px, 5 % of 8x8 blocks
    wrong."""
    rng = np.random.default_rng(0)
    number, height, width = shape
    seeds = rng.choice(k, size=(number, height // 40 + 3, width // 40 + 3)).astype(np.uint8)
    seeds[rng.random(seeds.shape) < 0.03] = IGNORE
    y, x = np.mgrid[:height, :width]
    wave_y, wave_x = 8 * np.sin(x / 17), 8 * np.sin(y / 23)
    regions = seeds[:, ((y + wave_y + 8) // 40).astype(int), ((x + wave_x + 8) // 40).astype(int)]
    truth = np.ascontiguousarray(regions)  # indexing lays the pictures innermost
    prediction = np.roll(truth, (2, 3), axis=(1, 2))
    wrong = rng.random((number, height // 8 + 1, width // 8 + 1)) < 0.05
    prediction[np.kron(wrong, np.ones((1, 8, 8), dtype=bool)).astype(bool)[:, :height, :width]] = 0
    prediction[prediction == IGNORE] = k - 1
    return truth, prediction


def noise_maps(shape: tuple[int, int, int], k: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Every pixel of a random class."""
    truth, prediction = np.random.default_rng(0).integers(0, k, (2, *shape), dtype=np.uint8)
    return truth, prediction


def hardware() -> str:
    """Processor, cores, versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}"


def commit() -> str:
    """The checkout's commit, with + where files were changed since."""
    here = Path(__file__).parent
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return shown.stdout.strip()


if __name__ == "__main__":
    main()
