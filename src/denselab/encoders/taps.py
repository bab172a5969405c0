"""What a head needs to know of an encoder's map to add scores from it to a coarser one's."""

from dataclasses import dataclass

from denselab.layers.geometry import Grid


@dataclass(frozen=True)
class Tap:
    """A map of an encoder. name: its layer's, "pool4". key: where the encoder's output has it. grid: where its cells lie."""

    name: str
    key: str | int
    channels: int
    grid: Grid
