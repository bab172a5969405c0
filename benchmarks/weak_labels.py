"""What boxes and tags are worth: one network, one time, taught by masks, by boxes, by tags, and by a few masks.

    python benchmarks/weak_labels.py --data coco_fruit --out weak --time 5m --seeds 0,1,2
    python benchmarks/weak_labels.py --data coco_fruit --masks

The data set has full masks; boxes and tags are made of them, and the validation pictures keep theirs. Each run is
`denselab train` as a user starts it, all with one size of pictures and one batch. A run that is finished is not made
again, so a stopped benchmark goes on where it was. The table has the mean mIoU over the seeds, its spread, and its
share of the mIoU of full masks. `--masks` trains nothing: it says how well the label maps that are made of boxes agree
with the masks. The machine should be quiet.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denselab.data import open_dataset
from denselab.data.weakening import weakened
from denselab.evaluation.confusion import confusion_matrix
from denselab.evaluation.scores import mean_iou
from denselab.weak.codes import CodeBook
from denselab.weak.teaching import Methods, taught

BOX_METHODS = ("rect", "seg", "em-fixed", "boxsup")


@dataclass(frozen=True)
class Way:
    """One row of the table. words: of `denselab train`; ("few",) trains on the strong pictures alone."""

    name: str
    words: tuple[str, ...]


def ways(strong: int) -> list[Way]:
    """Every way in which the network is taught. strong: pictures that keep their masks in the mixed ways."""
    boxes = [Way(f"boxes: {m}", ("labels=boxes", f"box_method={m}")) for m in BOX_METHODS]
    mixed = [
        Way(f"boxes: {m} + {strong} masks", ("labels=boxes", f"box_method={m}", f"strong={strong}"))
        for m in ("seg", "em-fixed", "boxsup")
    ]
    tags = [
        Way(f"tags: {m} + {strong} masks", ("labels=tags", f"tag_method={m}", f"strong={strong}"))
        for m in ("marginal", "em-adapt", "em-fixed")
    ]
    alone = [Way(f"tags: {m}", ("labels=tags", f"tag_method={m}")) for m in ("em-adapt", "em-fixed")]
    few = Way(f"{strong} masks alone", ("few",))
    return [Way("full masks", ()), *boxes, *mixed, few, *tags, *alone]


def main() -> None:
    """Make all runs that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data set with full masks")
    parser.add_argument("--out", type=Path, default=Path("weak-labels"))
    parser.add_argument("--time", default="5m", help="of each run")
    parser.add_argument(
        "--seeds", default="0,1,2", help="of the runs; each also draws its split and its strong pictures"
    )
    parser.add_argument(
        "--imgsz", default="288x384", help="of every run: the recipe's depends on how many pictures train"
    )
    parser.add_argument("--batch", default="4", help="of every run")
    parser.add_argument("--strong", type=int, default=4, help="pictures that keep their masks in the mixed ways")
    parser.add_argument("--only", default="", help="names of ways as the table has them, with commas; all by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of config.yaml")
    parser.add_argument("--masks", action="store_true", help="measure the label maps made of boxes, and train nothing")
    options = parser.parse_args()
    if options.masks:
        print(mask_table(options.data))
        return
    wanted = [word.strip() for word in options.only.split(",") if word.strip()]
    chosen = [way for way in ways(options.strong) if not wanted or way.name in wanted]
    scores: dict[str, list[float]] = {}
    for way in chosen:
        for seed in map(int, options.seeds.split(",")):
            scores.setdefault(way.name, []).append(score(way, seed, options))
            print(f"{way.name}, seed {seed}: {scores[way.name][-1]:.4f}", flush=True)
    print()
    print(table(scores, options.time))


def score(way: Way, seed: int, options: argparse.Namespace) -> float:
    """The best mIoU of a run on the validation pictures, trained unless it is there."""
    run = options.out / f"{way.name}-{options.time}-seed{seed}".replace(":", "").replace(" ", "-").replace("+", "and")
    if not (run / "summary.json").is_file():
        options.out.mkdir(parents=True, exist_ok=True)
        data = few_masks(options.data, options.out, options.strong, seed) if way.words == ("few",) else options.data
        words = [] if way.words == ("few",) else list(way.words)
        resume = ["--resume"] if (run / "last").is_dir() else []
        command = [sys.executable, "-m", "denselab", "train", str(data), "--out", str(run), "--time", options.time]
        size = ["--imgsz", options.imgsz, "--batch", options.batch]
        given = [] if resume else ["--seed", str(seed), *size, *words, *options.set]
        subprocess.run([*command, *resume, *given], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    best = json.loads((run / "summary.json").read_text(encoding="utf-8"))["best_miou"]
    return float(best["miou"])


def few_masks(data: Path, out: Path, strong: int, seed: int) -> Path:
    """A data.yaml of the same data whose training pictures are those that the mixed ways keep as strong."""
    dataset = weakened(open_dataset(data, seed=seed), "tags", strong, seed)
    train = [item.name for item in dataset.of_split("train") if type(item.source).__name__ != "TagLabels"]
    val = [item.name for item in dataset.of_split("val")]
    path = out / f"few-{strong}-seed{seed}.yaml"
    splits = {"path": str(data.resolve()), "splits": {"train": train, "val": val}}
    path.write_text(json.dumps(splits), encoding="utf-8")  # JSON is YAML
    return path.resolve()


def mask_table(data: Path) -> str:
    """mIoU of the label maps that are made of the boxes of the training pictures, against their masks."""
    whole = open_dataset(data)
    weak = weakened(whole, "boxes")
    space = whole.label_space
    roles = [entry.role for entry in space.classes]
    book = CodeBook(space.num_classes, space.ignore_index, roles.index("background"))
    rows = ["| made of boxes | mIoU with the masks |", "|---|---|"]
    for method in ("rect", "seg"):
        view = taught(weak, book, Methods(method))  # type: ignore[arg-type]
        counts = np.zeros((space.num_classes, space.num_classes), np.int64)
        for item, own in zip(weak.of_split("train"), whole.of_split("train"), strict=True):
            made = view.used_labels(item)
            counts += confusion_matrix(whole.read_labels(own), made, space.num_classes, space.ignore_index)
        rows.append(f"| {method} | {mean_iou(counts):.3f} |")
    return "\n".join(rows)


def table(scores: dict[str, list[float]], time: str) -> str:
    """The rows: mean mIoU over the seeds, lowest and highest, share of that of full masks."""
    full = statistics.mean(scores["full masks"]) if "full masks" in scores else None
    rows = [f"| taught by ({time} each) | mIoU | lowest to highest | of full masks |", "|---|---|---|---|"]
    for name, values in scores.items():
        mean = statistics.mean(values)
        share = f"{mean / full:.0%}" if full else "–"
        rows.append(f"| {name} | {mean:.3f} | {min(values):.3f} to {max(values):.3f} | {share} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
