"""CamVid, 11 classes, from scratch: trains and scores any list of networks by one protocol, and writes the table.

Full protocol: 360x480, the 367 training pictures, for one GPU. `--reduced`: 180x240, ten minutes for each network,
for a CPU.
Scores are over the whole of `val` and, where the data have it, `test`, at the labels' own 360x480, without test-time
augmentation; the network kept is that of the best mIoU on `val`. Boundary F is SegNet's with distances in the place
of its
one-to-one matching, so a little higher than its script's. Each network has a folder below --out; a finished one is
skipped, an interrupted one goes on, and the table is written anew after each.

    python benchmarks/camvid.py --data CAMVID --out runs/camvid --models segnet,deconvnet,fcn8s
    python benchmarks/camvid.py --data CAMVID --out runs/reduced --models all --reduced
    python benchmarks/camvid.py --data CAMVID --out runs/check --models all --reduced --time 2m --check

--check trains and tells for each network whether the loss fell, without scores, and with CHECKED pictures of `val`
so that the time goes into steps; it ends with 1 where one did not.
"""

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import denselab as dl
from denselab.config import make_settings
from denselab.console import remark
from denselab.evaluation import Evaluation
from denselab.measure.evaluate import measure
from denselab.models import MODELS
from denselab.report.run_report import write_report
from denselab.run_folder import CONFIG, ENVIRONMENT, EVALUATION, SUMMARY, has_state
from denselab.training.records import read_metrics
from denselab.training.resume import resumed_settings
from denselab.training.run import run_training

RESULT = "camvid.json"
CHECKED = 2
Settings = dict[str, Any]

# Every network at full size. The numbers are our choice, not yet tuned on `val`: long enough for 367 pictures from
# scratch,
# AdamW and one cycle so that all networks can share them, strong jitter of scale and colour because the set is small.
FULL: Settings = {
    "imgsz": (360, 480),
    "epochs": 300,
    "batch": 8,
    "lr": 1e-3,
    "weight_decay": 0.05,  # five times the default: 300 passes over 367 pictures
    "ema": 0.999,  # 46 steps per epoch: a mean over the last 20 epochs
    "scale_min": 0.5,
    "scale_max": 2.0,
    "photometric": 1.0,
    "losses": ({"name": "cross-entropy"}, {"name": "jaccard"}),
    "class_weights": "sqrt-median",
    "validations": 20,
}
# Every network on a CPU; what is not here, denselab's own recipe for short runs chooses.
REDUCED: Settings = {"imgsz": (180, 240), "batch": 8, "validations": 4}

# Without normalisation 1e-3 diverges (see build.is_normalised).
PLAIN_NET: Settings = {"lr": 1e-4, "clip_norm": 1.0}
# VGG-16 has no normalisation and hardly trains from scratch: the networks of 2015 take vgg16_bn, and the table says so.
ON_VGG_BN: Settings = {"encoder": "vgg16_bn"}


@dataclass(frozen=True)
class Recipe:
    """How one row of the table is trained. model: None, the row's name. full, reduced: what differs from FULL and
    REDUCED."""

    settings: Settings
    model: str | None = None
    full: Settings | None = None
    reduced: Settings | None = None


GATHERED = {"bn_statistics": "cumulative"}  # as SegNet and DeconvNet were released; too dear for ten minutes on a CPU
HEAVY = {"batch": 4, "lr": 1e-3}  # on a CPU a step of 8 takes ten seconds; 3e-3 is for small encoders
HUGE = {"batch": 2, "lr": 1e-3, "save_every": "10m"}  # 250 M parameters: a save is 5 GB; batch 1 leaves fc6 no variance

# Caffe's geometry computes a margin of 100 pixels around each picture: half a minute for a step of 4, three for all
# of `val`
PADDED_100 = {"batch": 1, "lr": 1e-3, "validations": 1}
WIDE_FC6 = {"batch": 1, "lr": 1e-3, "validations": 1}  # fc6 has 4,096 channels at stride 8: 70 giga multiply-adds
# DeepLab v2's scores sum 4 x 18,432 inputs without normalisation: at 1e-3 the loss jumped from 5.6 to 13.8 in four
# steps
V2_RESNET = Recipe({"lr": 1e-4, "clip_norm": 1.0}, reduced={"batch": 4})
V2_RESNET_SCALES = Recipe({"lr": 1e-4, "clip_norm": 1.0}, full={"batch": 4}, reduced={"batch": 2})
ON_RESNET_STRIDE_8 = Recipe({"output_stride": 8}, reduced=HEAVY)  # small pictures: 16 loses poles and signs

