"""Feature maps of a network on a real picture: which ones to show, and the channels that say most."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from denselab.inspection.flow import View
from denselab.inspection.reach import Reach
from denselab.inspection.trace import Trace
from denselab.models.base import SegmentationModel

Floats = NDArray[np.float32]
STRONGEST = 9  # channels shown of each map; with their mean two rows of five
DEEPEST_PATH = 6  # parts of a module path: the inside of a block is no stage


@dataclass(frozen=True)
class LayerMaps:
    """One map of the network on one picture. Cells outside the picture (margins of the padding) are cut off.

    size: (h, w) of the whole map. mean: (h', w') mean of the absolute values over the channels. strongest: the channels
    whose values differ most from place to place, as (index, (h', w')). scores: (K, h', w') where it is one of class scores.
    """

    path: str
    caption: str
    channels: int
    size: tuple[int, int]
    receptive_field: int | None
    jump: float
    mean: Floats
    strongest: tuple[tuple[int, Floats], ...]
    scores: Floats | None


def landmarks_of(model: SegmentationModel, traced: Trace) -> dict[str, str]:
    """{module path: caption} in the order of computation: the encoder's last map at each stride, then the model's own list."""
    own = {path: caption for path, caption in model.landmarks().items() if path in traced.maps}
    first = min((list(traced.maps).index(path) for path in own), default=len(traced.maps))
    order = [*_stages(traced, list(traced.maps)[:first]), *own]
    captions = dict.fromkeys(order, "the last map of this size on the way down") | own
    return {path: captions[path] for path in sorted(dict.fromkeys(order), key=list(traced.maps).index)}


def _stages(traced: Trace, paths: list[str]) -> list[str]:
    """The last module of each size, as long as sizes fall: what an encoder hands on."""
    last: dict[tuple[int, int], str] = {}
    smallest: tuple[int, int] | None = None
    for path in paths:
        facts = traced.maps[path]
        size = facts.view.size
        gridded = facts.view.axes == (2, 3) and min(size) > 1 and path and path.count(".") < DEEPEST_PATH
        if not gridded or (smallest is not None and size[0] > smallest[0]):
            continue
        smallest = size
        last[size] = path
    return list(last.values())


def watch(
    model: SegmentationModel, images: Tensor, traced: Trace, landmarks: Mapping[str, str]
) -> tuple[list[LayerMaps], Tensor]:
    """The maps at `landmarks` and the (1, K, H, W) logits of one normalised picture (1, C, H, W)."""
    found: dict[str, LayerMaps] = {}
    size = (int(images.shape[-2]), int(images.shape[-1]))

    def keep(path: str, output: Tensor) -> None:
        view = traced.maps[path].view
        rows, columns = (
            part_in_picture(view.rows, view.size[0], size[0]),
            part_in_picture(view.columns, view.size[1], size[1]),
        )
        # A copy: activations that work in place come after the hook.
        values = output.detach()[0, :, rows, columns].float().cpu().numpy().copy()
        found[path] = _layer_maps(path, landmarks[path], values, view, size, model.num_classes)

    with torch.no_grad(), _hooks(model, landmarks, keep):
        logits = model(images)
    return [found[path] for path in landmarks if path in found], logits


@contextmanager
def _hooks(model: nn.Module, paths: Mapping[str, str], keep: Any) -> Iterator[None]:
    def hook_for(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            maps = [x for x in tree_leaves(output) if isinstance(x, Tensor) and x.dim() == 4 and x.is_floating_point()]
            if maps:
                keep(path, maps[-1])

        return hook

    handles = [model.get_submodule(path).register_forward_hook(hook_for(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def part_in_picture(reach: Reach, cells: int, pixels: int) -> slice:
    """The cells of a map that lie in the picture, if only in part; all where they have no place or none does."""
    if reach.is_whole or reach.jump is None:
        return slice(0, cells)
    centres = []
    for cell in range(cells):
        first, last = reach.interval(cell) or (0.0, 0.0)
        centres.append((first + last) / 2 if first <= last else float(cell) * reach.jump)
    inside = [i for i, centre in enumerate(centres) if -reach.jump / 2 < centre < pixels - 1 + reach.jump / 2]
    return slice(inside[0], inside[-1] + 1) if inside else slice(0, cells)


def _layer_maps(
    path: str, caption: str, values: Floats, view: View, picture: tuple[int, int], num_classes: int
) -> LayerMaps:
    spread = values.reshape(len(values), -1).std(axis=1)
    order = np.argsort(-spread, kind="stable")[:STRONGEST]
    jump = view.rows.jump if view.rows.jump is not None else picture[0] / max(view.size[0], 1)
    return LayerMaps(
        path,
        caption,
        len(values),
        view.size,
        view.receptive_field,
        float(jump),
        np.abs(values).mean(axis=0),
        tuple((int(i), values[i]) for i in order),
        values if len(values) == num_classes and num_classes > 1 else None,
    )
