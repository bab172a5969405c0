"""Box by box against the bare network: what cutting, stretching and joining cost beyond the network itself.

    python benchmarks/instance_wise.py [--networks deconvnet_1024,fcn8s] [--boxes 50] [--size 375x500]

Ours: a picture with its boxes to a label map, as `predict --proposals` runs it once the boxes are found, in each way of
joining. Bare: the network alone on as many crops of its input's size, in the same batches, as floats that are
normalised already, in two forms: plain, as `create_model` gives it, and as the engine runs it, with its batch
normalisation folded into the convolutions (engine/folding.py). Ours has the second form, so only the ratio to that one
says what cutting, stretching and joining cost; the ratio to the plain one, which should be 1.1 at most, is what a user
saves or pays beside a loop of their own. By turns in each round; printed are medians, and the medians of the rounds'
ratios. Weights are random: they do not change the time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch

from denselab.build import create_model
from denselab.engine.folding import SMALL, folded
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.instances import InstanceWise
from denselab.inference.plan import Plan
from denselab.inference.run import labels_of
from denselab.labels import LabelEntry, LabelSpace
from denselab.runtime import keep_freed_memory
from inference import report

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JOINS = {"mean of probabilities": ("mean", "probs"), "maximum of scores": ("max", "logits")}  # the default, the paper's
BARE = ("plain network", "engine's form")


def engine_of(network: str, classes: int, side: int) -> TorchEngine:
    """A network with random weights, as `predict` runs it: evaluation mode, channels_last."""
    name, _, encoder = network.partition(":")
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, i, i)) for i in range(classes)))
    spec = ModelSpec(Architecture(name, classes, encoder or None), space, Preprocessing((side, side), *IMAGENET))
    model = create_model(name, classes, encoder=encoder or None)
    return TorchEngine(spec, model.eval().to(memory_format=torch.channels_last), torch.device("cpu"))


def drawn_boxes(count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes in a picture of (height, width), each side a quarter of the picture's to all of it."""
    rng = np.random.default_rng(0)
    sides = [rng.integers(length // 4, length + 1, count) for length in size]
    starts = [rng.integers(0, length - side + 1) for length, side in zip(size, sides, strict=True)]
    return np.stack([*starts, starts[0] + sides[0], starts[1] + sides[1]], axis=1)


def bare(engine: TorchEngine, count: int, batch: int) -> dict[str, Callable[[], None]]:
    """Functions that run the network alone on `count` crops, `batch` at a time, by form (BARE)."""
    crops = torch.rand(batch, 3, *engine.spec.preprocessing.imgsz).to(memory_format=torch.channels_last)

    def run(network: torch.nn.Module) -> None:
        with torch.inference_mode():
            for first in range(0, count, batch):
                network(crops[: min(batch, count - first)])

    forms = (engine.network, folded(engine.network, crops[:1, :, :SMALL, :SMALL]))
    return {name: partial(run, form) for name, form in zip(BARE, forms, strict=True)}


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}  # the latter also where others compute


def seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long a run takes."""
    started = clock()
    run()
    return clock() - started


@dataclass(frozen=True)
class Row:
    """A network's medians. seconds: of each form alone and each way of joining. ratios: of each way to each form."""

    network: str
    seconds: dict[str, float]
    ratios: dict[str, dict[str, float]]


def compared(network: str, options: argparse.Namespace, size: tuple[int, int]) -> Row:
    """All sides by turns."""
    engine = engine_of(network, options.classes, options.side)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    boxes = drawn_boxes(options.boxes, size)

    def joined(aggregate: str, scores: str, count: int) -> Callable[[], object]:
        some = InstanceWise(lambda _: boxes[:count], boxes=options.boxes, whole=False)
        how = replace(some, aggregate=aggregate, scores=scores)
        return lambda: labels_of(Plan((engine,), instances=how), image)

    batch = InstanceWise().batch
    for run in (*bare(engine, batch, batch).values(), *(joined(*join, 2) for join in JOINS.values())):
        run()  # the first run compiles
    sides: dict[str, Callable[[], object]] = {name: joined(*join, options.boxes) for name, join in JOINS.items()}
    sides |= bare(engine, options.boxes, batch)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in sorted(sides, reverse=number % 2 == 1):
            times[name].append(seconds(sides[name], CLOCKS[options.clock]))
    ratios = {name: {form: ratio(times[name], times[form]) for form in BARE} for name in JOINS}
    return Row(network, {name: statistics.median(taken) for name, taken in times.items()}, ratios)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def cells(row: Row) -> str:
    """A network's line of the table."""
    taken = [f"{row.seconds[form]:.2f}" for form in BARE]
    for join in JOINS:
        taken += [f"{row.seconds[join]:.2f}", *(f"{row.ratios[join][form]:.2f}" for form in BARE)]
    return f"| `{row.network}` | {' | '.join(taken)} |"


def main() -> None:
    """Print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="deconvnet_1024,fcn8s,deeplabv3plus:tf_efficientnet_lite0")
    parser.add_argument("--boxes", type=int, default=50)
    parser.add_argument("--size", default="375x500", help="HEIGHTxWIDTH of the picture")
    parser.add_argument("--side", type=int, default=224, help="of the network's input")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="processor: seconds of all cores")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # as the command does
    options.device, options.layout = "cpu", "as-used"
    torch.set_num_threads(options.threads or torch.get_num_threads())
    height, width = map(int, options.size.split("x"))
    heads = ["network", *(f"{form}, s" for form in BARE)]
    for join in JOINS:
        heads += [f"{join}, s", *(f"to {form}" for form in BARE)]
    if not options.json:
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    rows = []
    for network in options.networks.split(","):
        row = compared(network, options, (height, width))
        rows.append(asdict(row))
        if not options.json:
            print(cells(row), flush=True)
    if options.json:
        print(json.dumps(rows))
        return
    report(options, [])


if __name__ == "__main__":
    main()
