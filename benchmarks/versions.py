"""Two checkouts of DenseLab side by side: the same commands with each, turn by turn, whole processes.

    git worktree add ../before COMMIT
    python benchmarks/versions.py --old ../before --data CAMVID --rounds 5

Printed is, for each command, the median seconds of both, wall and processor (user + system), and the median of the
rounds' ratios new / old: 1 or less is no slower. Processor time is the steadier figure on a machine that is not alone.
The model is trained first, by the old checkout, for a few steps; both then read the same folder. Training is two
epochs of 24 pictures; `step` is the difference of that and one epoch, so start and end of the process do not count.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
PICTURES = 24
Cost = tuple[float, float]
"""(wall, processor) seconds."""


def main() -> None:
    """Run all commands with both checkouts and print the table."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--old", type=Path, required=True, help="the other checkout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        data = subset(options.data, work / "camvid")
        run = work / "run"
        denselab(options.old, f"train {data} --epochs 1 --imgsz 180x240 --pretrained no --device cpu --out {run}")
        print(
            "| command | old s | new s | new / old | old CPU s | new CPU s | new / old |\n|---|---|---|---|---|---|---|"
        )
        for name, command in commands(run, data, work).items():
            if options.only not in name:
                continue
            print(row(name, command, options.old, options.rounds), flush=True)


def arguments(about: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with what both benchmarks of whole commands ask for. about: the module's docstring."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CamVid in SegNet's layout")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", default="", help="only the commands whose name holds this")
    return parser


def subset(source: Path, target: Path) -> Path:
    """The first pictures of CamVid's train and val lists, copied."""
    target.mkdir()
    for split in ("train", "val"):
        lines = [line.split() for line in (source / f"{split}.txt").read_text().splitlines()][:PICTURES]
        kept = []
        for image, labels in lines:
            pair = []
            for name in (image, labels):
                parts = Path(name).parts[-2:]
                (target / Path(*parts)).parent.mkdir(exist_ok=True)
                shutil.copyfile(source / Path(*parts), target / Path(*parts))
                pair.append("/".join(parts))
            kept.append(" ".join(pair))
        (target / f"{split}.txt").write_text("\n".join(kept) + "\n")
    return target


def commands(run: Path, data: Path, work: Path) -> dict[str, Callable[[Path], Cost]]:
    """What is timed: name -> a function of the checkout."""

    def train(checkout: Path) -> Cost:
        network = "--model deeplabv3plus --encoder mobilenetv2_100"  # what an older recipe took by itself
        plan = f"train {data} {network} --imgsz 180x240 --pretrained no --device cpu --batch 8"
        costs = []
        for epochs in (1, 3):
            shutil.rmtree(work / "trained", ignore_errors=True)
            costs.append(denselab(checkout, f"{plan} --epochs {epochs} --out {work / 'trained'}"))
        steps = 2 * PICTURES / 8
        return (costs[1][0] - costs[0][0]) / steps, (costs[1][1] - costs[0][1]) / steps

    def whole(line: str) -> Callable[[Path], Cost]:
        return lambda checkout: denselab(checkout, line)

    return {
        f"predict, {PICTURES} pictures": whole(f"predict {run} {data}/val --device cpu --out {work / 'predicted'}"),
        f"eval, {PICTURES} pictures": whole(f"eval {run} {data} --device cpu --out {work / 'eval'}"),
        f"eval --tta, {PICTURES} pictures": whole(f"eval {run} {data} --tta --device cpu --out {work / 'tta'}"),
        f"eval --crf, {PICTURES} pictures": whole(f"eval {run} {data} --crf --device cpu --out {work / 'crf'}"),
        "train, one step of 8 pictures": train,
    }


def denselab(checkout: Path, line: str) -> Cost:
    """Run a command line with a checkout's source; raises where it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    subprocess.run([sys.executable, "-m", "denselab", *line.split()], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - started, cpu


def row(name: str, command: Callable[[Path], Cost], old: Path, rounds: int) -> str:
    """A line of the table: one uncounted run of each, then turn by turn."""
    command(old), command(HERE)
    pairs = [(command(old), command(HERE)) for _ in range(rounds)]
    cells = []
    for kind in (0, 1):
        ratio = statistics.median(new[kind] / before[kind] for before, new in pairs)
        olds, news = (statistics.median(pair[side][kind] for pair in pairs) for side in (0, 1))
        cells.append(f"{olds:.2f} | {news:.2f} | {ratio:.2f}")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
