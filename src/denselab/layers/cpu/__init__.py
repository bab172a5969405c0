"""Parts of a training step on the CPU as compiled loops: normalisation with activation, depthwise convolution."""

from denselab.layers.cpu.swap import compiled_layers

__all__ = ["compiled_layers"]
