"""Data pipeline: pictures per second against Pillow + torchvision v2 that scales the whole picture before it crops.

    python benchmarks/pipeline.py --data CAMVID [--pictures 96] [--rounds 5] [--sizes 360x480,180x240] [--workers 0,2]
           [--threads 1]

Every pipeline ends with a float32 batch, normalised. "plain" reads each picture and label with Pillow, and applies
torchvision.transforms.v2 on Pillow pictures or on tensors (two baselines; the quicker one counts): RandomResize
0.5..2 of
the working size, RandomCrop with padding, RandomHorizontalFlip, ColorJitter, Normalize, in a torch DataLoader.
"ours" is
denselab.data.feed.loading.train_loader plus normalise: the first epoch (decoding) and later ones (decoded pictures
in memory).
The pipelines take turns in each round; the ratio is the median over the rounds of ours / plain in the same round.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from denselab.data import Item, open_dataset
from denselab.data.feed.cache import SampleCache
from denselab.data.feed.fit import fit_size
from denselab.data.feed.loading import train_loader
from denselab.data.feed.transforms import Augmentation, normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 8


class PlainPictures(TorchDataset[tuple[torch.Tensor, torch.Tensor]]):
    """What a plain script does; on_tensors: to tensors before the geometry (quicker), else Pillow does the work."""

    def __init__(self, items: Sequence[Item], crop: tuple[int, int], on_tensors: bool) -> None:
        self.items = items
        with PillowImage.open(items[0].image) as picture:
            short = min(fit_size((picture.height, picture.width), crop))
        fill = {PillowImage.Image: 0, tv_tensors.Image: 0, tv_tensors.Mask: 255}
        self.transform = v2.Compose(
            [
                *([v2.ToImage()] if on_tensors else []),
                v2.RandomResize(short // 2, short * 2, antialias=True),
                v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.4, 0.4, 0.4, 0.05),
                v2.ToImage(),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        item = self.items[index]
        with PillowImage.open(item.image) as picture:
            image = picture.convert("RGB")
        with PillowImage.open(item.source.path) as picture:
            labels = tv_tensors.Mask(torch.from_numpy(np.array(picture)))
        image, labels = self.transform(image, labels)
        return image, labels


def plain_epoch(items: Sequence[Item], crop: tuple[int, int], workers: int, on_tensors: bool) -> Callable[[], int]:
    """A function that runs one epoch and returns the number of pictures; its worker processes stay for the next."""
    pictures = PlainPictures(items, crop, on_tensors)
    loader = DataLoader(
        pictures, BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    return lambda: sum(len(images) for images, _ in loader)


def our_epoch(dataset, items, crop, workers: int, cache: SampleCache | None) -> Callable[[], int]:
    """The same for train_loader; each call is the next epoch."""
    augmentation, epochs = Augmentation(crop), itertools.count()

    def run() -> int:
        batches = train_loader(
            dataset, items, augmentation, batch=BATCH, seed=0, epoch=next(epochs), workers=workers, cache=cache
        )
        return sum(len(normalise(batch.images, MEAN, STD)) for batch in batches)

    return run


def rate(epoch: Callable[[], int]) -> float:
    """Pictures per second of one epoch."""
    begin = time.perf_counter()
    return epoch() / (time.perf_counter() - begin)


def measure(epochs: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Rates of each pipeline, one per round, after one round that does not count; the order changes in each round."""
    rates: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        names = list(epochs)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = rate(epochs[name])
            if number:
                rates[name].append(value)
    return rates


def summary(rates: dict[str, list[float]]) -> dict[str, float]:
    """Medians of the rates, and of the ratios over the quicker plain pipeline of the same round."""
    plain = [max(pair) for pair in zip(rates["plain (Pillow)"], rates["plain (tensors)"], strict=True)]
    result = {name: statistics.median(values) for name, values in rates.items()}
    for name in ("ours, first epoch", "ours, later epochs"):
        ratios = [ours / theirs for ours, theirs in zip(rates[name], plain, strict=True)]
        result[f"{name}: ratio"] = statistics.median(ratios)
        result[f"{name}: lowest ratio"] = min(ratios)
    return result


def where() -> dict[str, str]:
    """Commit, date, hardware and versions: what a number needs to be repeated."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    ).stdout.strip()
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "commit": commit or "unknown",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}, threads {torch.get_num_threads()}",
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    """Run all combinations of size and workers and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="360x480,180x240")
    parser.add_argument("--workers", default="0,2")
    parser.add_argument("--threads", type=int, help="torch threads of every pipeline; 1 where the machine is shared")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    dataset = open_dataset(options.data)
    items = dataset.of_split("train")[: options.pictures]
    report = {"where": where(), "pictures": len(items), "rounds": options.rounds, "results": []}
    for size in options.sizes.split(","):
        crop = tuple(int(side) for side in size.split("x"))
        for workers in (int(number) for number in options.workers.split(",")):
            epochs = {
                "plain (Pillow)": plain_epoch(items, crop, workers, on_tensors=False),
                "plain (tensors)": plain_epoch(items, crop, workers, on_tensors=True),
                "ours, first epoch": our_epoch(dataset, items, crop, workers, None),
                "ours, later epochs": our_epoch(dataset, items, crop, workers, SampleCache()),
            }
            result = summary(measure(epochs, options.rounds))
            report["results"].append({"size": size, "workers": workers, **result})
            if not options.json:
                print(f"{size}, {workers} workers")
                for name, value in result.items():
                    print(f"  {name:38} {value:8.2f}" + ("" if "ratio" in name else " pictures/s"), flush=True)
    print(json.dumps(report) if options.json else "\n".join(f"{k}: {v}" for k, v in report["where"].items()))


if __name__ == "__main__":
    main()
