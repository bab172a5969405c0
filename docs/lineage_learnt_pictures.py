"""What the systems of DeconvNet's first table learn, in pictures: small networks trained on drawn scenes, looked into.

    python docs/lineage_learnt_pictures.py --runs runs/lineage [--only columns_scores]

Lengths are in steps, so a busy machine makes the same pictures, only later: ten minutes for all of them on two cores.
Runs of `denselab train` stay in --runs, and a second call draws from them at once; the networks of regions are thin
ones that are trained here.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from lineage_pictures import OUT, SCENE, Picture, outlined, outputs
from PIL import Image as PILImage
from torch.nn import functional as F

import denselab as dl
from denselab.config.read import make_config
from denselab.data import Dataset, Item, open_dataset
from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.feed.transforms import normalise
from denselab.data.weak_labels import BoxLabels, TagLabels, index_of
from denselab.data.weakening import weakened
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.folder import load_engine
from denselab.engine.torch_engine import TorchEngine
from denselab.inference import Predictor
from denselab.models.msra_cfm import MSRACFM, pasted_by_score, vgg_trunk
from denselab.models.regional import STRETCH, RegionalModel
from denselab.models.zoomout import Zoomout
from denselab.regions.segments import Segments
from denselab.run_folder import SUMMARY, has_state
from denselab.training.weak_rounds import seen_by, with_round
from denselab.training.weakly import weak_training
from denselab.visualize import colour_map, encode_png, grid, overlay
from denselab.weak.biases import adaptive_biases
from denselab.weak.teaching import TaughtDataset

SIZE = (96, 128)
CLASSES = SYNTHETIC_LABELS.num_classes
THIN = ((16, 16), (32, 32), (64, 64, 64), (96, 96, 96), (96, 96, 96))  # channels; VGG-16 has four to five times as many
WIDTH = 128  # of fc6 and fc7
MEAN = STD = (STRETCH[0],) * 3
THINGS = ("building", "tree", "vehicle", "sign")  # the classes of the scenes for weak labels; the rest is background
SCENES = 72  # of them; every sixth is for val
RUNS = {  # name in --runs: data of `denselab train` ("things": scenes for weak labels), settings
    "hypercolumn_dense": ("synthetic", {"model": "hypercolumn_dense", "encoder": "resnet18", "steps": 400}),
    "boxsup": ("things", {"labels": "boxes", "box_method": "boxsup", "weak_rounds": 3, "steps": 300}),
    "tags": ("things", {"labels": "tags", "strong": 6, "weak_after": 1.0, "steps": 60}),
}


def main() -> None:
    """Train what is missing, draw every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/lineage"), help="where trained networks are kept")
    parser.add_argument("--only", nargs="*", choices=list(PICTURES), help="draw these only")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        if not arguments.only or name in arguments.only:
            (OUT / f"{name}.png").write_bytes(encode_png(draw(arguments.runs)))
            print(OUT / f"{name}.png")


def trained(name: str, runs: Path) -> TorchEngine:
    """The network of that run, trained now, or read from an earlier call."""
    run, (data, settings) = runs / name, RUNS[name]
    if not (run / SUMMARY).is_file():
        place = str(things(runs)) if data == "things" else data
        own = {"pretrained": "no", "imgsz": SIZE, "batch": 8, "validations": 2, **settings}
        dl.train(place, out=run, resume=has_state(run), settings={} if has_state(run) else own)
    return load_engine(run, "cpu")


def things(runs: Path) -> Path:
    """The folder of the scenes for weak labels: four classes before a background, which drawn scenes do not have."""
    folder = runs / "things"
    names = [entry.name for entry in SYNTHETIC_LABELS.classes]
    ids = np.array([*(THINGS.index(name) + 1 if name in THINGS else 0 for name in names), 255], np.uint8)
    for number in range(SCENES):
        image, labels = draw_scene(SCENE + number, *SIZE)
        for kind, pixels in (("images", image), ("labels", ids[np.minimum(labels, len(names))])):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(folder / kind / f"{number:03}.png")
    table = [{"id": 0, "name": "background", "role": "background"}]
    colours = {entry.name: list(entry.colour or ()) for entry in SYNTHETIC_LABELS.entries}
    table += [{"id": i + 1, "name": name, "colour": colours[name]} for i, name in enumerate(THINGS)]
    table += [{"id": 255, "name": "void", "role": "ignore"}]
    splits = {"val": [f"{number:03}" for number in range(0, SCENES, 6)]}
    (folder / "data.yaml").write_text(yaml.safe_dump({"labels": table, "splits": splits}), encoding="utf-8")
    return folder


