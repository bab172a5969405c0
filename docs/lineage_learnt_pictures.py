"""What the networks of regions in DeconvNet's first table learn, in pictures for lineage-columns and lineage-segments.

    python docs/lineage_learnt_pictures.py [--only zoomout]

The dense Hypercolumn and MSRA-CFM learn on the trunk of the package's small model, which stays as it is, as
ImageNet's trunks did for their authors; Hypercolumn and Zoomout, which need a VGG-16, on a thin one of their own. They
are trained here on drawn scenes for some hundred steps, then looked into on a scene that none has seen. Lengths are in
steps, so a busy machine makes the same pictures, only later. lineage_weak_pictures.py has those of WSSL and BoxSup.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch
from lineage_pictures import OUT, SCENE, Picture, enlarged, framed, strongest
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.feed.resample import resize_image, resize_labels
from denselab.data.feed.transforms import normalise
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.folder import load_engine
from denselab.inference.instance_wise import Scored
from denselab.inference.pasting import SUPERPIXELS, object_of, pasted_bands
from denselab.inspection.shipped import SHIPPED
from denselab.labels import LabelEntry, LabelSpace
from denselab.layers.upsample import enlarge_to
from denselab.models.base import SegmentationModel
from denselab.models.hypercolumn import HEAT_MAP, Hypercolumn, HypercolumnDense, cell_shares
from denselab.models.msra_cfm import MSRACFM, pasted_by_score, projected, timm_trunk
from denselab.models.zoomout import Zoomout
from denselab.regions.search import Search, find_segments
from denselab.regions.superpixels import superpixels
from denselab.visualize import colour_map, encode_jpeg, grid, heat_map

SIZE = (96, 128)
CLASSES = SYNTHETIC_LABELS.num_classes
THIN = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))  # channels; VGG-16 has eight times as many
WIDTH = 128  # of fc6 and fc7
BATCH = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the small model has them
CELLS = 5  # of the 5x5 classifiers, the smaller of the paper's two grids
SIDE = 96  # of the square that Hypercolumn's boxes are warped to; 224 in the paper's VGG-16
AROUND = 0.15  # of a box's sides, seen around it
THINGS = ("building", "tree", "vehicle", "sign")  # the classes of boxes; the rest of a scene is their background
LEAST = 60  # pixels of an object
BOXES = 40  # proposals that Hypercolumn runs

Batch = Callable[[int], tuple[Picture, Picture]]
"""A step's number -> pictures (B, H, W, 3) uint8 and class indices (B, H, W), 255 ignored."""


def thing_space() -> LabelSpace:
    """The label table of the things before a background, with the colours of the scenes."""
    colours = {entry.name: entry.colour for entry in SYNTHETIC_LABELS.entries}
    classes = [LabelEntry(number, name, colours[name]) for number, name in enumerate(THINGS, 1)]
    background = LabelEntry(0, "background", (225, 225, 225), "background")
    return LabelSpace((background, *classes, LabelEntry(255, "void", (0, 0, 0), "ignore")))


def main() -> None:
    """Train each network and draw its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PICTURES), help="draw these only")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        if not arguments.only or name in arguments.only:
            torch.manual_seed(0)
            (OUT / f"learnt_{name}.jpg").write_bytes(encode_jpeg(draw()))
            print(OUT / f"learnt_{name}.jpg")


def learnt(network: SegmentationModel, batch: Batch, steps: int, rate: float = 2e-3) -> SegmentationModel:
    """The network after so many steps of AdamW, in evaluation mode."""
    network.set_normalisation(MEAN, STD)
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    for step in range(steps):
        images, labels = batch(step)
        (logits,), own, weights = network.examples(inputs(images), torch.from_numpy(labels).long(), None)
        losses = F.cross_entropy(logits, own, ignore_index=255, reduction="none")
        loss = (losses * (1 if weights is None else weights)).sum() / max(int((own != 255).sum()), 1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def shipped_trunk(output_stride: int | None) -> TimmEncoder:
    """The encoder of the package's small model, which learns nothing more."""
    own = load_engine(SHIPPED, "cpu")
    encoder = TimmEncoder(str(own.spec.architecture.encoder), output_stride=output_stride)
    encoder.load_state_dict(own.network.get_submodule("encoder").state_dict())
    encoder.requires_grad_(False)
    return encoder.eval()


