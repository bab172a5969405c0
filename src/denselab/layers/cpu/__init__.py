"""Parts of a training step on the CPU as compiled loops; `swap` says which layers run as them."""

from denselab.layers.cpu.swap import compiled_layers

__all__ = ["compiled_layers"]