def taught(name: str, runs: Path) -> TaughtDataset:
    """The data of a run on weak labels, as its training saw them."""
    config = make_config(yaml.safe_load((runs / name / "config.yaml").read_text(encoding="utf-8")))
    dataset = weakened(open_dataset(things(runs), seed=config.seed), config.labels, config.strong, config.seed)
    weak = weak_training(dataset, config, runs / name)
    assert weak is not None, "its pictures are weak"
    return weak.data


def learnt(network: RegionalModel, steps: int) -> RegionalModel:
    """A network of regions, trained on drawn scenes."""
    network.set_normalisation(MEAN, STD)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for step in range(steps):
        scenes = [draw_scene(step * 4 + number, *SIZE) for number in range(4)]
        images = _batch(np.stack([image for image, _ in scenes]))
        labels = torch.tensor(np.stack([ids for _, ids in scenes])).long()
        labels[labels >= CLASSES] = 255
        (logits,), own, weights = network.examples(images, labels, None)
        losses = F.cross_entropy(logits, own, ignore_index=255, reduction="none")
        loss = (losses * (1 if weights is None else weights)).sum() / max(int((own != 255).sum()), 1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def _batch(images: Picture) -> torch.Tensor:
    return normalise(torch.tensor(images).permute(0, 3, 1, 2), MEAN, STD)


def columns_scores(runs: Path) -> Picture:
    """What each map of a hypercolumn says alone, and all of them together."""
    engine, (image, truth) = trained("hypercolumn_dense", runs), draw_scene(SCENE, *SIZE)
    strides = (4, 8, 16, 32)
    found = outputs(engine, image, [f"score_{stride}" for stride in strides])
    alone = [_colours(scores.argmax(dim=0).numpy()) for scores in found.values()]
    panels = [image, *alone, _colours(Predictor(engine).labels(image)), _colours(truth)]
    captions = ["picture", *(f"stride {stride} alone" for stride in strides), "their sum", "truth"]
    return grid(panels, captions, columns=4, cell_width=240)


def columns_superpixels(runs: Path) -> Picture:
    """Zoomout: with the superpixel alone, with its sub-scene, with the scene: the other features at their means."""
    torch.manual_seed(0)
    classifier = VGG16Classifier(in_channels=THIN[-1][-1], channels=WIDTH, dropout=0.0)
    network = Zoomout(VGG16(blocks=THIN, batch_norm=True), classifier, CLASSES, hidden=(256,), superpixels=150)
    learnt(network, steps=300)
    image, truth = draw_scene(SCENE, *SIZE)
    with torch.no_grad():
        pictures = _batch(image[None])
        regions = network.regions(pictures)
        features = network.standardise(network.features(pictures, regions))
        local = features.shape[1] - 2 * WIDTH
        panels = []
        for used in (local, local + WIDTH, features.shape[1]):
            kept = torch.cat([features[:, :used], torch.zeros_like(features[:, used:])], dim=1)
            labels = network.mlp(kept).argmax(dim=1)[regions.pieces[0]]
            panels.append(_colours(labels.numpy()))
    captions = ["picture", "superpixels alone", "with their sub-scenes", "with the scene", "truth"]
    return grid([image, *panels, _colours(truth)], captions, columns=5, cell_width=240)


def segments_scores(runs: Path) -> Picture:
    """MSRA-CFM: a segment that it is sure of, one that it is not, and all of them pasted by their scores."""
    torch.manual_seed(0)
    network = MSRACFM(vgg_trunk(blocks=THIN, batch_norm=True), CLASSES, fc_channels=WIDTH, dropout=0.2)
    learnt(network, steps=300)
    image, truth = draw_scene(SCENE, *SIZE)
    with torch.no_grad():
        pictures = _batch(image[None])
        segments = network.segments(pictures)[0]
        scores = network.logits_of(network.maps(pictures)[0], segments).softmax(dim=1)
    best, classes = (values.numpy() for values in scores.max(dim=1))
    on_top = pasted_by_score(segments, best)
    large = np.flatnonzero(segments.areas > 300)
    shown = [large[best[large].argmax()], large[best[large].argmin()]]
    panels = [image, *(_shown(image, segments, int(number)) for number in shown), _colours(classes[on_top])]
    names = SYNTHETIC_LABELS.names
    captions = ["picture", *(f"{names[classes[n]]} {best[n]:.2f}" for n in shown), "pasted by score", "truth"]
    return grid([*panels, _colours(truth)], captions, columns=5, cell_width=240)


def _shown(image: Picture, segments: Segments, number: int) -> Picture:
    return np.where(segments.mask(number)[..., None], image, image // 4 + 160).astype(np.uint8)


def boxsup_rounds(runs: Path) -> Picture:
    """BoxSup: the segments that the boxes of a training picture take in each round."""
    trained("boxsup", runs)
    data = taught("boxsup", runs)
    item = max(data.of_split("train"), key=lambda item: len(set(_source_of(item).boxes)))
    image, source = data.read_image(item), _source_of(item)
    rounds = [with_round(data, runs / "boxsup", number).used_labels(item) for number in (1, 2, 3)]
    indices = [SYNTHETIC_LABELS.names.index(THINGS[index - 1]) for index in data.classes_of(source)]
    panels = [outlined(image, list(source.boxes), indices), *(_over(data, image, labels) for labels in rounds)]
    captions = ["boxes", "round 1: by the boxes alone", "round 2: with the network", "round 3", "truth"]
    return grid([*panels, _over(data, image, _truth(runs, item))], captions, columns=5, cell_width=240, font_size=13)


def _source_of(item: Item) -> BoxLabels:
    assert isinstance(item.source, BoxLabels), "all training pictures have boxes"
    return item.source


def tags_labels(runs: Path) -> Picture:
    """What a young network says of a picture, what its tags leave of that, and what EM-Adapt makes of it."""
    engine, data = trained("tags", runs), taught("tags", runs)
    seen = seen_by(engine.network, engine.spec.preprocessing, torch.device("cpu"))
    index = index_of(data.label_space)
    weak = [item for item in data.of_split("train") if isinstance(item.source, TagLabels)]
    present = {item.name: [0, *(index[tag] for tag in item.source.tags)] for item in weak}  # type: ignore[attr-defined]
    said = {item.name: seen(data.read_image(item), None) for item in weak}
    item = max(weak, key=lambda item: int((~np.isin(said[item.name].argmax(axis=0), present[item.name])).sum()))
    image, probabilities, own = data.read_image(item), said[item.name], present[item.name]
    scores = torch.from_numpy(np.log(np.maximum(probabilities, 1e-9))).flatten(1)
    torch.manual_seed(0)
    adapted = adaptive_biases(scores, own, 0, data.book.portions).argmax(dim=0).reshape(SIZE).numpy()
    among = np.array(own)[probabilities[own].argmax(axis=0)]
    maps = [probabilities.argmax(axis=0), among, adapted, _truth(runs, item)]
    panels = [image, *(colour_map(labels.astype(np.uint8), data.label_space) for labels in maps)]
    names = " and ".join(data.label_space.names[number] for number in own[1:])
    captions = [f"tags: {names}", "the network alone", "among its tags", "EM-Adapt", "truth"]
    return grid(panels, captions, columns=5, cell_width=240)


def _truth(runs: Path, item: Item) -> Picture:
    whole = open_dataset(things(runs))
    return whole.read_labels(next(own for own in whole.items if own.name == item.name))


def _over(data: Dataset, image: Picture, labels: Picture) -> Picture:
    return overlay(image, labels, data.label_space, 0.75)


def _colours(labels: Picture) -> Picture:
    return colour_map(np.minimum(labels, CLASSES).astype(np.uint8), SYNTHETIC_LABELS)


PICTURES: dict[str, Callable[[Path], Picture]] = {
    "columns_scores": columns_scores,
    "columns_superpixels": columns_superpixels,
    "segments_scores": segments_scores,
    "boxsup_rounds": boxsup_rounds,
    "tags_labels": tags_labels,
}

if __name__ == "__main__":
    main()
