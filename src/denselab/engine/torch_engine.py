"""The engine in torch: a network in evaluation mode on its device."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Self, cast

import torch
from torch import Tensor, nn

from denselab.data.feed.transforms import normalise
from denselab.engine.coarse import Coarse
from denselab.engine.device import device_memory
from denselab.engine.dropout import dropout_sampled, require_dropout
from denselab.engine.engine import Pictures
from denselab.engine.folding import SMALL, Folding
from denselab.engine.graph_engine import BYTES_PER_PIXEL
from denselab.engine.out_of_memory import memory_errors
from denselab.engine.spec import ModelSpec, Preprocessing
from denselab.engine.threads import heed_neighbours, most_threads
from denselab.layers.pad import pad_corner
from denselab.models.base import SegmentationModel


@dataclass(frozen=True)
class TorchEngine:
    """See engine.Engine.

    network: in evaluation mode on `device`; for code that inspects it or trains it further.
    """

    spec: ModelSpec
    network: SegmentationModel
    device: torch.device
    _folding: Folding = field(default_factory=Folding, init=False, repr=False, compare=False)
    _threads: int | None = field(default=None, init=False, repr=False, compare=False)  # of each caller, side by side

    def logits(self, pictures: Pictures) -> Tensor:
        """(B, K, h, w) float32 logits of (B, h, w, 3) uint8 pictures at their own size. Raises MemoryError."""
        self._take_threads()
        with torch.inference_mode(), memory_errors(), self._folding.running():
            pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # channels_last memory
            return forward_images(self._form(pixels), pixels, self.spec.preprocessing, self.device)

    @property
    def enlarged_by(self) -> int | None:
        """The factor, 2 or more, of the bilinear enlargement that the network ends in; None where it ends otherwise."""
        factor = getattr(self.network, "enlarged_by", None)  # any module may be run
        return factor if factor is not None and factor > 1 else None

    def coarse(self, picture: Pictures) -> Coarse | None:
        """See engine.Engine."""
        factor = self.enlarged_by
        if factor is None:
            return None
        self._take_threads()
        with torch.inference_mode(), memory_errors(), self._folding.running():
            pixels = torch.from_numpy(picture).permute(0, 3, 1, 2)
            images = network_input(pixels, self.spec.preprocessing, self.device)
            coarse: Tensor = cast(SegmentationModel, self._form(pixels)).coarse_logits(images)
            values = coarse[0].float()
        return Coarse(values, factor, (picture.shape[1], picture.shape[2]))

    def _take_threads(self) -> None:
        if self._threads is None:
            heed_neighbours()
        elif torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)  # of this thread and of those to come

    def _form(self, pixels: Tensor) -> nn.Module:
        """What runs: on a CPU a form of the network that computes the same in less time."""
        if self.device.type != "cpu":
            return self.network
        part = pixels[:1, :, :SMALL, :SMALL]
        return self._folding.of(self.network, lambda: network_input(part, self.spec.preprocessing, self.device))

    @contextmanager
    def side_by_side(self, count: int) -> Iterator[Self]:
        """See engine.Engine."""
        before = torch.get_num_threads()
        form = copy.copy(self)  # with the same folding
        object.__setattr__(form, "_threads", max(1, most_threads() // count))
        try:
            yield form
        finally:
            torch.set_num_threads(before)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether a run over one picture of (height, width) takes less than half of the device's memory."""
        return size[0] * size[1] <= most_pixels(self.device)

    def require_sampling(self) -> None:
        """Raise ConfigError where the network has no dropout."""
        require_dropout(self.network, self.spec.architecture.name)

    def sampling(self) -> AbstractContextManager[None]:
        """While active, dropout is on, with the same masks each time."""
        return dropout_sampled(self.network, self.spec.architecture.name, self.device)


def most_pixels(device: torch.device) -> float:
    """How many pixels a network may see at once: a run over them takes less than half of the device's memory."""
    return device_memory(device) / 2 / BYTES_PER_PIXEL


def forward_images(model: nn.Module, images: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """(B, K, h, w) float32 logits at the size of `images`, (B, 3, h, w) uint8, which travel to the device as bytes.

    Pictures of other bands are (B, C, h, w), uint8 or float32.

    Validation during training and every prediction go through here, so the scores apply to the saved model.
    """
    height, width = images.shape[-2:]
    logits: Tensor = model(network_input(images, preprocessing, device))
    return logits[..., :height, :width].float()


def network_input(images: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """(B, 3, h, w) uint8 pictures as the network gets them: float, normalised, padded to `pad_to`, on the device."""
    normalised = normalise(images.to(device, non_blocking=True), preprocessing.mean, preprocessing.std)
    return padded(normalised, preprocessing.pad_to)


def padded(images: Tensor, pad_to: tuple[int, int] | None) -> Tensor:
    """(B, C, h, w) normalised pictures, padded with zeros (the mean colour) at the bottom and right up to `pad_to`."""
    if pad_to is None:
        return images
    bottom, right = (max(side - own, 0) for own, side in zip(images.shape[-2:], pad_to, strict=True))
    return pad_corner(images, bottom, right)
