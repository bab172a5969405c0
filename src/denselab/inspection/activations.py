"""Feature maps of a network on a real picture: which maps to show, and their most telling channels."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
STRONGEST = 9  # channels shown per map; with their mean they fill two rows of five


@dataclass(frozen=True)
class LayerMaps:
    """One map of the network on one picture. Cells outside the picture (in the padding) are cut off.

    path: of the module
    caption: what the map is
    channels: number of channels
    size: (h, w) of the whole map
    receptive_field: pixels that a cell sees; None means the whole picture
    jump: pixels between neighbouring cells
    mean: (h', w') float32, mean absolute value over the channels
    strongest: (index, (h', w')) of the channels that vary most over the picture
    scores: (K, h', w') if the map holds class scores, else None
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
    """{module path: caption} in order of computation: the last map at each stride going down, then the model's own."""
    paths = list(traced.maps)
    own = {path: caption for path, caption in model.landmarks().items() if path in traced.maps}
    first = min((paths.index(path) for path in own), default=len(paths))
    before = [path for path in paths[:first] if not any(path.startswith(f"{mark}.") for mark in own)]
    captions = {
        path: f"the last map of stride {jump:g} on the way down" for path, jump in _stages(traced, before)
    } | own
    return {path: captions[path] for path in sorted(captions, key=paths.index)}


def _stages(traced: Trace, paths: list[str]) -> list[tuple[str, float]]:
    """(path, stride) of each stride, while strides rise: the last map among those highest in the module tree.

    A block that strides begins at the finer stride, so its first layers are not a stage.
    """
    best: dict[float, str] = {}
    for path in paths:
        view = traced.maps[path].view
        jump = view.rows.jump
        if path and jump is not None and view.axes == (2, 3) and jump >= max(best, default=1.0):
            best[jump] = min(path, best.get(jump, path), key=lambda name: name.count("."))
    return [(path, jump) for jump, path in best.items()]


def watch(
    model: SegmentationModel,
    images: Tensor,
    traced: Trace,
    landmarks: Mapping[str, str],
    picture: tuple[int, int] | None = None,
) -> tuple[list[LayerMaps], Tensor]:
    """The maps at `landmarks` and the (1, K, H, W) logits of one picture.

    model: the network
    images: (1, C, H, W), normalised
    traced: the network's trace at that size
    landmarks: {module path: caption}
    picture: (height, width) if `images` is padded at the bottom and right; maps and logits are cut to it

    If none of the maps holds class scores, the logits before their last enlargement are added at the end.
    """
    found: dict[str, LayerMaps] = {}
    size = (int(images.shape[-2]), int(images.shape[-1]))
    shown = picture or size

    def keep(path: str, caption: str, output: Tensor, view: View) -> None:
        rows = part_in_picture(view.rows, view.size[0], shown[0])
        columns = part_in_picture(view.columns, view.size[1], shown[1])
        # A copy, because in-place activations run after the hook.
        values = output.detach()[0, :, rows, columns].float().cpu().numpy().copy()
        found.setdefault(path, _layer_maps(path, caption, values, view, size, model.num_classes))

    def on_output(path: str, output: Tensor) -> None:
        keep(path, landmarks[path], output, traced.maps[path].view)

    with torch.no_grad(), _hooks(model, landmarks, on_output):
        coarse = model.coarse_logits(images)
        logits = model.enlarge(coarse, size)
    layers = [found[path] for path in landmarks if path in found]
    if not any(layer.scores is not None for layer in layers) and traced.coarse is not None:
        keep("coarse logits", "class scores before the last enlargement", coarse, traced.coarse)
        layers.append(found["coarse logits"])
    return layers, logits[..., : shown[0], : shown[1]]


@contextmanager
def _hooks(model: nn.Module, paths: Iterable[str], keep: Callable[[str, Tensor], None]) -> Iterator[None]:
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
    """The cells of a map that lie at least partly in the picture; all, if none does or they have no position."""
    if reach.jump is None:
        return slice(0, cells)
    centres = reach.centre + reach.jump * np.arange(cells)
    inside = np.flatnonzero((centres >= -reach.jump / 2) & (centres < pixels - 1 + reach.jump / 2))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, cells)


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
        tuple((int(i), values[i].copy()) for i in order),  # a view would keep all channels in memory
        values if len(values) == num_classes and num_classes > 1 else None,
    )