RECIPES: dict[str, Recipe] = {
    "fcn32s": Recipe(ON_VGG_BN, reduced=PADDED_100),
    "fcn16s": Recipe(ON_VGG_BN, reduced=PADDED_100),
    "fcn8s": Recipe(ON_VGG_BN, reduced=PADDED_100),
    "fcn8s_atonce": Recipe(ON_VGG_BN, reduced=PADDED_100),
    "fcn8s_learnt": Recipe(ON_VGG_BN, reduced=PADDED_100),
    "fcn8s_plain": Recipe({"encoder": "vgg16", **PLAIN_NET}, model="fcn8s", reduced={"batch": 1, "validations": 1}),
    "fcn32s_alexnet": Recipe({"encoder": "alexnet", **PLAIN_NET}, model="fcn32s", reduced={"batch": 4}),
    "fcn32s_googlenet": Recipe({"encoder": "googlenet", **PLAIN_NET}, model="fcn32s", reduced={"batch": 4}),
    "fcn32s_padded": Recipe(ON_VGG_BN, reduced=HEAVY),
    "fcn16s_padded": Recipe(ON_VGG_BN, reduced=HEAVY),
    "fcn8s_padded": Recipe(ON_VGG_BN, reduced=HEAVY),
    "deconvnet": Recipe({}, full={**GATHERED, "save_every": "10m"}, reduced=HUGE),
    "deconvnet_1024": Recipe({}, full=GATHERED, reduced={"batch": 2, "lr": 1e-3}),
    "segnet": Recipe({}, full=GATHERED, reduced=HEAVY),
    "bayesian_segnet": Recipe({}, full={**GATHERED, "epochs": 450}, reduced=HEAVY),  # dropout of a half wants longer
    "segnet_basic": Recipe({}, full=GATHERED, reduced={"batch": 4}),
    "bayesian_segnet_basic": Recipe({}, full={**GATHERED, "epochs": 450}, reduced={"batch": 4}),
    "bayesian_segnet_camvid": Recipe({}, full={**GATHERED, "epochs": 450}, reduced=HEAVY),
    "unet": Recipe({}, reduced=HEAVY),
    "unet_small": Recipe({}),
    "unet_paper": Recipe(PLAIN_NET, reduced={"batch": 2}),  # 180x240 is mirrored to 364x428
    "unet_release": Recipe(PLAIN_NET, reduced={"batch": 2}),
    "deeplab_largefov": Recipe(ON_VGG_BN, reduced=HEAVY),
    "deeplab_msc_largefov": Recipe(ON_VGG_BN, reduced=HEAVY),
    "deeplab_7x7": Recipe(ON_VGG_BN, reduced=WIDE_FC6 | PLAIN_NET),  # 1e-3 and 3e-4 jumped: fc6 sums 25,088 inputs
    "deeplab_4x4": Recipe(ON_VGG_BN, reduced=WIDE_FC6),
    "deeplab_4x4_stride8": Recipe(ON_VGG_BN, reduced=WIDE_FC6),
    "deeplab_msc_4x4": Recipe(ON_VGG_BN, reduced=WIDE_FC6),
    "deeplabv2_vgg": Recipe(ON_VGG_BN, reduced=HEAVY),
    "deeplabv2_vgg_s": Recipe(ON_VGG_BN, reduced=HEAVY),
    "deeplabv2_vgg_msc": Recipe(ON_VGG_BN, full={"batch": 4}, reduced={"batch": 2, "lr": 1e-3}),
    "deeplabv2_resnet101": V2_RESNET,
    "deeplabv2_resnet101_s": V2_RESNET,
    "deeplabv2_resnet101_largefov": V2_RESNET,
    "deeplabv2_resnet101_msc": V2_RESNET_SCALES,
    "deeplabv3": Recipe({"encoder": "resnet50", "output_stride": 8}, reduced=HEAVY),
    "deeplabv3plus": Recipe({}),  # mobilenetv2_100, the default of `denselab train`
    "deeplabv3plus_resnet50": ON_RESNET_STRIDE_8,
    "deeplabv3plus_resnet101": ON_RESNET_STRIDE_8,
    "deeplabv3plus_xception41": Recipe({}, reduced=HEAVY),
    "deeplabv3plus_xception65": Recipe({}, reduced=HEAVY),
    "deeplabv3plus_xception71": Recipe({}, reduced=HEAVY),
    "deeplabv3plus_mobilenetv2": Recipe({}),
    "fcn_resnet50": Recipe({}, reduced=HEAVY),
    "fcn_resnet101": Recipe({}, reduced=HEAVY),
    "deeplabv3_resnet50": Recipe({}, reduced=HEAVY),
    "deeplabv3_resnet101": Recipe({}, reduced=HEAVY),
    "deeplabv3_mobilenet_v3_large": Recipe({}),
    "lraspp_mobilenet_v3_large": Recipe({}),
    "hypercolumn": Recipe(PLAIN_NET, reduced={"batch": 4}),  # a whole picture is one box: not what it is for
    "hypercolumn_dense": Recipe(ON_VGG_BN, reduced=HEAVY),
    "zoomout16": Recipe({**PLAIN_NET, "class_weights": "inverse"}, reduced={"batch": 2}),
    "zoomout16_deep": Recipe({**PLAIN_NET, "class_weights": "inverse"}, reduced={"batch": 2}),
    "zoomout_pixelwise": Recipe(PLAIN_NET, reduced={"batch": 2}),
    "msra_cfm": Recipe(ON_VGG_BN, full={"batch": 4}, reduced={"batch": 2} | PLAIN_NET),
    "patchwise": Recipe(PLAIN_NET, reduced={"batch": 2}),
    "pixelwise": Recipe(PLAIN_NET, reduced={"batch": 4}),
}

