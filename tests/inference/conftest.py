"""A network whose answer is known: each pixel gets the class whose colour is nearest."""

import pytest
import torch
from torch import Tensor

from denselab.labels import LabelEntry, LabelSpace
from denselab.models.base import SegmentationModel
from denselab.segmenter import Architecture, Preprocessing, Segmenter

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))


class NearestColour(SegmentationModel):
    """Logits 4 (c . x - |c|^2 / 2) for each class's colour c: largest for the nearest. `runs` counts forward passes."""

    def __init__(self) -> None:
        super().__init__(len(COLOURS))
        self.colours = torch.tensor(COLOURS, dtype=torch.float32) / 255
        self.runs: list[tuple[int, ...]] = []

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.runs.append(tuple(images.shape))
        bias = (self.colours**2).sum(dim=1)[None, :, None, None] / 2
        return 4 * (torch.einsum("kc,bchw->bkhw", self.colours, images) - bias)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


@pytest.fixture
def space() -> LabelSpace:
    """Ids that differ from the indices, and one that is ignored."""
    names = ("ground", "red", "green", "blue")
    entries = [LabelEntry(10 * i, name, colour) for i, (name, colour) in enumerate(zip(names, COLOURS, strict=True))]
    return LabelSpace((*entries, LabelEntry(99, "void", (9, 9, 9), "ignore")))


@pytest.fixture
def segmenter(space: LabelSpace) -> Segmenter:
    """The nearest-colour network, fed with pictures fitted into 32x32."""
    preprocessing = Preprocessing((32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
    architecture = Architecture("nearest", len(COLOURS))
    return Segmenter(NearestColour().eval(), architecture, space, preprocessing, torch.device("cpu"), {})
