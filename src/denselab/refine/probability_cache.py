"""A network's probabilities for many pictures, computed once: float16, in memory up to a budget, then on disk.

On disk they are in files without a name, which go with the process, however it ends.
"""

import tempfile
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from denselab.errors import ResourceError
from denselab.runtime import total_memory
from denselab.types import Image, LabelMap

MEMORY_SHARE = 0.25  # of the machine's memory, for pictures and probabilities


@dataclass(frozen=True)
class Cached:
    """A picture with its true labels and probabilities.

    image: (H, W, 3) uint8.
    truth: (H, W) class indices.
    stored: (K, H, W) float16, in memory or mapped from a file.
    """

    name: str
    image: Image
    truth: LabelMap
    stored: NDArray[np.float16]

    def probs(self) -> NDArray[np.float32]:
        """(K, H, W) float32; half precision changes a sum by a few thousandths at most."""
        return np.asarray(self.stored, dtype=np.float32)


class ProbabilityCache:
    """Pictures with probabilities. A context manager: on exit it lets go of them."""

    def __init__(self, memory: int | None = None) -> None:
        """memory: bytes for pictures and probabilities; None: a quarter of the machine's."""
        self.memory = int(total_memory() * MEMORY_SHARE) if memory is None else memory
        self.pictures: list[Cached] = []
        self._used = 0

    def __enter__(self) -> "ProbabilityCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pictures.clear()

    def add(self, name: str, image: Image, truth: LabelMap, probs: NDArray[np.float32]) -> None:
        """Keep a picture. Raises ResourceError where the disk has no room."""
        half = probs.astype(np.float16)
        needed = half.nbytes + image.nbytes + truth.nbytes
        stored = half
        if self._used + needed > self.memory:
            stored = _on_disk(half)
            needed -= half.nbytes
        self._used += needed
        self.pictures.append(Cached(name, image, truth, stored))


def _on_disk(half: NDArray[np.float16]) -> NDArray[np.float16]:
    try:
        with tempfile.TemporaryFile(prefix="denselab-crf-") as file:  # the mapping outlives the name
            file.write(np.ascontiguousarray(half).data)
            file.flush()
            mapped: NDArray[np.float16] = np.memmap(file, np.float16, "r", shape=half.shape)
            return mapped
    except OSError as error:
        raise ResourceError(
            f"no room for probabilities in {tempfile.gettempdir()}: {error.strerror or error}; "
            "use fewer `pictures`, or set TMPDIR to a larger disk"
        ) from error
