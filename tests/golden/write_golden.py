"""Write what test_golden.py compares with; run it on purpose only: from then on, what it computed is what is right.

    python tests/golden/write_golden.py                       values.json: after a change that is meant to change numbers
    python tests/golden/write_golden.py --folders             run/ and model/ too: after a change of the stored formats
    python tests/golden/write_golden.py --strict FILE.json    sha256 of every exact array, for the same machine only
    python tests/golden/write_golden.py --compare FILE.json   compute them again; names what differs, exit code 1 if any

Before a change of the insides: --strict. After it: --compare. Both want OMP_NUM_THREADS=1, and CamVid in the folder
shared/data/camvid beside the checkout, or where --camvid says.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import denselab
import golden
from denselab.data.draw.synthetic import write_synthetic

CAMVID = golden.HERE.parents[2] / "shared" / "data" / "camvid"
STEPS, STOP = 48, 44  # of the stored run; its 15th epoch is steps 43 to 45
LONG = {"epochs": 16, "settings": {"validations": 4, "lr": 3e-3, "ema": 0.9}}


def write_folders(scratch: Path) -> None:
    """Train and store run/, stopped in the middle of an epoch, and model/, with parameters of a CRF.

    A network as wide as DeepLab's would be 2.6 MB, and a run holds it up to six times: these are the smallest with
    batch normalisation, and with an encoder.
    """
    before = Path.cwd()
    os.chdir(scratch)  # relative paths come into the files
    try:
        data = write_synthetic(Path("scenes"), train=12, val=4, size=(48, 64), seed=5)
        stop_at(STOP, lambda: denselab.train(data, out="run", model="pixelwise", **golden.SMALL, **LONG))
        denselab.train(data, out="other", model="fcn8s", encoder="test_efficientnet", **golden.SMALL, **LONG)
    finally:
        os.chdir(before)
    shutil.rmtree(scratch / "run" / "last.previous", ignore_errors=True)
    store_parameters(scratch / "other" / "model")
    for source, name in ((scratch / "run", "run"), (scratch / "other" / "model", "model")):
        shutil.rmtree(golden.HERE / name, ignore_errors=True)
        shutil.copytree(source, golden.HERE / name)


def stop_at(step: int, train: Any) -> None:
    """Run `train` and send this process SIGTERM in its step number `step`, as a batch system does."""
    done = 0

    def count(*arguments: Any) -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    hook = register_optimizer_step_post_hook(count)
    try:
        train()
    except denselab.DenseLabError as stopped:
        print(stopped)
    else:
        raise SystemExit(f"the run was over before step {step}")
    finally:
        hook.remove()


def store_parameters(folder: Path) -> None:
    """What `denselab crf tune` does in the end; the search itself wants more pictures than are drawn here."""
    from denselab.crf import Parameters
    from denselab.engine.folder import store_crf

    store_crf(folder, Parameters(12.0, 20.0, 3.0, 2.0, 2.0, 4, "symmetric"))


def write_values(path: Path, work: golden.Work) -> None:
    """values.json: for every part its summaries, one line each."""
    texts = []
    for part, compute in golden.parts().items():
        rows = golden.summaries(timed(part, compute, work))
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in rows.items())
        texts.append(f" {json.dumps(part)}: {{\n{lines}\n }}")
    path.write_text("{\n" + ",\n".join(texts) + "\n}\n", encoding="utf-8")


def strict(work: golden.Work, streets: Path) -> dict[str, str]:
    """sha256 by "part: name"."""
    found: dict[str, str] = {}
    for part, compute in golden.strict_parts(streets).items():
        values = golden.digests(timed(part, compute, work))
        found.update({f"{part}: {name}": value for name, value in values.items()})
    return found


def timed(part: str, compute: Any, work: golden.Work) -> golden.Values:
    """Compute a part and say how long it took."""
    started = time.monotonic()
    values: golden.Values = compute(work)
    print(f"{time.monotonic() - started:6.1f} s  {part}: {len(values)} values")
    return values


def main() -> int:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", action="store_true", help="train and store run/ and model/ again as well")
    parser.add_argument("--strict", type=Path, metavar="FILE", help="write digests of the exact values")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with such a file")
    parser.add_argument("--camvid", type=Path, default=CAMVID, help="CamVid in SegNet's layout")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if options.folders:
            (scratch / "making").mkdir()
            write_folders(scratch / "making")
        work = golden.prepare(scratch / "work")
        if options.strict:
            options.strict.write_text(json.dumps(strict(work, options.camvid), indent=1) + "\n", encoding="utf-8")
        elif options.compare:
            return report(json.loads(options.compare.read_text(encoding="utf-8")), strict(work, options.camvid))
        else:
            write_values(golden.HERE / "values.json", work)
    return 0


def report(before: dict[str, str], now: dict[str, str]) -> int:
    """Print the names whose digests differ or that one side lacks; 1 if there are any."""
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    for name in different:
        side = "gone" if name not in now else "new" if name not in before else "different"
        print(f"{side}: {name}")
    print(f"{len(different)} of {len(before)} differ" if different else f"all {len(before)} are equal")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
