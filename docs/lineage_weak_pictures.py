"""What WSSL and BoxSup make of boxes and tags while they train, in pictures for lineage.md.

    python docs/lineage_weak_pictures.py --runs runs/lineage-weak [--only boxsup]

Each is `denselab train` on drawn scenes whose things stand before a background: the smallest DeepLabV3+, some hundred
steps from scratch. Lengths are in steps, so a busy machine makes the same pictures, only later. Runs stay in --runs,
and a second call draws from them at once.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lineage_learnt_pictures import SIZE, thing_space, things_of
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
from denselab.visualize import colour_map, encode_jpeg, grid, overlay
from denselab.weak.biases import adaptive_biases
from denselab.weak.boxes import rectangles
from denselab.weak.pictures import with_boxes
from denselab.weak.teaching import TaughtDataset

SCENES = 72  # every sixth is for val
UNSEEN = SCENE + SCENES  # a scene that no network of this page has seen
SMALL: dict[str, Any] = {
    **{"model": "deeplabv3plus", "encoder": "test_efficientnet", "pretrained": "no", "lr": 3e-3},
    **{"imgsz": SIZE, "batch": 8, "validations": 2, "seed": 0},
}
BOXES: dict[str, Any] = {"labels": "boxes", "steps": 240}
TAGS: dict[str, Any] = {"labels": "tags", "tag_method": "em-adapt", "strong": 12, "steps": 80}
RUNS: dict[str, dict[str, Any]] = {  # name in --runs: settings; "init" names the run that it goes on from
    "boxes": {**BOXES, "box_method": "seg"},
    "boxsup": {**BOXES, "box_method": "boxsup", "weak_rounds": 3},
    "tags-1": {**TAGS, "weak_after": 0.5},
    "tags-2": {**TAGS, "weak_after": 0.0, "init": "tags-1"},
    "tags-3": {**TAGS, "weak_after": 0.0, "init": "tags-2"},
}
STRENGTH = 0.75  # of the colours over a picture


def main() -> None:
    """Train what is missing, draw every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/lineage-weak"), help="where trained networks are kept")
    parser.add_argument("--only", nargs="*", choices=list(PICTURES), help="draw these only")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        if not arguments.only or name in arguments.only:
            (OUT / f"learnt_{name}.jpg").write_bytes(encode_jpeg(draw(arguments.runs)))
            print(OUT / f"learnt_{name}.jpg")


def trained(name: str, runs: Path) -> Predictor:
    """The network of that run, trained now, or read from an earlier call."""
    run, settings = runs / name, {**SMALL, **RUNS[name]}
    if not (run / SUMMARY).is_file():
        if "init" in settings:
            trained(settings["init"], runs)
            settings["init"] = str(runs / settings["init"])
        going_on = has_state(run)
        dl.train(things(runs), out=run, resume=going_on, settings={} if going_on else settings)
    return Predictor(load_engine(run, "cpu"))