def inputs(images: Picture) -> Tensor:
    """Normalised pictures (B, 3, H, W)."""
    return normalise(torch.tensor(images).permute(0, 3, 1, 2), MEAN, STD)


def scenes(step: int) -> tuple[Picture, Picture]:
    """The next scenes with all their classes."""
    drawn = [draw_scene(step * BATCH + number, *SIZE) for number in range(BATCH)]
    labels = np.stack([ids for _, ids in drawn])
    return np.stack([image for image, _ in drawn]), np.where(labels < CLASSES, labels, 255)


def crops(step: int) -> tuple[Picture, Picture]:
    """Boxes around objects, warped; what is not the object of its box is background."""
    draw = np.random.default_rng(step)
    images, labels = [], []
    while len(images) < 2 * BATCH:
        image, ids = draw_scene(int(draw.integers(100_000)), *SIZE)
        found = objects(ids)
        for number in draw.permutation(len(found))[:2]:
            index, mask, box = found[number]
            top, left, bottom, right = around(box, AROUND * float(draw.uniform(0.3, 1.7)))
            images.append(resize_image(np.ascontiguousarray(image[top:bottom, left:right]), (SIDE, SIDE)))
            own = np.where(mask[top:bottom, left:right], index, 0).astype(np.uint8)
            labels.append(resize_labels(own, (SIDE, SIDE)))
    return np.stack(images[: 2 * BATCH]), np.stack(labels[: 2 * BATCH])


def objects(ids: Picture) -> list[tuple[int, Picture, tuple[int, int, int, int]]]:
    """(index in `thing_space`, mask, box) of the connected regions of things."""
    found = []
    for index, name in enumerate(THINGS, 1):
        parts, _ = ndimage.label(ids == SYNTHETIC_LABELS.names.index(name))
        for number, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
            mask = parts == number
            if mask.sum() >= LEAST:
                found.append((index, mask, (rows.start, columns.start, rows.stop, columns.stop)))
    return found


def around(box: tuple[int, int, int, int], share: float) -> tuple[int, int, int, int]:
    """A box with a share of its sides around it, inside the scene."""
    top, left, bottom, right = box
    down, across = round((bottom - top) * share), round((right - left) * share)
    return max(top - down, 0), max(left - across, 0), min(bottom + down, SIZE[0]), min(right + across, SIZE[1])


