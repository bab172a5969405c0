"""What Hypercolumn learns of boxes, in a picture for lineage-columns.md.

    python docs/lineage_hypercolumn_picture.py

A thin VGG-16 learns from scratch, on boxes around the things of drawn scenes, for 200 steps; then it is asked about the
boxes of a scene that it has not seen. The length is in steps, so a busy machine makes the same picture, only later.
"""

from collections.abc import Iterator

import numpy as np
import torch
from lineage_learnt_pictures import BATCH, SIZE, THIN, WIDTH, dimmed, inputs, learnt
from lineage_pictures import OUT, SCENE, Picture, framed
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.inference.instance_wise import Scored
from denselab.inference.pasting import SUPERPIXELS, object_of, pasted_bands
from denselab.labels import LabelEntry, LabelSpace
from denselab.layers.upsample import enlarge_to
from denselab.models.hypercolumn import HEAT_MAP, Hypercolumn, cell_shares
from denselab.regions.search import Search, find_segments
from denselab.regions.superpixels import superpixels
from denselab.visualize import colour_map, encode_jpeg, grid, heat_map

CELLS = 5  # of the 5x5 classifiers, the smaller of the paper's two grids
SIDE = 96  # of the square that boxes are warped to; 224 in VGG-16
AROUND = 0.15  # of a box's sides, seen around it
THINGS = ("building", "tree", "vehicle", "sign")  # the classes of boxes; the rest of a scene is their background
LEAST = 60  # pixels of an object
BOXES = 40  # proposals that are run


def main() -> None:
    """Train the network and draw its picture."""
    OUT.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    (OUT / "learnt_hypercolumn.jpg").write_bytes(encode_jpeg(hypercolumn()))


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
        *(placed(heat.numpy(), box, image) for heat in layers),
        dimmed(image, projected_on),
        colour_map(pasted.argmax(axis=0).astype(np.uint8), thing_space()),
        colour_map(things_of(ids), thing_space()),
    ]
    told = f"a box, {THINGS[index - 1]}"
    captions = [told, "pool3 alone", "pool4 alone", "fc7 alone", "their sum", "on superpixels", "all boxes, pasted"]
    return grid(panels, [*captions, "truth"], columns=4, cell_width=240)


def thing_space() -> LabelSpace:
    """The label table of the things before a background, with the colours of the scenes."""
    colours = {entry.name: entry.colour for entry in SYNTHETIC_LABELS.entries}
    classes = [LabelEntry(number, name, colours[name]) for number, name in enumerate(THINGS, 1)]
    background = LabelEntry(0, "background", (225, 225, 225), "background")
    return LabelSpace((background, *classes, LabelEntry(255, "void", (0, 0, 0), "ignore")))


def things_of(ids: Picture) -> Picture:
    """Ids of a scene as class indices of `thing_space`."""
    table = np.zeros(256, np.uint8)
    for index, name in enumerate(THINGS, 1):
        table[SYNTHETIC_LABELS.names.index(name)] = index
    return table[ids]


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


def warped(image: Picture, box: tuple[int, int, int, int]) -> Picture:
    """What a box holds, as the network sees it."""
    top, left, bottom, right = box
    return resize_image(np.ascontiguousarray(image[top:bottom, left:right]), (SIDE, SIDE))


def placed(heat: NDArray[np.floating], box: tuple[int, int, int, int], image: Picture) -> Picture:
    """A heat map (50, 50), stretched over its box; the rest of the scene is pale."""
    top, left, bottom, right = box
    result = dimmed(image, np.zeros(SIZE, bool))
    result[top:bottom, left:right] = resize_image(heat_map(heat), (bottom - top, right - left))
    return result


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
    kept = np.unique(found[(areas >= 2 * LEAST) & (2 * areas < SIZE[0] * SIZE[1])], axis=0)
    for corners in kept[:: max(1, len(kept) // BOXES)]:
        box = around(tuple(map(int, corners)), AROUND)
        yield box, network.coarse_logits(inputs(warped(image, box)[None]))[0].permute(1, 2, 0).numpy()


if __name__ == "__main__":
    main()
