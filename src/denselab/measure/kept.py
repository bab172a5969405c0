"""Label maps kept in little memory while a model is measured."""

import zlib
from typing import Any

import numpy as np

from denselab.types import LabelMap


class KeptLabels:
    """Label maps by name, compressed in memory, so that predictions shown later need not be computed twice.

    A 360x480 map takes about 10 kB.
    """

    def __init__(self) -> None:
        self._maps: dict[str, tuple[bytes, tuple[int, ...], np.dtype[Any]]] = {}

    def keep(self, name: str, labels: LabelMap) -> None:
        """Store a label map."""
        self._maps[name] = (zlib.compress(np.ascontiguousarray(labels).tobytes(), 1), labels.shape, labels.dtype)

    def __getitem__(self, name: str) -> LabelMap:
        data, shape, dtype = self._maps[name]
        labels: LabelMap = np.frombuffer(zlib.decompress(data), dtype=dtype).reshape(shape)
        return labels
