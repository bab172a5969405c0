"""Every network of `denselab models` through the commands: info, train, eval, predict, and torch.export of what was
trained.

Six drawn scenes of 64x96, one pass: that each command works with each network and ends with its files, not that it
learns
(camvid.py tells that). The networks have their full width, so it takes about half an hour on one core, and 8 GiB of
memory; folders are deleted as soon as they are not needed, the largest hold 5 GB. Ends with 1 where a network failed.

    python benchmarks/every_network.py --out DIR [--models NAMES]
"""

import argparse
import contextlib
import io
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import denselab as dl
from denselab.cli.main import app
from denselab.console import remark
from denselab.data.draw.synthetic import write_synthetic
from denselab.models import MODELS

SIZE = (64, 96)
STEPS = ("info", "train", "eval", "predict", "export")


def main() -> int:
    """Run all steps for all networks; a table of seconds. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    data = write_synthetic(options.out / "scenes", train=4, val=2, size=SIZE)
    print(f"| network | {' | '.join(f'{step}, s' for step in STEPS)} |\n|---|{'---|' * len(STEPS)}")
    failures = 0
    for name in options.models.split(","):
        cells = []
        for step, task in steps_of(name, data, options.out / name).items():
            start = time.perf_counter()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    task()
            except Exception as error:
                remark(f"{name}: {step}: {type(error).__name__}: {error}")
                cells.append("FAILED")
                failures += 1
                break
            cells.append(f"{time.perf_counter() - start:.1f}")
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)
        shutil.rmtree(options.out / name, ignore_errors=True)
    return int(failures > 0)


def steps_of(name: str, data: Path, folder: Path) -> dict[str, Callable[[], None]]:
    """What is done with one network, in order."""
    size = "x".join(map(str, SIZE))
    run, measured, predicted = folder / "run", folder / "eval", folder / "predicted"
    plan = f"train {data} --model {name} --epochs 1 --batch 2 --imgsz {size} --device cpu --out {run}"
    return {
        "info": lambda: command(f"info {name} --imgsz {size} --json"),
        "train": lambda: command(plan, run / "report.html"),
        "eval": lambda: command(f"eval {run} {data} --out {measured} --device cpu", measured / "evaluation.json"),
        "predict": lambda: command(
            f"predict {run} {data}/images/val --out {predicted} --device cpu", *expected(data, predicted)
        ),
        "export": lambda: export(run),
    }


def command(line: str, *files: Path) -> None:
    """Run a command line in this process. Raises AssertionError where it does not leave its files."""
    code = app(line.split(), standalone_mode=False)
    assert not code, f"denselab {line}: exit code {code}"
    for file in files:
        assert file.is_file(), f"denselab {line}: {file} is missing"


def expected(data: Path, folder: Path) -> list[Path]:
    """The label maps that predicting the validation pictures leaves."""
    return [folder / "labels" / f"{picture.stem}.png" for picture in sorted((data / "images" / "val").iterdir())]


def export(run: Path) -> None:
    """torch.export of the trained network: the same logits as it gives itself."""
    model = dl.load(run, "cpu").engine.network.eval()
    images = torch.rand(1, 3, *SIZE)
    with torch.inference_mode():
        program = torch.export.export(model, (images,))
        torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    sys.exit(main())