def things(runs: Path) -> Path:
    """The folder of the scenes: pictures, labels of the things before a background, and data.yaml."""
    folder, table = runs / "things", thing_space()
    for number in range(SCENES):
        image, ids = draw_scene(SCENE + number, *SIZE)
        for kind, pixels in (("images", image), ("labels", things_with_void(ids))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(folder / kind / f"{number:03}.png")
    labels = [{"id": e.id, "name": e.name, "colour": list(e.colour), "role": e.role} for e in table.entries]
    splits = {"val": [f"{number:03}" for number in range(0, SCENES, 6)]}
    (folder / "data.yaml").write_text(yaml.safe_dump({"labels": labels, "splits": splits}), encoding="utf-8")
    return folder


def things_with_void(ids: Picture) -> Picture:
    """Ids of a scene as those of `thing_space`; what is ambiguous stays ignored."""
    return np.where(ids < SYNTHETIC_LABELS.num_classes, things_of(ids), 255).astype(np.uint8)


def taught(name: str, runs: Path) -> TaughtDataset:
    """The data of a run, as its training saw them."""
    config = make_config(yaml.safe_load((runs / name / "config.yaml").read_text(encoding="utf-8")))
    dataset = weakened(open_dataset(things(runs), seed=config.seed), config.labels, config.strong, config.seed)
    weak = weak_training(dataset, config, runs / name)
    assert weak is not None, "its pictures are weak"
    return weak.data


def boxes(runs: Path) -> Picture:
    """Boxes of a training picture, filled and cut out, and what a network says that learnt from such labels."""
    network, data = trained("boxes", runs), taught("boxes", runs)
    item = with_most_boxes(data)
    image, source = data.read_image(item), boxed(item)
    filled = rectangles(source.boxes, data.classes_of(source), source.size, 0)
    panels = [with_boxes(image, source, data), over(image, filled), over(image, data.used_labels(item))]
    captions = ["boxes", "Bbox-Rect: filled", "Bbox-Seg: cut out by the CRF", "truth"]
    return grid([*panels, over(image, truth(runs, item)), *unseen(network)], [*captions, *UNSEEN_TOLD], 4, 240)


def boxsup(runs: Path) -> Picture:
    """The segments that the boxes of a training picture take in each round, and what the network says in the end."""
    network, data = trained("boxsup", runs), taught("boxsup", runs)
    item = with_most_boxes(data)
    image = data.read_image(item)
    rounds = [with_round(data, runs / "boxsup", number).used_labels(item) for number in (1, 2, 3)]
    panels = [with_boxes(image, boxed(item), data), *(over(image, labels) for labels in rounds)]
    captions = ["boxes", "round 1: boxes alone", "round 2: with the network", "round 3"]
    return grid([*panels, over(image, truth(runs, item)), *unseen(network)], [*captions, "truth", *UNSEEN_TOLD], 4, 240)


def tags(runs: Path) -> Picture:
    """The labels that EM-Adapt makes of a picture's tags as the network learns, and what it says in the end."""
    data, names = taught_after("tags-3", runs), ("tags-1", "tags-2", "tags-3")
    networks = [trained(name, runs) for name in names]
    item = with_fewest_tags(data)
    assert isinstance(item.source, TagLabels), "it has tags alone"
    index = index_of(data.label_space)
    own = [0, *(index[tag] for tag in item.source.tags)]
    image = data.read_image(item)
    alone, adapted = [], []
    for network in networks:
        probabilities = seen_by(network.engine.network, network.spec.preprocessing, torch.device("cpu"))(image, None)
        scores = torch.from_numpy(np.log(np.maximum(probabilities, 1e-9)))
        torch.manual_seed(0)
        biased = adaptive_biases(scores.flatten(1), own, 0, data.book.portions)
        alone.append(coloured(probabilities.argmax(axis=0)))
        adapted.append(coloured(biased.argmax(dim=0).reshape(SIZE).numpy()))
    told = "tags: " + ", ".join(data.label_space.names[number] for number in own[1:])
    captions = [told, *(f"the network, {steps} steps" for steps in (80, 160, 240)), "truth"]
    captions += [f"EM-Adapt's labels, {steps}" for steps in (80, 160, 240)]
    panels = [image, *alone, coloured(truth(runs, item)), *adapted]
    return grid([*panels, *unseen(networks[-1])], [*captions, *UNSEEN_TOLD], 4, 240)


def taught_after(name: str, runs: Path) -> TaughtDataset:
    """The data of a run that is trained first where it is missing."""
    trained(name, runs)
    return taught(name, runs)


def with_most_boxes(data: TaughtDataset) -> Item:
    """The training picture with the most boxes of different classes, then with the most boxes."""
    items = data.of_split("train")
    return max(items, key=lambda item: (len(set(data.classes_of(boxed(item)))), len(boxed(item).boxes)))


def with_fewest_tags(data: TaughtDataset) -> Item:
    """The training picture that has two tags, where its tags say the most beside a thing."""
    weak = [item for item in data.of_split("train") if isinstance(item.source, TagLabels)]
    return min(weak, key=lambda item: abs(len(item.source.tags) - 2))  # type: ignore[attr-defined]


def boxed(item: Item) -> BoxLabels:
    """The boxes of a picture."""
    assert isinstance(item.source, BoxLabels), "all training pictures have boxes"
    return item.source


def truth(runs: Path, item: Item) -> Picture:
    """The masks of a picture, at which no training has looked."""
    whole = open_dataset(things(runs))
    return whole.read_labels(next(own for own in whole.items if own.name == item.name))


UNSEEN_TOLD = ("an unseen scene", "the network", "truth")


def unseen(network: Predictor) -> list[Picture]:
    """A scene that the network has not seen, what it says of it, and the truth."""
    image, ids = draw_scene(UNSEEN, *SIZE)
    return [image, coloured(network.labels(image)), coloured(things_of(ids))]


def over(image: Picture, labels: Picture) -> Picture:
    """The picture with the labels in colours over it."""
    return overlay(image, labels, thing_space(), STRENGTH)


def coloured(labels: Picture) -> Picture:
    """Class indices in their colours."""
    return colour_map(labels.astype(np.uint8), thing_space())


PICTURES: dict[str, Callable[[Path], Picture]] = {"boxes": boxes, "boxsup": boxsup, "tags": tags}

if __name__ == "__main__":
    main()