# SegNet paper, tables 1 and 3 (test); FC-DenseNet's table for the rest, whose figures are quoted from memory.
PUBLISHED = """\
| published (test, 360x480) | trained on | global | class average | mIoU | boundary F |
|---|---|---|---|---|---|
| SegNet, 140k iterations (SegNet, table 3) | 3,433 pictures | 90.40 | 71.20 | 60.10 | 46.84 |
| DeepLab-LargeFOV (SegNet, table 3) | 3,433 pictures | 88.20 | 62.53 | 53.88 | 32.77 |
| FCN, learnt deconvolution (SegNet, table 3) | 3,433 pictures | 83.14 | 64.21 | 51.96 | 33.18 |
| DeconvNet with 1024 channels (SegNet, table 3) | 3,433 pictures | 89.58 | 70.24 | 59.77 | 52.23 |
| SegNet-Basic, median-frequency weights (SegNet, table 1) | 367, from scratch | 82.7 | 62.0 | 47.7 | 35.78 |
| FCN-Basic without reduction (SegNet, table 1) | 367, from scratch | 84.1 | 63.4 | 50.1 | 37.37 |
| FCN-8s (quoted by FC-DenseNet) | 367, ImageNet | 88.0 | - | 57.0 | - |
| DeconvNet (quoted by FC-DenseNet) | 367, ImageNet | 85.9 | - | 48.9 | - |
| Bayesian SegNet (quoted by FC-DenseNet) | 367, ImageNet | 86.9 | - | 63.1 | - |
| DeepLab-LargeFOV (quoted by FC-DenseNet) | 367, ImageNet | - | - | 61.6 | - |
| Dilation8 (quoted by FC-DenseNet) | 367, ImageNet | 79.0 | - | 65.3 | - |
| FC-DenseNet103 | 367, from scratch | 91.5 | - | 66.9 | - |
"""


@dataclass(frozen=True)
class Row:
    """What is told of a network; losses are of the first step, and the mean since the last validation but one."""

    network: str
    model: str
    encoder: str | None
    pretrained: str
    parameters: int
    seconds: float
    steps: int
    first_loss: float
    last_loss: float
    scores: dict[str, dict[str, float]]  # by split, in percent
    size: tuple[int, int]
    hardware: str
    threads: int
    commit: str | None
    date: str

    @property
    def falling(self) -> bool:
        """Whether the loss fell."""
        return self.last_loss < self.first_loss


