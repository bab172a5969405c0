"""What WSSL and BoxSup make of boxes and tags while they train, in pictures for lineage.md and weak.md.

    python docs/lineage_weak_pictures.py --runs runs/lineage-weak [--only boxsup]

Each is `denselab train` on drawn scenes whose things stand before a background: the smallest DeepLabV3+, some hundred
steps from scratch. Lengths are in steps, so a busy machine makes the same pictures, only later. Runs stay in --runs,
and a second call draws from them at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from drawing import options, write
from lineage_hypercolumn_picture import thing_space, things_of
from lineage_learnt_pictures import SIZE
from lineage_pictures import OUT, SCENE, Picture
from PIL import Image as PILImage

import denselab as dl
from denselab.config.read import make_config
from denselab.data import Item, open_dataset
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.weak_labels import BoxLabels, TagLabels, index_of
from denselab.data.weakening import weakened
from denselab.engine.folder import load_engine
from denselab.inference import Predictor
from denselab.run_folder import SUMMARY, has_state
from denselab.training.weak_rounds import seen_by, with_round
from denselab.training.weakly import weak_training
from denselab.visualize import encode_jpeg, grid, overlay
from denselab.weak.biases import adaptive_biases
from denselab.weak.boxes import rectangles
from denselab.weak.pictures import with_boxes
from denselab.weak.teaching import TaughtDataset

SCENES = {"train": range(60), "val": range(60, 72)}  # numbers of the scenes, from SCENE on
UNSEEN = SCENE + 73
SMALL: dict[str, Any] = {
    "model": "deeplabv3plus",
    "encoder": "test_efficientnet",
    "pretrained": "no",
    "lr": 3e-3,
    "imgsz": SIZE,
    "batch": 8,
    "validations": 2,
    "seed": 0,
}
EARLY, LATE = 40, 120  # steps on tags
TAGS: dict[str, Any] = {"labels": "tags", "tag_method": "em-adapt", "strong": 12, "weak_after": 0.0}
RUNS: dict[str, dict[str, Any]] = {  # name in --runs: settings beside SMALL
    "rect": {"labels": "boxes", "box_method": "rect", "steps": 120},
    "seg": {"labels": "boxes", "box_method": "seg", "steps": 120},
    "boxsup": {"labels": "boxes", "box_method": "boxsup", "weak_rounds": 3, "steps": 90},
    "tags-early": {**TAGS, "steps": EARLY},
    "tags-late": {**TAGS, "steps": LATE},
}
STRENGTH = 0.75  # of the colours over a picture


def main() -> None:
    """Train what is missing, draw every picture."""
    parser = options(__doc__, PICTURES)
    parser.add_argument("--runs", type=Path, default=Path("runs/lineage-weak"), help="where trained networks are kept")
    arguments = parser.parse_args()
    write(PICTURES, arguments.only, f"{OUT}/learnt_{{}}.jpg", encode_jpeg, arguments.runs)


def trained(name: str, runs: Path) -> Predictor:
    """The network of that run, trained now, or read from an earlier call."""
    run = runs / name
    if not (run / SUMMARY).is_file():
        going_on = has_state(run)
        dl.train(things(runs), out=run, resume=going_on, settings={} if going_on else {**SMALL, **RUNS[name]})
    return Predictor(load_engine(run, "cpu"))


def things(runs: Path) -> Path:
    """The folder of the scenes: pictures, labels of the things before a background, and data.yaml."""
    folder = runs / "things"
    for split, numbers in SCENES.items():
        for number in numbers:
            image, ids = draw_scene(SCENE + number, *SIZE)
            labels = np.where(ids < SYNTHETIC_LABELS.num_classes, things_of(ids), 255).astype(np.uint8)
            for kind, pixels in (("images", image), ("labels", labels)):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                PILImage.fromarray(pixels).save(folder / kind / split / f"{number:02}.png")
    table = [{"id": e.id, "name": e.name, "colour": list(e.colour), "role": e.role} for e in thing_space().entries]
    (folder / "data.yaml").write_text(yaml.safe_dump({"labels": table}), encoding="utf-8")
    return folder


def taught(name: str, runs: Path) -> TaughtDataset:
    """The data of a run, as its training saw them."""
    config = make_config(yaml.safe_load((runs / name / "config.yaml").read_text(encoding="utf-8")))
    dataset = weakened(open_dataset(runs / "things", seed=config.seed), config.labels, config.strong, config.seed)
    weak = weak_training(dataset, config, runs / name)
    assert weak is not None, "its pictures are weak"
    return weak.data


def boxes(runs: Path) -> Picture:
    """Boxes of a training picture, filled and cut out; what networks say that learnt from such labels."""
    filled_in, cut_out = trained("rect", runs), trained("seg", runs)
    data = taught("seg", runs)
    item = with_most_boxes(data)
    image, source = data.read_image(item), boxed(item)
    filled = rectangles(source.boxes, data.classes_of(source), source.size, 0)
    unseen, ids = draw_scene(UNSEEN, *SIZE)
    panels = [with_boxes(image, source, data), over(image, filled), over(image, data.used_labels(item))]
    panels += [over(image, truth(runs, item)), unseen]
    panels += [over(unseen, labels) for labels in (filled_in.labels(unseen), cut_out.labels(unseen), things_of(ids))]
    captions = ["boxes", "Bbox-Rect: filled", "Bbox-Seg: cut out", "truth"]
    return grid(panels, [*captions, "an unseen scene", "taught by Bbox-Rect", "by Bbox-Seg", "truth"], 4, 240)


def boxsup(runs: Path) -> Picture:
    """The segments that the boxes of a training picture take in each round, and what the network says in the end."""
    network, data = trained("boxsup", runs), taught("boxsup", runs)
    item = with_most_boxes(data)
    image = data.read_image(item)
    rounds = [with_round(data, runs / "boxsup", number).used_labels(item) for number in (1, 2, 3)]
    unseen, ids = draw_scene(UNSEEN, *SIZE)
    panels = [with_boxes(image, boxed(item), data), *(over(image, labels) for labels in (*rounds, truth(runs, item)))]
    panels += [unseen, *(over(unseen, labels) for labels in (network.labels(unseen), things_of(ids)))]
    captions = ["boxes", "round 1: the boxes alone", "round 2: with the network", "round 3", "truth"]
    return grid(panels, [*captions, "an unseen scene", "the network", "truth"], 4, 240)


def tags(runs: Path) -> Picture:
    """What a network says of a training picture early and late, the labels that EM-Adapt makes of that, and the end."""
    early, late = trained("tags-early", runs), trained("tags-late", runs)
    data = taught("tags-late", runs)
    item = with_two_tags(data)
    image = data.read_image(item)
    unseen, ids = draw_scene(UNSEEN, *SIZE)
    panels = [image, *(over(image, labels) for labels in e_step(early, data, item))]
    panels += [over(image, truth(runs, item)), *(over(image, labels) for labels in e_step(late, data, item))]
    panels += [unseen, over(unseen, late.labels(unseen)), over(unseen, things_of(ids))]
    captions = ["tags: " + ", ".join(data.label_space.names[number] for number in tagged(data, item))]
    captions += [f"the network, {EARLY} steps", "EM-Adapt's labels", "truth", f"the network, {LATE} steps"]
    captions += ["EM-Adapt's labels", "an unseen scene", f"the network, {LATE} steps", "truth"]
    return grid(panels, captions, 3, 220)


def e_step(network: Predictor, data: TaughtDataset, item: Item) -> tuple[Picture, Picture]:
    """(H, W) class indices that a network says of a picture, and those that EM-Adapt makes of its scores and tags."""
    see = seen_by(network.engine.network, network.spec.preprocessing, torch.device("cpu"))
    scores = torch.from_numpy(np.log(np.maximum(see(data.read_image(item), None), 1e-9)))
    torch.manual_seed(0)
    biased = adaptive_biases(scores.flatten(1), [0, *tagged(data, item)], 0, data.book.portions)
    return scores.argmax(dim=0).numpy(), biased.argmax(dim=0).reshape(SIZE).numpy()


def tagged(data: TaughtDataset, item: Item) -> list[int]:
    """The class indices of a picture's tags."""
    assert isinstance(item.source, TagLabels), "it has tags alone"
    return [index_of(data.label_space)[tag] for tag in item.source.tags]


