"""The pictures of explain.html: feature maps, score maps, probabilities, and the receptive field of a pixel."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw
from scipy.ndimage import gaussian_filter

from denselab.data.resizing.resample import resize_labels
from denselab.inspection.activations import LayerMaps
from denselab.inspection.explanation import Effect, Explanation
from denselab.inspection.receptive import Box
from denselab.labels import LabelSpace
from denselab.measure.pictures import Panel
from denselab.report.language import Say
from denselab.types import Image
from denselab.visualize import HEAT, colour_map, fit, heat_map

Floats = NDArray[np.float32]
"""Caption, picture, and whether its cells must stay sharp."""

CELL = 320  # pixels: the longer side of a small picture, about twice its size on the page, for sharp screens
WIDE = 760  # of a large one
OTHERS = 8  # classes of a score map that are shown beside the chosen one
CLASSES = 10  # probability maps
BLOCKS = 100  # cells: maps up to this side are stored as blocks, without loss; larger ones like photographs
BLUR = 1 / 150  # of the picture's diagonal: to the eye, gradients of single pixels are noise
BOX = (64, 196, 255)
PAPER = 225  # grey around the picture


def layer_panels(layer: LayerMaps, space: LabelSpace, chosen: int, say: Say) -> list[Panel]:
    """The mean and the strongest channels; for a map of class scores, the classes that win and some of the scores."""
    if layer.scores is not None:
        return _score_panels(layer.scores, space, chosen, say)
    blocks = max(layer.mean.shape) <= BLOCKS
    panels = [(say("mean of all"), heat_panel(layer.mean), blocks)]
    return panels + [(say("channel {number}", number=i), heat_panel(values), blocks) for i, values in layer.strongest]


def _score_panels(scores: Floats, space: LabelSpace, chosen: int, say: Say) -> list[Panel]:
    winners = scores.argmax(axis=0)
    present = np.bincount(winners.ravel(), minlength=len(scores))
    others = [int(k) for k in np.argsort(-present, kind="stable") if k != chosen and present[k]][:OTHERS]
    first: Panel = (say("highest score"), _enlarged(colour_map(winners.astype(space.dtype), space)), True)
    blocks = max(winners.shape) <= BLOCKS
    return [first, *((space.names[k], heat_panel(scores[k]), blocks) for k in (chosen, *others))]


def heat_panel(values: Floats, low: float | None = None, high: float | None = None) -> Image:
    """A map as heat.

    low, high: the ends of the scale; by default the map's own, without the outermost 0.5 % of values.
    """
    bottom, top = np.percentile(values, (0.5, 99.5)) if low is None or high is None else (low, high)
    if top <= bottom:
        bottom, top = float(values.min()), float(values.max()) + 1e-6
    return _enlarged(heat_map(values.astype(np.float64), float(bottom), float(top)))


def _enlarged(image: Image, side: int = CELL) -> Image:
    return fit(image, side, side)


def probability_panels(explanation: Explanation, say: Say) -> list[Panel]:
    """The probability of the chosen class, then of those that take up most of the picture, from 0 to 1."""
    probs, names = explanation.probs, explanation.engine.spec.label_space.names
    mean = probs.reshape(len(probs), -1).mean(axis=1)
    chosen = explanation.effect.class_index
    order = [chosen, *(int(k) for k in np.argsort(-mean, kind="stable") if k != chosen)][:CLASSES]
    captions = [say("{name}, mean {share}", name=names[k], share=f"{mean[k]:.1%}") for k in order]
    return [(caption, heat_panel(probs[k], 0.0, 1.0), False) for caption, k in zip(captions, order, strict=True)]


def result_panels(explanation: Explanation, overlaid: Image, say: Say) -> list[Panel]:
    """Picture, label map, both, and how sure the network is, unless it is untrained: then it cannot be sure."""
    space = explanation.engine.spec.label_space
    labels = resize_labels(explanation.labels, explanation.working.shape[:2])
    panels: list[Panel] = [
        (say("picture"), _reduced(explanation.image), False),
        (say("label map"), _reduced(colour_map(labels, space)), True),
        (say("both"), _reduced(overlaid), False),
    ]
    if not explanation.random:
        panels.append((say("highest probability"), heat_panel(explanation.probs.max(axis=0), 0.0, 1.0), False))
    return panels


def _reduced(image: Image) -> Image:
    return fit(image, WIDE, WIDE) if max(image.shape[:2]) > WIDE else image


def effect_picture(working: Image, effect: Effect) -> Image:
    """The picture in grey, the effective receptive field as heat, the theoretical box, and a cross on the pixel.

    Where the box reaches beyond the picture, blank paper is added around it, at most half the picture's size.
    """
    grey = np.asarray(PILImage.fromarray(working).convert("L"), dtype=np.float64)[..., None] * 0.55
    strength = _visible(effect.effect)[..., None]
    heat = heat_map(0.25 + 0.75 * strength[..., 0]).astype(np.float64)
    mixed = (grey * (1 - strength) + heat * strength + 0.5).clip(0, 255).astype(np.uint8)
    top, left, bottom, right = _margins(effect.box, (working.shape[0], working.shape[1]))
    framed = np.pad(mixed, ((top, bottom), (left, right), (0, 0)), constant_values=PAPER)
    factor = max(1, round(WIDE / max(framed.shape[:2])))
    canvas = PILImage.fromarray(np.repeat(np.repeat(framed, factor, 0), factor, 1))
    draw = ImageDraw.Draw(canvas)
    if effect.box is not None:
        box = effect.box
        first = ((box.left + left) * factor, (box.top + top) * factor)
        last = ((box.right + 1 + left) * factor - 1, (box.bottom + 1 + top) * factor - 1)
        draw.rectangle((*first, *last), outline=BOX, width=3)
    _cross(draw, (effect.pixel[0] + top, effect.pixel[1] + left), factor)
    return np.asarray(canvas)


def _margins(box: Box | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) pixels of paper around the picture, enough for the box and a little more."""
    if box is None:
        return 0, 0, 0, 0
    height, width = size
    beyond = (-box.top, -box.left, box.bottom + 1 - height, box.right + 1 - width)
    room = (height // 2, width // 2, height // 2, width // 2)
    spare = max(height, width) // 50 + 1
    top, left, bottom, right = (min(b + spare, r) if b > 0 else 0 for b, r in zip(beyond, room, strict=True))
    return top, left, bottom, right


def _visible(effect: Floats) -> Floats:
    """The effect in [0, 1], slightly blurred, by its square root: most of it lies in a small centre."""
    sigma = BLUR * float(np.hypot(*effect.shape))
    smooth = gaussian_filter(effect.astype(np.float64), sigma)
    return np.asarray(np.sqrt(smooth / max(float(smooth.max()), 1e-30)), dtype=np.float32)


def _cross(draw: ImageDraw.ImageDraw, pixel: tuple[int, int], factor: int) -> None:
    y, x = ((p + 0.5) * factor for p in pixel)
    for width, colour in ((5, (0, 0, 0)), (2, HEAT[-1])):
        for dx, dy in ((9, 0), (0, 9)):
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=width)