def hypercolumn() -> Picture:
    """A box: what each layer says of it alone, their sum, its superpixels; then all boxes of the scene, pasted."""
    trunk = VGG16(blocks=THIN, batch_norm=True)
    classifier = VGG16Classifier(in_channels=THIN[-1][-1], channels=WIDTH, kernel=SIDE // 32, dropout=0.0)
    channels = {"pool3": THIN[2][-1], "pool4": THIN[3][-1]}
    network = Hypercolumn(trunk, classifier, len(THINGS) + 1, channels, SIDE, CELLS)
    learnt(network, crops, steps=200)
    image, ids = draw_scene(SCENE, *SIZE)
    index, _, box = max(objects(ids), key=lambda one: int(one[1].sum()))
    box = around(box, AROUND)
    with torch.no_grad():
        layers = layers_alone(network, inputs(warped(image, box)[None]), index)
        scored = list(boxes_scored(network, image))
        own = network.coarse_logits(inputs(warped(image, box)[None]))[0].numpy()
    pieces = superpixels(image, SUPERPIXELS)
    found = object_of(box, np.exp(own), pieces, np.bincount(pieces.ravel()), background=0)
    projected_on = np.isin(pieces, [] if found is None else found.pieces)
    pasted = np.concatenate([band for _, band in pasted_bands(iter(scored), image, thing_space())], axis=1)
    top, left, bottom, right = box
    panels = [
        framed(image, (top, left, bottom - top, right - left)),
        *(enlarged(heat_map(heat.numpy()), (96, 128)) for heat in layers),
        dimmed(image, projected_on),
        colour_map(pasted.argmax(axis=0).astype(np.uint8), thing_space()),
        colour_map(things_of(ids), thing_space()),
    ]
    told = f"a box, {THINGS[index - 1]}"
    captions = [told, "pool3 alone", "pool4 alone", "fc7 alone", "their sum", "on superpixels", "all boxes, pasted"]
    return grid(panels, [*captions, "truth"], columns=4, cell_width=240)


def warped(image: Picture, box: tuple[int, int, int, int]) -> Picture:
    """What a box holds, as the network sees it."""
    top, left, bottom, right = box
    return resize_image(np.ascontiguousarray(image[top:bottom, left:right]), (SIDE, SIDE))


def layers_alone(network: Hypercolumn, box: Tensor, index: int) -> list[Tensor]:
    """Probabilities (50, 50) of a class by pool3, pool4 and fc7 alone, and by all of them together."""
    maps = network.encoder.activations(box)
    scores = [network.get_submodule(f"score_{name}")(maps[name]) for name in network.layers]
    scores.append(network.score_fc7(network.classifier(maps["pool5"])))
    large = [enlarge_to(one, (HEAT_MAP, HEAT_MAP)) for one in scores]
    mixed = []
    for one in (*large, sum(large)):
        probs = torch.unflatten(torch.as_tensor(one), 1, (network.cells**2, network.num_classes)).softmax(dim=2)
        mixed.append(torch.einsum("gij,bgkij->bkij", cell_shares(network.cells, HEAT_MAP), probs)[0, index])
    return mixed


def boxes_scored(network: Hypercolumn, image: Picture) -> Iterator[Scored]:
    """The boxes of selective search, and what the network says of each."""
    found = find_segments(image, Search("fast", least_side=10)).boxes
    areas = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    kept = found[(areas >= 2 * LEAST) & (areas < image.size / 6)]
    for corners in np.unique(kept, axis=0)[:: max(1, len(kept) // BOXES)]:
        box = around(tuple(map(int, corners)), AROUND)
        yield box, network.coarse_logits(inputs(warped(image, box)[None]))[0].numpy()


def columns() -> Picture:
    """The dense form: what the map of each stride says of a scene alone, and their sum."""
    network = HypercolumnDense(shipped_trunk(None), CLASSES)
    learnt(network, scenes, steps=150)
    image, ids = draw_scene(SCENE, *SIZE)
    found: dict[str, Tensor] = {}
    for name in network.landmarks():
        network.get_submodule(name).register_forward_hook(lambda _, x, y, name=name: found.__setitem__(name, y[0]))
    with torch.no_grad():
        together = network(inputs(image[None]))[0]
    alone = [enlarged(coloured(scores), SIZE) for scores in found.values()]
    captions = ["scene", *(f"{name.replace('score_', 'stride ')} alone" for name in found), "their sum", "truth"]
    return grid([image, *alone, coloured(together), colour_map(known(ids), SYNTHETIC_LABELS)], captions, 4, 240)


def coloured(scores: Tensor) -> Picture:
    """The class colours of the largest of (K, h, w) scores."""
    return colour_map(scores.argmax(dim=0).to(torch.uint8).numpy(), SYNTHETIC_LABELS)


def known(ids: Picture) -> Picture:
    """Ids of a scene as class indices of SYNTHETIC_LABELS."""
    return np.minimum(ids, CLASSES).astype(np.uint8)


def things_of(ids: Picture) -> Picture:
    """Ids of a scene as class indices of `thing_space`."""
    table = np.zeros(256, np.uint8)
    for index, name in enumerate(THINGS, 1):
        table[SYNTHETIC_LABELS.names.index(name)] = index
    return table[ids]


def dimmed(image: Picture, mask: Picture) -> Picture:
    """The picture, pale outside the mask."""
    return np.where(mask[..., None], image, image // 4 + 160).astype(np.uint8)


def zoomout() -> Picture:
    """The answer from the superpixel's own features, then with the sub-scene, then with the scene; one class's score.

    What is left out is at its mean over the training, which is 0 after standardising.
    """
    classifier = VGG16Classifier(in_channels=THIN[-1][-1], channels=WIDTH, dropout=0.0)
    network = Zoomout(VGG16(blocks=THIN, batch_norm=True), classifier, CLASSES, hidden=(256,), superpixels=150)
    learnt(network, scenes, steps=200)
    image, ids = draw_scene(SCENE, *SIZE)
    with torch.no_grad():
        pictures = inputs(image[None])
        regions = network.regions(pictures)
        features = network.standardise(network.features(pictures, regions))
        local = features.shape[1] - 2 * WIDTH
        answers = []
        for used in (local, local + WIDTH, features.shape[1]):
            kept = torch.cat([features[:, :used], torch.zeros_like(features[:, used:])], dim=1)
            answers.append(network.mlp(kept)[regions.pieces[0]].permute(2, 0, 1))
    probs = answers[-1].softmax(dim=0)
    shown = [SYNTHETIC_LABELS.names.index(name) for name in ("tree", "road")]
    panels = [image, *map(coloured, answers), *(heat_map(probs[k].numpy()) for k in shown)]
    captions = ["scene", "superpixels alone", "with their sub-scenes", "with the scene: the answer"]
    captions += [f"{SYNTHETIC_LABELS.names[k]}, by superpixel" for k in shown]
    return grid([*panels, colour_map(known(ids), SYNTHETIC_LABELS)], [*captions, "truth"], columns=4, cell_width=240)


def msra_cfm() -> Picture:
    """A segment, its cells, the map and the masked map, what is said of it; another; all pasted by score."""
    network = MSRACFM(timm_trunk(shipped_trunk(16)), CLASSES, fc_channels=WIDTH, dropout=0.2)
    learnt(network, scenes, steps=200)
    image, ids = draw_scene(SCENE, *SIZE)
    with torch.no_grad():
        pictures = inputs(image[None])
        segments = network.segments(pictures)[0]
        features = network.maps(pictures)[0]
        scores = network.logits_of(features, segments).softmax(dim=1)
    best, classes = (values.numpy() for values in scores.max(dim=1))
    _, cells = projected(segments, network.grid, (features.shape[1], features.shape[2]))
    large = np.flatnonzero((segments.areas > 300) & (cells.sum(axis=(1, 2)) > 2))
    thing = best[large] * ~np.isin(classes[large], [SYNTHETIC_LABELS.names.index(name) for name in ("sky", "ground")])
    sure, unsure = int(large[thing.argmax()]), int(large[best[large].argmin()])
    on_top = pasted_by_score(segments, best)
    masked = features * torch.from_numpy(cells[sure])
    top = float(np.quantile(features.mean(dim=0).numpy(), 0.995))
    panels = [
        image,
        enlarged(strongest(features), SIZE),
        dimmed(image, segments.mask(sure)),
        enlarged(heat_map(masked.mean(dim=0).numpy(), 0, top), SIZE),
        dimmed(image, segments.mask(unsure)),
        coloured_labels(classes[on_top]),
        heat_map(best[on_top]),
        colour_map(known(ids), SYNTHETIC_LABELS),
    ]
    names = [f"{SYNTHETIC_LABELS.names[classes[n]]}, {best[n]:.2f}" for n in (sure, unsure)]
    captions = ["scene", "its map, strength", names[0], "the masked map", names[1], "all pasted by score", "the scores"]
    return grid(panels, [*captions, "truth"], columns=4, cell_width=240)


def coloured_labels(labels: Picture) -> Picture:
    """Class indices in their colours."""
    return colour_map(labels.astype(np.uint8), SYNTHETIC_LABELS)


PICTURES: dict[str, Callable[[], Picture]] = {
    "columns": columns,
    "msra_cfm": msra_cfm,
    "zoomout": zoomout,
    "hypercolumn": hypercolumn,
}

if __name__ == "__main__":
    main()