def with_two_tags(data: TaughtDataset) -> Item:
    """The first training picture with two tags and no mask."""
    weak = [item for item in data.of_split("train") if isinstance(item.source, TagLabels)]
    return next(item for item in weak if len(tagged(data, item)) == 2)


def with_most_boxes(data: TaughtDataset) -> Item:
    """The training picture with boxes of the most classes, of equals the one with the most boxes."""
    items = data.of_split("train")
    return max(items, key=lambda item: (len(set(data.classes_of(boxed(item)))), len(boxed(item).boxes)))


def boxed(item: Item) -> BoxLabels:
    """The boxes of a picture."""
    assert isinstance(item.source, BoxLabels), "all training pictures have boxes"
    return item.source


def truth(runs: Path, item: Item) -> Picture:
    """The mask of a picture, at which no training with weak labels has looked."""
    whole = open_dataset(runs / "things")
    return whole.read_labels(next(own for own in whole.items if own.name == item.name))


def over(image: Picture, labels: Picture) -> Picture:
    """The picture with the labels in colours over it."""
    return overlay(image, labels, thing_space(), STRENGTH)


PICTURES: dict[str, Callable[[Path], Picture]] = {"boxes": boxes, "boxsup": boxsup, "tags": tags}

if __name__ == "__main__":
    main()
