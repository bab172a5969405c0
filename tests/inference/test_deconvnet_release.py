"""DeconvNet's released inference, written down once more in the steps of its MATLAB script, against the preset.

generate_EDeconvNet_CRF_results.m, on random scores: the picture is padded with zeros, rows by its width and columns by
its height; ranked boxes in padded coordinates, those with a side below 112 skipped, 50 run; scores resized to the box
and joined by a maximum that starts at 0; the picture's area read out from index pad, one too early; FCN-8s' scores
clipped at 0; their product; softmax.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.ensembles import Model, ensemble_of
from denselab.inference.instances import PRESETS
from denselab.inference.plan import joint_plan
from denselab.inference.run import probs_of
from denselab.labels import LabelEntry, LabelSpace

CLASSES, SIDE = 5, 224
HEIGHT, WIDTH = 130, 150
SPACE = LabelSpace(tuple(LabelEntry(i, f"c{i}", (i, i, i)) for i in range(CLASSES)))


class Random:
    """Random scores of a coarse grid, smoothly enlarged; the n-th picture it is shown gets the n-th of them."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self.generator, self.size, self.shown = torch.Generator().manual_seed(seed), size, 0

    def next(self) -> Tensor:
        self.shown += 1
        return F.interpolate(torch.randn(1, CLASSES, 7, 7, generator=self.generator) * 3, self.size, mode="bilinear")[0]


def engine_of(random: Random, name: str) -> TorchEngine:
    spec = ModelSpec(Architecture(name, CLASSES), SPACE, Preprocessing(random.size, (0.0,) * 3, (1.0,) * 3))  # type: ignore[arg-type]

    class Engine(TorchEngine):
        def logits(self, pictures: np.ndarray) -> Tensor:
            return torch.stack([random.next() for _ in pictures])

    return Engine(spec, torch.nn.Module(), torch.device("cpu"))  # type: ignore[arg-type]


def resized(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """imresize(scores, size, 'bilinear') of (K, h, w): antialiased where it reduces, as MATLAB's default is."""
    tensor = torch.from_numpy(scores)[None]
    return F.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)[0].numpy()


def as_released(
    boxes_padded: np.ndarray, scores_of_crop: Callable[[], np.ndarray], fcn: np.ndarray, off_by_one: bool
) -> np.ndarray:
    """(K, H, W) probabilities in the steps of the script. boxes_padded: (N, 4) x1 y1 x2 y2, 1-based and inclusive."""
    pad_rows, pad_columns = WIDTH, HEIGHT
    total = np.zeros((CLASSES, HEIGHT + 2 * pad_rows, WIDTH + 2 * pad_columns), np.float32)
    done = 0
    for x1, y1, x2, y2 in boxes_padded:
        width, height = x2 - x1 + 1, y2 - y1 + 1
        if min(width, height) < 112:
            continue
        if done == 50:
            break
        done += 1
        scores = resized(scores_of_crop(), (height, width))
        part = total[:, y1 - 1 : y2, x1 - 1 : x2]
        np.maximum(part, scores, out=part)
    first_row, first_column = (pad_rows, pad_columns) if off_by_one else (pad_rows + 1, pad_columns + 1)
    read = total[:, first_row - 1 : first_row - 1 + HEIGHT, first_column - 1 : first_column - 1 + WIDTH]
    product = read * np.maximum(fcn, 0)
    raised = np.exp(product - product.max(axis=0))
    return raised / raised.sum(axis=0)


def made_boxes() -> np.ndarray:
    """120 boxes (top, left, bottom, right), many beyond the picture's border, a few too small."""
    rng = np.random.default_rng(7)
    top, left = rng.integers(-60, 60, 120), rng.integers(-60, 70, 120)
    height, width = rng.integers(90, 180, 120), rng.integers(90, 190, 120)
    return np.stack([top, left, top + height, left + width], axis=1)


@pytest.mark.parametrize("off_by_one", [False, True])
def test_the_release_preset_equals_the_script(off_by_one: bool) -> None:
    boxes = made_boxes()
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert 50 < (sizes.min(axis=1) >= 112).sum() < 120, "some are skipped, and some are beyond the fiftieth"
    how = replace(PRESETS["release"], proposals=lambda image: boxes, shift=int(off_by_one))
    deconvnet, fcn = Random(1, (SIDE, SIDE)), Random(2, (HEIGHT, WIDTH))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    models = [Model(engine_of(deconvnet, "deconvnet"), None, how), Model(engine_of(fcn, "fcn8s"))]
    ours = probs_of(joint_plan(ensemble_of(models, "release")), image)
    assert (deconvnet.shown, fcn.shown) == (50, 1)

    taken = boxes[sizes.min(axis=1) >= 112][:50]
    again = Random(1, (SIDE, SIDE))
    order = np.lexsort(taken.T[::-1])  # ours shows the boxes from the top down; each keeps its own scores
    by_box = dict(zip(order.tolist(), [again.next().numpy() for _ in order], strict=True))
    queue = iter(by_box[i] for i in range(50))
    padded = np.stack(
        [boxes[:, 1] + HEIGHT + 1, boxes[:, 0] + WIDTH + 1, boxes[:, 3] + HEIGHT, boxes[:, 2] + WIDTH], axis=1
    )
    expected = as_released(padded, lambda: next(queue), Random(2, (HEIGHT, WIDTH)).next().numpy(), off_by_one)
    assert ours == pytest.approx(expected, abs=2e-5)
