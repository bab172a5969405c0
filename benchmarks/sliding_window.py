"""The fully convolutional run over a picture against the sliding window that it replaces (FCN, arXiv 1411.4038,
section 3.1).

A classifier of torchvision, windows of its training size at every 32nd pixel, on one picture: `convolutionalize`
computes
all scores at once, the sliding window runs the classifier on batches of windows. Both in turn in each round; printed
are the
medians, the median of the rounds' ratios (window / convolutional), and the ratio of multiply-adds, which bounds it.
The paper: AlexNet, 500x500, 10x10 scores, more than five times faster than window by window.

    python benchmarks/sliding_window.py --networks alexnet,vgg16 --size 500x500 --rounds 5
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from denselab.convolutional.fully_convolutional import convolutionalize
from denselab.layers.windows import run_windows, window_grid
from denselab.training.records import describe_environment

WINDOWS = {"alexnet": 227}  # others: 224


def sides(name: str, size: tuple[int, int], batch: int, device: str) -> tuple[dict[str, Callable[[], Tensor]], int]:
    """The two ways to the scores of one picture, and the number of windows."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    classifier = getattr(torchvision.models, name)(**options).to(device).eval()
    model = convolutionalize(classifier, WINDOWS.get(name, 224))
    picture = torch.randn(1, 3, *size, device=device)
    rows, columns = window_grid(size, model.window, model.stride)
    found = {
        "convolutional": lambda: model(picture)[..., :rows, :columns],
        "sliding window": lambda: run_windows(classifier, picture, model.window, model.stride, batch),
    }
    return found, rows * columns


def operations(run: Callable[[], Tensor]) -> int:
    """Multiply-adds of one run."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def measure(name: str, size: tuple[int, int], rounds: int, batch: int, device: str) -> dict[str, float | str]:
    """Medians of both sides in seconds and of the rounds' ratios."""
    runs, windows = sides(name, size, batch, device)
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    with torch.inference_mode():
        if runs["convolutional"]().shape != runs["sliding window"]().shape:  # also warms up
            raise SystemExit(f"{name}: the two sides give maps of different sizes")
        giga = {side: operations(run) / 1e9 for side, run in runs.items()}
        for number in range(rounds):
            for side in sorted(runs, reverse=number % 2 == 1):
                started = time.perf_counter()
                runs[side]()
                if device != "cpu":
                    torch.cuda.synchronize()
                seconds[side].append(time.perf_counter() - started)
    ratios = [slow / quick for quick, slow in zip(seconds["convolutional"], seconds["sliding window"], strict=True)]
    return {
        "network": name,
        "windows": windows,
        **{side: statistics.median(values) for side, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "lowest ratio": min(ratios),
        "highest ratio": max(ratios),
        "ratio of multiply-adds": giga["sliding window"] / giga["convolutional"],
    }


def main() -> None:
    """Measure each network and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="alexnet,vgg16", help="of torchvision: also googlenet, resnet50, ...")
    parser.add_argument("--size", default="500x500", help="HEIGHTxWIDTH of the picture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16, help="windows at a time")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    height, width = map(int, options.size.split("x"))
    rows = []
    for name in options.networks.split(","):
        row = measure(name, (height, width), options.rounds, options.batch, options.device)
        rows.append(row)
        if not options.json:
            print(
                f"{name}, {row['windows']} windows: convolutional {row['convolutional']:.3f} s, sliding window "
                f"{row['sliding window']:.3f} s; {row['ratio']:.2f}x in the median of {options.rounds} paired rounds "
                f"({row['lowest ratio']:.2f} to {row['highest ratio']:.2f}); multiply-adds "
                f"{row['ratio of multiply-adds']:.2f}x",
                flush=True,
            )
    facts = describe_environment(options.device, 1)
    setting = (
        f"{options.size}, batches of {options.batch} windows, {torch.get_num_threads()} threads, {options.device}; "
        f"{platform.processor() or platform.machine()}, {facts['cores']} cores; torch {facts['versions']['torch']}; "
        f"commit {facts['commit']}; {facts['started'][:10]}"
    )
    print(json.dumps({"setting": setting, "rows": rows}) if options.json else setting)


if __name__ == "__main__":
    main()