def main() -> int:
    """Train, score, write; returns the exit code."""
    options = parse(sys.argv[1:])
    names = list(RECIPES) if options.models == "all" else options.models.split(",")
    unknown = [name for name in names if name not in RECIPES and name not in MODELS]
    if unknown:
        remark(f"unknown: {', '.join(unknown)}; there are {', '.join([*RECIPES, *(set(MODELS) - set(RECIPES))])}")
        return 2
    failures = 0
    for name in names:
        remark(f"== {name}")
        try:
            row = trained_and_scored(name, options)
        except dl.DenseLabError as error:
            remark(f"{name}: {error}")
            if error.exit_code in (130, 143):  # a signal: the state is saved, and the same command goes on from it
                return error.exit_code
            failures += 1
            continue
        failures += not row.falling
        if options.check:
            verdict = "fell" if row.falling else "DID NOT FALL" if row.steps > 1 else "unknown, give more --time"
            print(f"{name}: loss {verdict}: {row.first_loss:.3f} to {row.last_loss:.3f}, {row.steps} steps", flush=True)
        else:
            write_tables(options.out)
    return int(failures > 0)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CamVid in SegNet's layout")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="all", help="names of RECIPES or of `denselab models`, by comma; or all")
    parser.add_argument("--reduced", action="store_true", help="180x240, by time, for a CPU")
    parser.add_argument("--time", help="for each network; with --reduced 10m by default, else the recipe's epochs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, help="threads that prepare pictures; by default the recipe chooses")
    parser.add_argument("--pretrained", choices=["no", "yes", "auto"], default="no", help="ImageNet weights")
    parser.add_argument("--check", action="store_true", help="only whether the loss falls; no scores")
    options = parser.parse_args(arguments)
    if options.reduced and not options.time:
        options.time = "10m"
    return options


def settings_of(name: str, reduced: bool) -> Settings:
    """The settings (denselab.config.Settings) of one row of the table."""
    recipe = RECIPES.get(name, Recipe({}))
    merged: Settings = {"model": recipe.model or name, **(REDUCED if reduced else FULL), **recipe.settings}
    return merged | ((recipe.reduced if reduced else recipe.full) or {})


def trained_and_scored(name: str, options: argparse.Namespace) -> Row:
    """The row of one network, from its folder as far as it is there."""
    run = options.out / name
    if not finished(run):
        train(name, run, options)
    row = describe(name, run)
    if not options.check and not row.scores:
        row = describe(name, run, scores(run, options.data, options.device))
        (run / RESULT).write_text(json.dumps({**asdict(row), "falling": row.falling}, indent=1) + "\n")
    return row


def train(name: str, run: Path, options: argparse.Namespace) -> None:
    """Begin or go on. A check leaves out the report, which would measure two models on `val`."""
    settings = settings_of(name, options.reduced) | {"pretrained": options.pretrained, "device": options.device}
    if options.check:
        settings["validations"] = 2  # the loss is told of the steps after the first
    for key in ("time", "workers"):
        if getattr(options, key) is not None:
            settings[key] = getattr(options, key)
    if "time" in settings:
        settings.pop("epochs", None)
    resume = has_state(run)
    if options.check:
        dataset = dl.open_dataset(options.data)
        dataset = replace(dataset, items=dataset.of_split("train") + dataset.of_split("val")[:CHECKED])
        typed = make_settings({**settings, "data": options.data})
        run_training(resumed_settings(typed, run) if resume else typed, dataset, run, resume=resume)
    else:
        dl.train(options.data, out=run, resume=resume, settings=settings)


def finished(run: Path) -> bool:
    """Whether the training came to its end; a signal leaves a summary too."""
    path = run / SUMMARY
    return path.is_file() and json.loads(path.read_text())["stopped"] != "signal"


def describe(name: str, run: Path, found: dict[str, dict[str, float]] | None = None) -> Row:
    """The row from the files of the run; scores as found, or those of an earlier call."""
    summary, environment = (json.loads((run / file).read_text()) for file in (SUMMARY, ENVIRONMENT))
    config = json.loads((run / "model" / "config.json").read_text())
    steps, validations = read_metrics(run, "step"), read_metrics(run, "validation")
    if found is None:
        found = json.loads((run / RESULT).read_text())["scores"] if (run / RESULT).is_file() else {}
    return Row(
        network=name,
        model=config["architecture"]["name"],
        encoder=config["architecture"]["encoder"],
        pretrained=pretrained_of(run),
        parameters=summary["parameters"],
        seconds=summary["seconds"],
        steps=validations[-1]["step"],
        first_loss=steps[0]["loss"],
        last_loss=validations[-1]["train_loss"],
        scores=found,
        size=tuple(config["preprocessing"]["imgsz"]),
        hardware=hardware(environment),
        threads=torch.get_num_threads(),
        commit=environment["commit"],
        date=environment["started"][:10],
    )


def pretrained_of(run: Path) -> str:
    """What config.yaml says of ImageNet weights."""
    lines = (run / CONFIG).read_text().splitlines()
    return next(line.split(":", 1)[1].strip(" '\"") for line in lines if line.startswith("pretrained:"))


def hardware(environment: dict[str, Any]) -> str:
    """The name of the GPU, or the processor and its cores."""
    if environment["device"].startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({environment['cores']} cores of {platform.processor() or platform.machine()})"


def scores(run: Path, data: str, device: str) -> dict[str, dict[str, float]]:
    """Percent by split: val as the run's own report has counted it, and test where there is one."""
    dataset = dl.open_dataset(data)
    if not (run / EVALUATION).is_file():  # interrupted after the training, before its report
        write_report(run, dataset, device=device)
    counted = json.loads((run / EVALUATION).read_text())["exact"]
    found = {"val": percentages(Evaluation.from_dict(counted))}
    if items := dataset.of_split("test"):
        measured = measure(dl.load(run, device).plan(), dataset, items, what="scoring test")
        found["test"] = percentages(measured.evaluation)
    return found


def percentages(evaluation: Evaluation) -> dict[str, float]:
    """The four scores of SegNet's tables."""
    return {
        "pixel accuracy": round(100 * evaluation.pixel_accuracy, 2),
        "class average": round(100 * evaluation.mean_accuracy, 2),
        "mIoU": round(100 * evaluation.miou, 2),
        "boundary F": round(100 * (evaluation.boundary_f1 or 0.0), 2),
    }


def write_tables(out: Path) -> None:
    """camvid.json and camvid.md below --out, from all networks that have been scored there, the best first; printed
    too."""
    rows = [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{RESULT}"))]
    rows.sort(key=lambda row: -row["scores"]["val"]["mIoU"])
    (out / RESULT).write_text(json.dumps(rows, indent=1) + "\n")
    text = markdown(rows)
    (out / "camvid.md").write_text(text)
    print(text, flush=True)


def markdown(rows: list[dict[str, Any]]) -> str:
    """One line for each network and split, then the published rows, then where it ran."""
    names = ("pixel accuracy", "class average", "mIoU", "boundary F")
    lines = [
        "| network | encoder | ImageNet | parameters | size | split | global | class average | mIoU | boundary F "
        "| loss, first to last | minutes | steps |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        falling = f"{row['first_loss']:.2f} to {row['last_loss']:.2f}" + ("" if row["falling"] else " (not falling)")
        for split, values in row["scores"].items():
            figures = " | ".join(f"{values[name]:.2f}" for name in names)
            lines.append(
                f"| {row['network']} | {row['encoder'] or 'its own'} | "
                f"{row['pretrained']} | {row['parameters'] / 1e6:.1f} M "
                f"| {row['size'][0]}x{row['size'][1]} | {split} | {figures} | {falling} | {row['seconds'] / 60:.1f} "
                f"| {row['steps']:,} |"
            )
    places = {f"{r['hardware']}, {r['threads']} threads, commit {r['commit']}, {r['date']}" for r in rows}
    return "\n".join([*lines, "", PUBLISHED, "Measured on: " + "; ".join(sorted(places)) + ".", ""])


if __name__ == "__main__":
    sys.exit(main())
