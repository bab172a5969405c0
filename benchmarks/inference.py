"""Inference speed: each network against the same one written plainly, and against torchvision and
segmentation_models.pytorch.

One picture, logits at its size, nothing else. The two sides take turns in each round, so that a slow moment of the
machine hits both; printed are the medians and the median of the rounds' ratios, theirs / ours: 1 or more is no slower.
Networks that
torchvision has are compared with its own, all others with those of plain_networks.py, each at a size that it takes
whole: up to 4 pixels above the one asked for. The column of multiply-adds shows whether the two are one network:
segmentation_models.pytorch's U-Net has another decoder on the same encoder, its DeepLabV3+ one 3x3 convolution in
the decoder where the paper's and ours have two.

    python benchmarks/inference.py --size 352x480 --rounds 9
    python benchmarks/inference.py --networks segnet,unet --against plain --threads 2 --json
    pip install segmentation-models-pytorch     # for `--against smp`; left out with a line where it is missing

--layout as-used: ours in channels_last as `denselab predict` runs it, theirs as a script runs it; `contiguous` and
`channels-last`: both alike.
"""

import argparse
import gc
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from plain_networks import BEYOND, PLAIN
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from denselab.build import create_model

CLASSES = 21
TORCHVISION = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
SMP = {"unet": ("Unet", "resnet34"), "deeplabv3plus": ("DeepLabV3Plus", "mobilenetv2_100")}  # class, encoder of both


@dataclass(frozen=True)
class Pair:
    """One comparison: the network, its encoder where one is named, and whose other side it is."""

    network: str
    encoder: str | None
    against: str
    build_other: Callable[[], nn.Module]


@dataclass(frozen=True)
class Row:
    """A line of the table. ours, theirs: milliseconds, medians. giga: multiply-adds of both, in 1e9."""

    network: str
    against: str
    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float
    giga: tuple[float, float]


class Out(nn.Module):
    """torchvision's networks give a dictionary; the logits are under "out"."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)["out"]


def pairs(networks: list[str], against: list[str]) -> Iterator[Pair]:
    """Every comparison asked for that can be made here."""
    from torchvision.models import segmentation

    for name, plain in PLAIN.items():
        if "plain" in against and name in networks:
            yield Pair(name, None, "plain torch.nn", lambda plain=plain: plain(CLASSES))
    for name in TORCHVISION:
        if "torchvision" in against and name in networks:
            build = getattr(segmentation, name)
            yield Pair(
                name,
                None,
                "torchvision",
                lambda build=build: Out(build(weights=None, weights_backbone=None, num_classes=CLASSES)),
            )
    if "smp" in against and importlib.util.find_spec("segmentation_models_pytorch") is None:
        print("segmentation_models.pytorch is not installed; left out", file=sys.stderr)
        return
    for name, (kind, encoder) in SMP.items():
        if "smp" in against and name in networks:
            yield Pair(name, encoder, "smp", lambda kind=kind, encoder=encoder: smp_model(kind, encoder))


def smp_model(kind: str, encoder: str) -> nn.Module:
    """The model of segmentation_models.pytorch on timm's encoder."""
    import segmentation_models_pytorch as smp

    return getattr(smp, kind)(f"tu-{encoder}", encoder_weights=None, classes=CLASSES)


def compare(pair: Pair, size: tuple[int, int], rounds: int, layout: str, device: str) -> Row:
    """Both sides in turn, one picture at a time."""
    ours, theirs = create_model(pair.network, CLASSES, encoder=pair.encoder), pair.build_other()
    images = torch.randn(1, 3, *size, device=device)
    runs = {
        "ours": runner(ours, images, layout != "contiguous"),
        "theirs": runner(theirs, images, layout == "channels-last"),
    }
    shapes = {side: tuple(run().shape) for side, run in runs.items()}
    if shapes["ours"] != shapes["theirs"]:
        raise SystemExit(f"{pair.network}: ours gives {shapes['ours']}, {pair.against} {shapes['theirs']}")
    giga = tuple(multiply_adds(run) / 1e9 for run in runs.values())
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for number in range(rounds + 1):
        for side in sorted(runs, reverse=number % 2 == 1):
            started = time.perf_counter()
            runs[side]()
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[side].append(time.perf_counter() - started)
    ratios = [other / own for own, other in zip(seconds["ours"], seconds["theirs"], strict=True)]
    medians = {side: 1000 * statistics.median(values) for side, values in seconds.items()}
    name = pair.network + (f" ({pair.encoder})" if pair.encoder else "")
    return Row(
        name,
        pair.against,
        medians["ours"],
        medians["theirs"],
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        (giga[0], giga[1]),
    )


def runner(model: nn.Module, images: Tensor, channels_last: bool) -> Callable[[], Tensor]:
    """A function that runs the network once."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(images.device).to(memory_format=layout).eval()
    pixels = images.contiguous(memory_format=layout)

    def run() -> Tensor:
        with torch.inference_mode():
            return model(pixels)

    return run


def multiply_adds(run: Callable[[], Tensor]) -> int:
    """Of convolutions and matrix products in one run."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def main() -> None:
    """Compare all pairs asked for and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = list(dict.fromkeys([*PLAIN, *TORCHVISION, *SMP]))
    parser.add_argument("--networks", default=",".join(every))
    parser.add_argument("--against", default="plain,torchvision,smp")
    parser.add_argument(
        "--size", default="352x480", help="HEIGHTxWIDTH; multiples of 32, 224 or more, suit every plain network"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--layout", choices=["as-used", "contiguous", "channels-last"], default="as-used")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    networks = options.networks.split(",")
    if unknown := set(networks) - set(every):
        parser.error(f"no comparison for {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    torch.set_num_threads(options.threads or torch.get_num_threads())
    height, width = map(int, options.size.split("x"))
    rows = []
    if not options.json:
        print(f"{'network':34}{'against':16}{'ours ms':>9}{'theirs':>9}{'ratio':>8}{'range':>14}{'giga MAC':>16}")
    for pair in pairs(networks, options.against.split(",")):
        more = BEYOND.get(pair.network, 0)
        row = compare(pair, (height + more, width + more), options.rounds, options.layout, options.device)
        rows.append(row)
        if not options.json:
            spread, giga = f"{row.lowest:.2f}-{row.highest:.2f}", f"{row.giga[0]:.1f} / {row.giga[1]:.1f}"
            print(f"{row.network:34}{row.against:16}{row.ours:9.1f}{row.theirs:9.1f}", end="")
            print(f"{row.ratio:8.2f}{spread:>14}{giga:>16}", flush=True)
        gc.collect()
    report(options, rows)


def report(options: argparse.Namespace, rows: list[Row]) -> None:
    """The setting that the numbers need to be repeated; with --json everything."""
    from denselab.training.records import describe_environment

    facts = describe_environment(options.device, 1)
    setting = {
        "size": options.size,
        "rounds": options.rounds,
        "layout": options.layout,
        "threads": torch.get_num_threads(),
        "device": options.device,
        "machine": f"{platform.processor() or platform.machine()}, {facts['cores']} cores",
        "torch": facts["versions"]["torch"],
        "commit": facts["commit"],
        "date": facts["started"][:10],
    }
    if options.json:
        print(json.dumps({"setting": setting, "rows": [asdict(row) for row in rows]}))
    else:
        print("; ".join(f"{key} {value}" for key, value in setting.items()))


if __name__ == "__main__":
    main()
