"""What networks of DeconvNet's first table learn, in pictures for lineage-columns.md and lineage-segments.md.

    python docs/lineage_learnt_pictures.py [--only columns]

The dense Hypercolumn and MSRA-CFM learn on the trunk of the package's small model, which stays as it is, as ImageNet's
trunks did for their authors; Zoomout, which needs a VGG-16, on a thin one that learns from scratch. They are trained
here on drawn scenes for about a minute each, then looked into on a scene that none has seen. Lengths are in steps, so a
busy machine makes the same pictures, only later. lineage_hypercolumn_picture.py has Hypercolumn on boxes,
lineage_weak_pictures.py WSSL and BoxSup.
"""

from collections.abc import Callable

import numpy as np
import torch
from drawing import options, write
from lineage_pictures import OUT, SCENE, Picture, enlarged, strongest
from torch import Tensor
from torch.nn import functional as F

from denselab.data.draw.synthetic import SYNTHETIC_LABELS, draw_scene
from denselab.data.feed.transforms import normalise
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.folder import load_engine
from denselab.inspection.shipped import SHIPPED
from denselab.models.base import SegmentationModel
from denselab.models.feature_masks import bins_on, cell_boxes, pyramid
from denselab.models.hypercolumn import HypercolumnDense
from denselab.models.msra_cfm import LEVELS, MSRACFM, pasted_by_score, timm_trunk
from denselab.models.zoomout import Zoomout
from denselab.visualize import colour_map, encode_jpeg, grid, heat_map

SIZE = (96, 128)
CLASSES = SYNTHETIC_LABELS.num_classes
WIDTH = 128  # of fc6 and fc7
THIN = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))  # channels; VGG-16 has eight times as many
BATCH = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the small model has them

Batch = Callable[[int], tuple[Picture, Picture]]
"""A step's number -> pictures (B, H, W, 3) uint8 and class indices (B, H, W), 255 ignored."""


def main() -> None:
    """Train each network and draw its picture."""
    arguments = options(__doc__, PICTURES).parse_args()
    write(PICTURES, arguments.only, f"{OUT}/learnt_{{}}.jpg", encode_jpeg)


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


def dimmed(image: Picture, mask: Picture) -> Picture:
    """The picture, pale outside the mask."""
    return np.where(mask[..., None], image, image // 4 + 160).astype(np.uint8)


def msra_cfm() -> Picture:
    """The map, a segment and its masked bins, what is said of it; another; all pasted by score."""
    network = MSRACFM(timm_trunk(shipped_trunk(16)), CLASSES, fc_channels=WIDTH, dropout=0.2)
    learnt(network, scenes, steps=200)
    image, ids = draw_scene(SCENE, *SIZE)
    with torch.no_grad():
        pictures = inputs(image[None])
        segments = network.segments(pictures)[0]
        features = network.maps(pictures)[0]
        scores = network.logits_of(features, segments).softmax(dim=1)
    best, classes = (values.numpy() for values in scores.max(dim=1))
    large = np.flatnonzero(segments.areas > 300)
    thing = best[large] * ~np.isin(classes[large], [SYNTHETIC_LABELS.names.index(name) for name in ("sky", "ground")])
    sure, unsure = int(large[thing.argmax()]), int(large[best[large].argmin()])
    on_top = pasted_by_score(segments, best)
    own, cells = segments.chosen([sure]), (features.shape[1], features.shape[2])
    boxes = cell_boxes(own, network.grid, cells)
    pooled = pyramid(features[None], torch.from_numpy(boxes).float(), LEVELS[:1]).view(-1, LEVELS[0], LEVELS[0])
    masked = pooled.mean(dim=0).numpy() * bins_on(own, boxes, network.grid, cells, LEVELS[0])[0]
    panels = [
        image,
        enlarged(strongest(features), SIZE),
        dimmed(image, segments.mask(sure)),
        enlarged(heat_map(masked), SIZE),
        dimmed(image, segments.mask(unsure)),
        coloured_labels(classes[on_top]),
        heat_map(best[on_top]),
        colour_map(known(ids), SYNTHETIC_LABELS),
    ]
    names = [f"{SYNTHETIC_LABELS.names[classes[n]]}, {best[n]:.2f}" for n in (sure, unsure)]
    captions = [
        "scene",
        "its map, strength",
        names[0],
        "its box in 6x6 bins, masked",
        names[1],
        "all pasted by score",
        "the scores",
    ]
    return grid(panels, [*captions, "truth"], columns=4, cell_width=240)


def coloured_labels(labels: Picture) -> Picture:
    """Class indices in their colours."""
    return colour_map(labels.astype(np.uint8), SYNTHETIC_LABELS)


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


PICTURES: dict[str, Callable[[], Picture]] = {"columns": columns, "msra_cfm": msra_cfm, "zoomout": zoomout}

if __name__ == "__main__":
    main()
