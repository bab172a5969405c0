"""What DeconvNet's two stages and its boxes are worth: trained on whole pictures or on crops, run whole or box by box.

    python benchmarks/deconvnet_stages.py --data coco_fruit --out DIR --steps 300
    python benchmarks/deconvnet_stages.py --data VOC2012 --out DIR --width 64 --fc 4096 --steps 20000 --device cuda

One network is trained twice, from the same seed, with as many steps of the same batch at the same input: on whole
pictures, and in the paper's two stages (objects, then proposals with all classes; Noh, Hong, Han 2015, section 5). The
weights of each training, and those after the first stage alone, are then run in every way. Without --width and --fc a
quarter of DeconvNet's channels, which a CPU trains from scratch in minutes. Stopped, the same command goes on.
Prints a Markdown table: mean IoU over the pixels, and over objects by their size (docs/compare.md says how).
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import denselab as dl
from denselab.encoders.vgg import BLOCKS, VGG16
from denselab.evaluation.objects import SizeRow, by_size, objects_of
from denselab.in_words import number_of
from denselab.inference.instances import PRESETS, InstanceWise
from denselab.measure.evaluate import Measured
from denselab.models import MODELS
from denselab.models.base import ModelOptions
from denselab.models.deconvnet import ENTRIES, DeconvNet
from denselab.run_folder import SUMMARY, has_state, is_staged, stage_folder
from denselab.training.records import describe_environment

NAME = "deconvnet_thin"
SIDE = 224  # of the network's input: fc6 leaves one cell
FULL_WIDTH = BLOCKS[0][0]
WAYS: dict[str, InstanceWise | None] = {
    "whole picture": None,
    "20 windows and the picture, mean": InstanceWise(boxes=20),
    "100 windows and the picture, mean": InstanceWise(boxes=100),
    "50 edge boxes and the picture, mean": InstanceWise("edgeboxes"),
    "50 edge boxes, as the paper": PRESETS["paper"],
}


def add_thin_network(width: int, channels: int) -> None:
    """Give DeconvNet with fewer channels a name among the networks, in this process alone."""
    blocks = tuple(tuple(out * width // FULL_WIDTH for out in block) for block in BLOCKS)

    def build(options: ModelOptions) -> DeconvNet:
        encoder = VGG16(options.in_channels, blocks=blocks, batch_norm=True, return_indices=True)
        return DeconvNet(encoder, options.num_classes, channels)

    entry = replace(ENTRIES["deconvnet"], build=build, stages=(NAME,), encoders=())
    MODELS[NAME] = entry  # type: ignore[index]


def trained(options: argparse.Namespace) -> dict[str, Path]:
    """The model folders by what they were trained on; trains what is missing."""
    common: dict[str, Any] = {
        "model": NAME,
        "imgsz": (SIDE, SIDE),
        "steps": options.steps,
        "batch": options.batch,
        "seed": options.seed,
        "pretrained": "no",
        "device": options.device,
        "validations": 2,
        "bn_statistics": "cumulative",
        "losses": ({"name": "cross-entropy"},),
        "lr": options.lr,
    }
    found = {}
    for name, stages in (("whole", False), ("stages", True)):
        run = options.out / name
        if has_state(run) or is_staged(run):
            if not finished(run):
                dl.train(options.data, out=run, resume=True, device=options.device)
        else:
            dl.train(options.data, out=run, settings={**common, "stages": stages})
        found[name] = run
    return {
        "whole pictures": found["whole"],
        "stage 1: objects": found["stages"] / stage_folder(1, NAME),
        "both stages": found["stages"],
    }


def finished(run: Path) -> bool:
    """Whether a training came to its end."""
    path = run / SUMMARY
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["stopped"] != "signal"


def sizes_of(measured: Measured) -> list[SizeRow]:
    """The true objects by size, and how well they were found; sizes without an object are left out."""
    space = measured.dataset.label_space
    things = [index for index, entry in enumerate(space.classes) if entry.role != "background"]
    found = []
    for item in measured.items:
        truth = measured.dataset.read_labels(item)
        found += objects_of(truth, measured.kept[item.name], things, space.ignore_index)
    return [row for row in by_size(found) if row.objects]


def main() -> None:
    """Train, run in every way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="with objects told apart")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300, help="of each training; the stages share them")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3, help="AdamW's")
    parser.add_argument("--width", type=int, default=FULL_WIDTH // 4, help=f"of the first block; {FULL_WIDTH} is whole")
    parser.add_argument("--fc", type=int, default=256, help="channels of fc6 and fc7; 4096 is whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    add_thin_network(options.width, options.fc)
    dataset = dl.open_dataset(options.data, seed=options.seed)
    heads: list[str] = []
    for what, run in trained(options).items():
        for way, how in WAYS.items():
            started = time.perf_counter()
            measured = dl.evaluate(run, dataset, instances=how, device=options.device, quiet=True)
            seconds = (time.perf_counter() - started) / len(measured.items)
            sizes = sizes_of(measured)
            if not heads:
                objects = [f"{row.name} ({number_of(row.objects, 'object')})" for row in sizes]
                heads = ["trained on", "run on", "mIoU", *objects, "s a picture"]
                print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
            scores = [measured.miou, *(row.mean_iou for row in sizes)]
            cells = [what, way, *(f"{100 * score:.1f}" for score in scores), f"{seconds:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    facts = describe_environment(options.device, 1)
    how = f"{options.steps} steps of {options.batch}, width {options.width}, seed {options.seed}"
    print(f"\n{how}; {facts['cores']} cores; commit {facts['commit']}; {facts['started'][:10]}")


if __name__ == "__main__":
    main()
