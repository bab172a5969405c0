"""A command beside a busy neighbour: how long it takes, against the time that one free core would take.

    python benchmarks/neighbour.py --data CAMVID --rounds 3
    python benchmarks/neighbour.py --data CAMVID --rounds 5 --loss

Each command runs as a whole process, turn by turn: on the quiet machine; on one core alone (OMP_NUM_THREADS=1, pinned);
and as on the quiet machine, but beside processes that never stop computing, one by default. Printed are the medians and
the ratio "beside / one core". With --loss: what looking for neighbours costs where there are none, which is the quiet
machine against the same with a fixed number of threads (OMP_NUM_THREADS), which nothing changes then. The machine must
do nothing else. Linux, at least two cores.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from versions import arguments, subset

HERE = Path(__file__).resolve().parents[1]
BUSY = "x = 0\nwhile True:\n    x = (x * 3 + 1) % 1000003\n"


def main() -> None:
    """Time all commands in the three surroundings and print the table."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--neighbours", type=int, default=1, help="busy processes beside the command")
    parser.add_argument("--loss", action="store_true", help="time the quiet machine alone, against fixed threads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        data = subset(options.data, work / "camvid")
        run = work / "run"
        seconds(f"train {data} --epochs 1 --imgsz 180x240 --pretrained no --device cpu --out {run}")
        heads = ["quiet", "fixed threads"] if options.loss else ["quiet", "one core", "beside"]
        print(f"| command | {' s | '.join(heads)} s | ratio |\n|{'---|' * (len(heads) + 2)}")
        for name, line in commands(run, data, work).items():
            if options.only in name and options.loss:
                print(loss_row(name, line, options.rounds), flush=True)
            elif options.only in name:
                print(row(name, line, options.rounds, options.neighbours), flush=True)


def commands(run: Path, data: Path, work: Path) -> dict[str, str]:
    """What is timed: name -> command line. Training is by epochs, twice: how long it takes is what is asked."""
    train = f"train {data} --imgsz 180x240 --pretrained no --device cpu --out {work}/trained"
    return {
        "predict, 24 pictures": f"predict {run} {data}/val --device cpu --out {work}/predicted",
        "eval, 24 pictures": f"eval {run} {data} --device cpu --out {work}/eval",
        "eval --crf, 24 pictures": f"eval {run} {data} --crf --device cpu --out {work}/crf",
        "train --time 60s, pictures seen": f"{train} --time 60s",
    }


def row(name: str, line: str, rounds: int, count: int) -> str:
    """A line of the table. For training by time it is the pictures per second that count, so its ratio is turned."""
    quiet, one, beside = [], [], []
    for _ in range(rounds):
        quiet.append(cost(line))
        one.append(cost(line, alone=True))
        with neighbours(count):
            beside.append(cost(line))
    return cells(name, (quiet, one, beside), beside, one)


def loss_row(name: str, line: str, rounds: int) -> str:
    """A line of the table with --loss; the two take turns at being first."""
    every = str(len(os.sched_getaffinity(0)))
    sides: dict[str, list[float]] = {"": [], every: []}
    for number in range(rounds):
        for threads in sorted(sides, reverse=number % 2 == 1):
            sides[threads].append(cost(line, threads=threads))
    return cells(name, list(sides.values()), sides[""], sides[every])


def cells(name: str, columns: Sequence[list[float]], above: list[float], below: list[float]) -> str:
    """The medians of the columns, and the median of the rounds' ratios."""
    ratio = statistics.median(a / b for a, b in zip(above, below, strict=True))
    medians = [f"{statistics.median(values):.2f}" for values in columns]
    return f"| {name} | {' | '.join(medians)} | {ratio:.2f} |"


def cost(line: str, alone: bool = False, threads: str = "") -> float:
    """Seconds of a command; of a timed training, seconds per 100 steps. See `seconds`."""
    took = seconds(line, alone, threads)
    if not line.startswith("train"):
        return took
    run = Path(line.rsplit(" --out ", 1)[1].split()[0])
    import json
    import shutil

    steps = json.loads((run / "last" / "state.json").read_text())["step"]
    shutil.rmtree(run)
    return 100 * took / steps


def seconds(line: str, alone: bool = False, threads: str = "") -> float:
    """Run a command line; raises where it fails. alone: on one core. threads: a fixed number of them."""
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src")}
    environment |= {"OMP_NUM_THREADS": threads} if threads else {}
    command = [sys.executable, "-m", "denselab", *line.split()]
    if alone:
        environment["OMP_NUM_THREADS"] = environment["NUMBA_NUM_THREADS"] = "1"
        command = ["taskset", "-c", "0", *command]
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.monotonic() - started


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that compute without end."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
