"""The default recipe over several data sets, times and seeds: the table that defends a default.

    python benchmarks/recipes.py --data FOLDER --out recipes --times 1m,5m,10m --seeds 0,1,2
    python benchmarks/recipes.py --data FOLDER --out recipes --times 1m --set encoder_lr_factor=1 --label "one rate"

FOLDER holds coco_fruit, nuclei, steel, membrane, crop_weed and camvid; those that are missing are left out. Each run is
`denselab train` as a user starts it, with what `--set` adds. A run that is finished is not made again, so a stopped
benchmark goes on where it was, and variants with other labels come into the same table. Printed are the medians over
the seeds of mIoU on the validation pictures, the steps made, and the size that was chosen; runs.jsonl in `--out` has
every run. The machine should do nothing else.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SETS = ("coco_fruit", "nuclei", "steel", "membrane", "crop_weed", "camvid")
# what the sets ask for when they are opened
ANSWERS = {"steel": "splits: {train: all}\n", "crop_weed": "images: images\nmasks: annotations\n"}


@dataclass(frozen=True)
class Run:
    """One finished run. imgsz: (height, width) that the recipe chose."""

    label: str
    data: str
    time: str
    seed: int
    miou: float
    steps: int
    seconds: float
    imgsz: tuple[int, int]


def main() -> None:
    """Make all runs that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--out", type=Path, default=Path("recipes"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--times", default="1m,5m,10m")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of config.yaml")
    parser.add_argument("--label", default="default", help="what the table calls this variant")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    done = read_runs(options.out)
    names = [name for name in options.sets.split(",") if (options.data / name).exists()]
    wanted = [(n, t, int(s)) for t in options.times.split(",") for n in names for s in options.seeds.split(",")]
    missing = [w for w in wanted if not any(w == (r.data, r.time, r.seed) for r in done if r.label == options.label)]
    began = time.monotonic()
    for number, (name, duration, seed) in enumerate(missing):
        left = (time.monotonic() - began) / number * (len(missing) - number) if number else 0.0
        print(f"{number + 1}/{len(missing)}: {name}, {duration}, seed {seed}; {left / 60:.0f} min left", flush=True)
        run = make_run(options, name, duration, seed)
        done.append(run)
        with (options.out / "runs.jsonl").open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")
    print(table(done))


def read_runs(out: Path) -> list[Run]:
    """The runs that are finished already."""
    file = out / "runs.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [Run(**{**row, "imgsz": tuple(row["imgsz"])}) for row in rows]


def make_run(options: argparse.Namespace, name: str, duration: str, seed: int) -> Run:
    """Train once; raises where the command fails."""
    folder = options.out / "run"
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "denselab", "train", str(answered(options, name)), "--time", duration]
    subprocess.run([*command, "--seed", str(seed), "--out", str(folder), *options.set], check=True, capture_output=True)
    summary = json.loads((folder / "summary.json").read_text())
    model = json.loads((folder / "model" / "config.json").read_text())
    steps = json.loads((folder / "last" / "state.json").read_text())["step"]
    height, width = model["preprocessing"]["imgsz"]
    scores = summary["best_miou"]["miou"], steps, summary["seconds"]
    return Run(options.label, name, duration, seed, *scores, (height, width))


def answered(options: argparse.Namespace, name: str) -> Path:
    """The set, or a copy of it with the data.yaml that it asks for."""
    source: Path = options.data / name
    if name not in ANSWERS or (source / "data.yaml").exists():
        return source
    copy: Path = options.out / "data" / name
    if not copy.exists():
        shutil.copytree(source, copy)
        (copy / "data.yaml").write_text(ANSWERS[name])
    return copy


def table(runs: list[Run]) -> str:
    """A line for each variant, set and time."""
    lines = ["| variant | set | time | mIoU | of seeds | steps | size |", "|---|---|---|---|---|---|---|"]
    for label, name, duration in dict.fromkeys((r.label, r.data, r.time) for r in runs):
        same = [r for r in runs if (r.label, r.data, r.time) == (label, name, duration)]
        scores = sorted(r.miou for r in same)
        each = ", ".join(f"{score:.3f}" for score in scores)
        middle = min(same, key=lambda r: abs(r.miou - statistics.median(scores)))
        size = f"{middle.imgsz[0]}x{middle.imgsz[1]}"
        lines.append(
            f"| {label} | {name} | {duration} | {statistics.median(scores):.3f} | {each} | {middle.steps} | {size} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
