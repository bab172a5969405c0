"""The engine of an exported graph, whatever runs it: names in the graph, memory, and what a graph cannot do."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from threading import Lock, local
from typing import NoReturn, Self, TypeVar

import numpy as np

from denselab.engine.coarse import Coarse
from denselab.engine.engine import Pictures
from denselab.engine.enlarge import Scores
from denselab.engine.out_of_memory import memory_errors
from denselab.engine.spec import ModelSpec
from denselab.errors import CheckpointError, ConfigError, DenseLabError
from denselab.runtime import cpu_count, total_memory

PICTURES, LOGITS, LABELS = "pictures", "logits", "labels"  # names of the inputs and outputs of exported graphs
COARSE = re.compile(r"coarse_([2-9]|[1-9]\d)")  # a second output: the logits before an enlargement by this factor
BYTES_PER_PIXEL = 2048  # activations alive at once in the widest layers: U-Net and VGG hold 2 to 4 maps of 64 float32


def thread_count() -> int:
    """OMP_NUM_THREADS where it is set, as for torch; else the cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else cpu_count()


Thing = TypeVar("Thing")
Run = Callable[[Pictures, str], Scores]
"""(pictures, the name of an output) -> that output."""


def coarse_name(factor: int) -> str:
    """The name of the output with the logits before a bilinear enlargement by `factor`, 2 to 99."""
    return f"coarse_{factor}"


def is_ours(inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Whether a graph with these inputs and outputs is one of `denselab export`."""
    return list(inputs) == [PICTURES] and outputs[:1] == [LOGITS] and all(map(COARSE.fullmatch, outputs[1:]))


def once(first: Thing, again: Callable[[], Thing] | None) -> Callable[[], Thing]:
    """Gives a large thing and lets go of it, then what `again` makes; without that always the same thing."""
    held = [first]
    return lambda: held[0] if again is None else held.pop() if held else again()


class Runs:
    """A graph as it is asked for, each form made when it first runs: one output alone, for so many callers at once."""

    def __init__(self, make: Callable[[str, int], Callable[[], Callable[[Pictures], Scores]]]) -> None:
        """make: (an output, callers) -> what gives each thread that asks its own way to run the graph."""
        self._make = make
        self._made: dict[tuple[str, int], Callable[[], Callable[[Pictures], Scores]]] = {}
        self._lock = Lock()

    def beside(self, callers: int) -> Run:
        """What runs the graph for so many threads at once."""
        own = local()

        def run(pictures: Pictures, output: str) -> Scores:
            if not hasattr(own, output):
                setattr(own, output, self._of(output, callers)())
            found: Scores = getattr(own, output)(pictures)
            return found

        return run

    def _of(self, output: str, callers: int) -> Callable[[], Callable[[Pictures], Scores]]:
        with self._lock:
            if (output, callers) not in self._made:
                self._made[output, callers] = self._make(output, callers)
            return self._made[output, callers]


def digest_of(runtime: str, *parts: bytes) -> str:
    """64 hex digits of a graph's files and of what runs them, with its version."""
    digest = hashlib.sha256(runtime.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@dataclass(frozen=True)
class GraphEngine:
    """See engine.Engine.

    run: the graph in its runtime, preprocessing inside: pictures to logits at their own size, or to another output.
    digest: of the graph and the version of its runtime; "": unknown.
    outputs: the names of the graph's outputs.
    source: the file it comes from, for messages.
    beside: gives what takes the place of `run` for so many threads at once; None: `run` itself does for all.
    """

    spec: ModelSpec
    device: str
    run: Run
    digest: str = ""
    outputs: tuple[str, ...] = (LOGITS,)
    beside: Callable[[int], Run] | None = None
    source: str = "the graph"

    def logits(self, pictures: Pictures) -> Scores:
        """(B, K, h, w) float32 logits of (B, h, w, 3) uint8 pictures at their own size.

        Raises MemoryError, and CheckpointError for a graph that is not the config's or does not run on this size.
        """
        return self._scores(pictures, LOGITS)

    def coarse(self, picture: Pictures) -> Coarse | None:
        """See engine.Engine."""
        if len(self.outputs) == 1:
            return None
        values = self._scores(picture, self.outputs[1])[0]
        found = COARSE.fullmatch(self.outputs[1])
        assert found is not None, "checked when it was read"
        return Coarse(values, int(found[1]), (picture.shape[1], picture.shape[2]))

    def _scores(self, pictures: Pictures, output: str) -> Scores:
        """What the graph gives: of as many classes as the label table has, and numbers, which one pixel tells."""
        try:
            with memory_errors():
                scores = self.run(pictures, output)
        except (MemoryError, DenseLabError):
            raise
        except Exception as error:  # the runtimes' own kinds, which share no base
            height, width = pictures.shape[1:3]
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(
                f"{self.source} does not run on a picture of {height}x{width} (height x width): {reason}; "
                "export it again"
            ) from error
        if scores.shape[1] != self.spec.label_space.num_classes:
            raise CheckpointError(
                f"{self.source} gives {scores.shape[1]} scores a pixel, but the config beside it has "
                f"{self.spec.label_space.num_classes} classes: they are of two models; export it again"
            )
        if not np.isfinite(np.asarray(scores[:, :, 0, 0])).all():
            raise CheckpointError(
                f"{self.source} gives NaN or infinite scores: its weights are broken; export it again"
            )
        return scores

    @contextmanager
    def side_by_side(self, count: int) -> Iterator[Self]:
        """See engine.Engine."""
        yield self if self.beside is None else replace(self, run=self.beside(count))

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether a run over one picture of (height, width) takes less than half of the machine's memory."""
        return size[0] * size[1] * BYTES_PER_PIXEL <= total_memory() / 2

    def require_sampling(self) -> NoReturn:
        """Raise ConfigError: dropout was taken out when the graph was exported."""
        raise ConfigError(
            "an exported model has no dropout, so there is nothing to sample an uncertainty from; use the model folder "
            "that it was exported from"
        )

    def sampling(self) -> AbstractContextManager[None]:
        """Raise ConfigError."""
        self.require_sampling()
