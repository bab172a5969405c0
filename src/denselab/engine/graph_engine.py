"""What the engines of exported graphs share: names in the graph, memory, and what a graph cannot do."""

import os
from contextlib import AbstractContextManager
from typing import NoReturn

from denselab.errors import ConfigError
from denselab.runtime import cpu_count, total_memory

PICTURES, LOGITS, LABELS = "pictures", "logits", "labels"  # names of the inputs and outputs of exported graphs
BYTES_PER_PIXEL = 2048  # activations alive at once in the widest layers: U-Net and VGG hold 2 to 4 maps of 64 float32


def fits_in_memory(size: tuple[int, int]) -> bool:
    """Whether a run over one picture of (height, width) takes less than half of the machine's memory."""
    return size[0] * size[1] * BYTES_PER_PIXEL <= total_memory() / 2


def thread_count() -> int:
    """OMP_NUM_THREADS where it is set, as for torch; else the cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else cpu_count()


class WithoutDropout:
    """The part of engine.Engine for graphs: dropout was taken out when they were exported."""

    def require_sampling(self) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(
            "an exported model has no dropout, so there is nothing to sample an uncertainty from; use the model folder "
            "that it was exported from"
        )

    def sampling(self) -> AbstractContextManager[None]:
        """Raise ConfigError."""
        self.require_sampling()
