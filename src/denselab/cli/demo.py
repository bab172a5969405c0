"""`denselab demo`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from denselab.cli.folders import numbered
from denselab.cli.options import Seed, out_option
from denselab.config import make_settings
from denselab.console import remark, tell

DEMO_EPOCHS = 8  # after which the held-out scenes reach 0.85
UPDATE = 1.4  # a step with its update by Muon and its share of validations, against the two passes that a trial makes
MOST_SECONDS = 360.0  # it ends then, on a machine that is too slow for them
SAME = 1.2  # two durations nearer than this are told as one
DEMO_MODEL = {
    "model": "unet_small",
    "imgsz": (96, 128),
    "pretrained": "no",
    "batch": 8,
    "lr": 1.5e-2,
    "scale_min": 0.9,
    "scale_max": 1.25,
    "photometric": 0.3,
}
TRAIN_SCENES, VAL_SCENES, SCENE_SIZE = 400, 60, (96, 128)


Out = Annotated[Path | None, out_option("Folder for data and run.", "denselab-demo, numbered if it exists")]


def demo(out: Out = None, seed: Seed = 0) -> None:
    """Draw a synthetic data set, train on it, measure on held-out scenes and write the report.

    Takes about a minute on two cores. What the machine needs is timed and said before it starts.
    """
    from denselab.api import train_run
    from denselab.data.draw.synthetic import write_synthetic
    from denselab.files import writing

    folder = out or numbered(Path("denselab-demo"))
    remark(f"drawing {TRAIN_SCENES + VAL_SCENES} scenes of {SCENE_SIZE[0]}x{SCENE_SIZE[1]} into {folder / 'scenes'}")
    with writing(folder):
        data = write_synthetic(folder / "scenes", train=TRAIN_SCENES, val=VAL_SCENES, size=SCENE_SIZE, seed=seed)
    command = shlex.join(["denselab", *sys.argv[1:]])
    settings = make_settings({**DEMO_MODEL, "epochs": DEMO_EPOCHS, "data": data, "seed": seed})
    _say_length()
    summary = train_run(settings, folder / "run", resume=False, command=command, at_most=MOST_SECONDS)
    assert summary.best_miou is not None
    tell(
        f"mIoU {summary.best_miou['miou']:.3f} on {VAL_SCENES} held-out scenes after {summary.seconds:.0f} s",
        f"report: {(folder / 'run' / 'report.html').resolve()}",
    )


def _say_length() -> None:
    """Tell how long it will take; as a range where other work slows this machine now."""
    from denselab.data.draw.synthetic import SYNTHETIC_LABELS
    from denselab.engine.threads import heed_neighbours
    from denselab.training.trial import try_network

    heed_neighbours()  # steps are tried as they will run
    trial = try_network("unet_small", SYNTHETIC_LABELS.num_classes, SCENE_SIZE)
    passes, stop = f"training: {DEMO_EPOCHS} passes over them", f"{MOST_SECONDS / 60:.0f} min"
    if trial is None:
        remark(f"{passes}, and it stops after {stop}: a step to time it by did not fit into memory")
        return
    quick, slow = (DEMO_EPOCHS * TRAIN_SCENES * UPDATE * each for each in (trial.counted_on, trial.now))
    if quick >= MOST_SECONDS:
        remark(f"{passes} would take {_range(quick, slow)}; it stops after {stop}, and will score less")
    else:
        ends = f"; it stops after {stop} at the latest" if slow >= MOST_SECONDS else ""
        remark(f"{passes}, {_range(quick, slow)}{ends}")


def _range(quick: float, slow: float) -> str:
    """Both in minutes, or one of them where they are nearly the same."""
    if slow < SAME * quick:
        return f"about {slow / 60:.1f} min on this machine"
    return f"{quick / 60:.1f} min on this machine, {slow / 60:.1f} beside what else it does now"
