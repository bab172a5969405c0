"""Everything that `denselab explain` shows of a network on one picture, as arrays."""

import difflib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from denselab.build import model_preprocessing
from denselab.console import progress
from denselab.data.layouts.tables import VOC_21, voc_colour
from denselab.data.pixels.spectral import shown_as_rgb
from denselab.data.resizing.resize import resize_image
from denselab.engine.device import resolve_device
from denselab.engine.enlarge import label_maps
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine, network_input
from denselab.errors import ConfigError
from denselab.inspection.activations import LayerMaps, landmarks_of, watch
from denselab.inspection.receptive import Box, box_of, checked_cell, effective_receptive_field
from denselab.inspection.subject import IMGSZ
from denselab.inspection.summary import Summary, summarise
from denselab.inspection.table import LayerRow, table_of
from denselab.inspection.trace import trace
from denselab.labels import LabelEntry, LabelSpace
from denselab.models import MODELS
from denselab.numbers import flags, whole
from denselab.types import Image, LabelMap, Pixels

Floats = NDArray[np.float32]
SHARES = (0.5, 0.95)  # of the whole effect on a pixel, each held by a square around it


@dataclass(frozen=True)
class Effect:
    """What one pixel's logit depends on.

    pixel: (row, column) at the working size, as are the map and the box
    class_index: of the logit
    effect: (h, w) float32, mean absolute gradient
    box: what the layers' windows let it see; None means the whole picture
    squares: for each of SHARES, the side in pixels of the square around the pixel that holds that share of the gradient
    """

    pixel: tuple[int, int]
    class_index: int
    effect: Floats
    box: Box | None
    squares: tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """A network's view of one picture.

    engine: the network
    image: (H, W, 3) uint8, as given
    working: the picture at the size that the network sees
    labels: (H, W) class indices, at the picture's own size
    probs: (K, h, w) float32, at the working size
    layers: the maps at the network's landmarks
    table: the layer table
    summary: costs and receptive field
    effect: what one pixel's logit depends on
    pixel: (row, column) in `image`
    random: whether the weights are untrained

    If the network's input is padded further (Preprocessing.pad_to), everything is computed with the padding and shown
    without it.
    """

    engine: TorchEngine
    image: Image
    working: Image
    labels: LabelMap
    probs: Floats
    layers: list[LayerMaps]
    table: list[LayerRow]
    summary: Summary
    effect: Effect
    pixel: tuple[int, int]
    random: bool


def untrained(name: str, device: str = "auto", seed: int = 0) -> TorchEngine:
    """The network `name` of MODELS with VOC's classes and random weights, which are the same for the same seed."""
    entry = MODELS[name]
    architecture = Architecture(name, len(VOC_21), entry.default_encoder)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(whole(seed, "`seed`", 0))
        model = architecture.create()
    entries = [LabelEntry(i, name, voc_colour(i), "background" if i == 0 else "class") for i, name in enumerate(VOC_21)]
    target = resolve_device(device)
    mean, std = model_preprocessing(name, architecture.encoder)
    preprocessing = Preprocessing(IMGSZ, mean, std, fit="shrink")
    spec = ModelSpec(architecture, LabelSpace(tuple(entries)), preprocessing)
    return TorchEngine(spec, model.to(target).eval(), target)


def class_index(space: LabelSpace, name: str) -> int:
    """The index of the class with this name. Raises ConfigError with the nearest names if there is none."""
    if name in space.names:
        return space.names.index(name)
    near = difflib.get_close_matches(name, space.names, n=3, cutoff=0.4) or space.names[:8]
    raise ConfigError(f"class {name!r} is not in the model's label table; did you mean {', '.join(near)}?")


def explain(
    engine: TorchEngine,
    image: Pixels,
    *,
    pixel: tuple[int, int] | None = None,
    class_name: str | None = None,
    random: bool = False,
    quiet: bool = False,
) -> Explanation:
    """Run the network on one picture and look inside.

    engine: the network
    image: (H, W, 3) uint8, or of the model's bands
    pixel: (row, column) whose effective receptive field is measured; None is the centre
    class_name: the class whose maps and logit are shown; None is the winner at that pixel
    random: whether the weights are untrained, for the record
    quiet: no progress bar
    Raises ConfigError for a pixel outside the picture or an unknown class.
    """
    flags(random=random, quiet=quiet)
    height, width = image.shape[:2]
    row, column = checked_cell(pixel, "`pixel`", (height, width), "picture")
    chosen = None if class_name is None else class_index(engine.spec.label_space, class_name)
    size = engine.spec.preprocessing.working_size((height, width))
    working = resize_image(image, size)
    images = network_input(
        torch.from_numpy(working.copy()).permute(2, 0, 1)[None], engine.spec.preprocessing, engine.device
    )
    with progress("explain", 3, "steps", quiet) as bar:
        traced = trace(engine.network, (images.shape[-2], images.shape[-1]), engine.spec.architecture.in_channels)
        bar.advance(info="layers")
        layers, logits = watch(engine.network, images, traced, landmarks_of(engine.network, traced), size)
        bar.advance(info="maps")
        at = (row * size[0] // height, column * size[1] // width)
        winner = int(logits[0, :, at[0], at[1]].argmax()) if chosen is None else chosen
        gradient = effective_receptive_field(engine.network, images, at, winner)[: size[0], : size[1]].cpu().numpy()
        bar.advance(info="receptive field")
    return Explanation(
        engine,
        shown_as_rgb(image, engine.spec.preprocessing.bands),
        shown_as_rgb(working, engine.spec.preprocessing.bands),
        label_maps(logits.float(), (height, width))[0],
        logits.float().softmax(dim=1)[0].cpu().numpy(),
        layers,
        table_of(traced, traced.size),
        summarise(engine.network, traced),
        effect_of(gradient, at, winner, box_of(traced.maps[""].view, at)),
        (row, column),
        random,
    )


def effect_of(gradient: Floats, pixel: tuple[int, int], winner: int, box: Box | None) -> Effect:
    """What the logit of class `winner` at `pixel` depends on, from its mean absolute gradient (h, w)."""
    squares = tuple(square_of(gradient, pixel, share) for share in SHARES)
    return Effect(pixel, winner, gradient, box, squares)


def square_of(effect: Floats, pixel: tuple[int, int], share: float) -> int:
    """The side in pixels of the smallest square around `pixel` with `share` of the map's sum; 0 for an all-zero map."""
    rows = np.abs(np.arange(effect.shape[0]) - pixel[0])
    columns = np.abs(np.arange(effect.shape[1]) - pixel[1])
    distance = np.maximum(rows[:, None], columns[None, :])
    held = np.cumsum(np.bincount(distance.ravel(), weights=effect.ravel().astype(np.float64)))
    return 0 if held[-1] == 0 else 2 * int(np.searchsorted(held, share * held[-1])) + 1
