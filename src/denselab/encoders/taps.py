"""What a head needs to know about an encoder's map to add its scores to those of a coarser one."""

from dataclasses import dataclass

from denselab.layers.geometry import Grid


@dataclass(frozen=True)
class Tap:
    """A map of an encoder.

    name: of its layer, such as "pool4"
    key: where to find it in the encoder's output
    channels: C of the (B, C, h, w) map
    grid: where its cells lie in the picture
    """

    name: str
    key: str | int
    channels: int
    grid: Grid
