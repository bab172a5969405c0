"""What runs a model: pictures in, logits out, both at one size. Everything above talks to this, never to a network."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from denselab.engine.coarse import Coarse
from denselab.engine.enlarge import Scores
from denselab.engine.spec import ModelSpec

Pictures = NDArray[Any]
"""(B, h, w, 3) uint8 RGB, or other bands (types.Pixels): of one size, already resized to what the network is to see."""


class Engine(Protocol):
    """A model that can run. In torch, ONNX Runtime and OpenVINO: all have the same spec and the same logits.

    Pictures come at the size that the network is to see. The caller resizes them, because windows and test-time views
    choose their own sizes. The engine applies mean, deviation and padding.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""

    @property
    def device(self) -> Any:
        """The device it runs on; str() of it is for people."""

    def logits(self, pictures: Pictures) -> Scores:
        """(B, K, h, w) float32, a tensor on the engine's device or an array. Raises MemoryError if it does not fit."""

    def coarse(self, picture: Pictures) -> Coarse | None:
        """The logits of one picture, (1, h, w, C), before their last enlargement. Raises MemoryError.

        None, without a run, where that is not bilinear by a whole factor.
        """

    def side_by_side(self, count: int) -> AbstractContextManager[Engine]:
        """While active: the same engine for `count` threads that call it at once, each with its share of the cores.

        The threads of one picture wait for each other after every layer; those of several pictures never do.
        """

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether one picture of (height, width) is expected to fit in memory."""

    def require_sampling(self) -> None:
        """Raise ConfigError, naming models that can be sampled, where `sampling` has nothing to vary."""

    def sampling(self) -> AbstractContextManager[None]:
        """While active, each run is another sample, in the same sequence each time. Raises as require_sampling."""
