"""Eight-bit integers in place of float32: ranges from real pictures, one scale per channel, and what hurts stays float.

The form is ONNX's QDQ, static: a pair of operators, QuantizeLinear and DequantizeLinear, around each tensor; runtimes
that know it compute in integers between them (ONNX Runtime, OpenVINO), all others compute the same numbers in float32.
The scheme is that of Jacob et al., arXiv 1712.05877, section 2, with one scale per output channel of the weights
(Krishnamoorthi, arXiv 1806.08342, section 3.1.1).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denselab.console import tracked
from denselab.engine.graph_engine import PICTURES
from denselab.errors import ParityError
from denselab.export.centre_rows import centre_rows
from denselab.export.parity import ROUNDED_MIOU, Parity

if TYPE_CHECKING:
    from onnx import ModelProto

logger = logging.getLogger(__name__)

KINDS = ("Conv", "Add", "Concat", "Clip", "Relu", "MaxPool", "GlobalAveragePool", "Resize")  # faster on a CPU
CALIBRATION_PICTURES, SENSITIVITY_PICTURES = 32, 3
PROBED = 200  # layers measured one by one at most; the widest networks have about 150
MOST_LEFT = 0.5  # of the layers may stay in float32; beyond that int8 gains little

Measure = Callable[[bytes], Parity]
Logits = Callable[[bytes, Sequence[NDArray[np.uint8]]], list[NDArray[np.float32]]]
"""A document and pictures to the logits of each."""


@dataclass(frozen=True)
class Quantised:
    """An int8 document.

    kept_float: names of the convolutions left in float32.
    layers: how many convolutions there are.
    """

    document: bytes
    parity: Parity
    kept_float: tuple[str, ...]
    layers: int


def quantised(
    model: ModelProto,
    calibration: Sequence[NDArray[np.uint8]],
    measure: Measure,
    logits: Logits,
    *,
    quiet: bool = False,
) -> Quantised:
    """The model in int8, losing less than ROUNDED_MIOU.

    calibration: training pictures as the network sees them, each (1, h, w, 3) uint8.
    measure: what a document loses. logits: what it computes, to find the layers that hurt.
    quiet: show no progress while that is found out.
    First every convolution goes to int8. If that loses too much, each is measured alone, and those whose error is
    largest go back to float32: 1, 2, 4, ... of them, until the loss is small enough.
    Raises ParityError where half of the layers in float32 do not suffice.
    """
    layers = [node.name for node in model.graph.node if node.op_type == "Conv"]
    with tempfile.TemporaryDirectory() as scratch:
        write = Quantiser(model, calibration, Path(scratch))
        document = write(())
        found = measure(document)
        if found.loss < ROUNDED_MIOU:
            return Quantised(document, found, (), len(layers))
        logger.info(f"int8: {found.told()}")
        order = _by_error(write, layers, calibration[:SENSITIVITY_PICTURES], logits, quiet)
        count = 1
        while count <= max(1, int(MOST_LEFT * len(layers))):
            kept = tuple(order[:count])
            document = write(kept)
            found = measure(document)
            if found.loss < ROUNDED_MIOU:
                return Quantised(document, found, kept, len(layers))
            logger.info(f"int8 but {count} of {len(layers)} layers: {found.told()}")
            count *= 2
    raise ParityError(
        f"int8 loses {100 * found.loss:.2f} points of mIoU even with {len(kept)} of {len(layers)} layers in float32; "
        f"less than {100 * ROUNDED_MIOU:.1f} is allowed. Nothing was written: export without `int8`, or give `check` "
        "data that are more like the training's"
    )


def _by_error(
    write: Quantiser, layers: Sequence[str], pictures: Sequence[NDArray[np.uint8]], logits: Logits, quiet: bool
) -> list[str]:
    """The layers by the mean squared error that each alone in int8 brings into the logits, the largest first."""
    logger.info(f"int8 loses too much: measuring each of {len(layers)} layers alone")
    exact = logits(write.model.SerializeToString(), pictures)
    errors = {}
    for name in tracked(layers[:PROBED], "measure", "layers", quiet):
        alone = logits(write(tuple(other for other in layers if other != name), only=name), pictures)
        errors[name] = float(np.mean([np.mean((a - e) ** 2) for a, e in zip(alone, exact, strict=True)]))
    return sorted(errors, key=lambda name: -errors[name])


class Quantiser:
    """Writes a model with some of its layers in int8. The ranges are taken from the pictures once."""

    def __init__(self, model: ModelProto, pictures: Sequence[NDArray[np.uint8]], scratch: Path) -> None:
        self.model, self.pictures, self.scratch = type(model)(), pictures, scratch
        self.model.CopyFrom(model)
        centre_rows(self.model)
        (scratch / "float.onnx").write_bytes(self.model.SerializeToString())  # a model in memory would be changed

    def __call__(self, kept_float: Sequence[str], only: str | None = None) -> bytes:
        """The document with these layers in float32. only: the one layer in int8."""
        from onnxruntime.quantization import QuantType, quantize_static

        with _quiet_root():
            quantize_static(
                self.scratch / "float.onnx",
                self.scratch / "int8.onnx",
                _Reader(self.pictures),
                op_types_to_quantize=["Conv"] if only else list(KINDS),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=[only] if only else None,
                nodes_to_exclude=[*kept_float, *enlarging_logits(self.model)],
                calibration_cache_path=self.scratch / ("only.json" if only else "all.json"),
            )
        return (self.scratch / "int8.onnx").read_bytes()


def enlarging_logits(model: ModelProto) -> list[str]:
    """The names of the Resize nodes behind the last convolutions: in 256 steps the logits of two classes often tie."""
    before = set[str]()  # tensors that a convolution comes after
    for node in reversed(model.graph.node):  # in the order of computation
        if node.op_type == "Conv" or before & set(node.output):
            before |= set(node.input)
    return [node.name for node in model.graph.node if node.op_type == "Resize" and not before & set(node.output)]


class _Reader:
    """The pictures one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        return next(({PICTURES: picture} for picture in self._left), None)


class _quiet_root:
    """onnxruntime advises through the root logger; while active, only its errors are heard."""

    def __enter__(self) -> None:
        root = logging.getLogger()
        self.level, self.handlers = root.level, root.handlers[:]
        root.addHandler(logging.NullHandler())  # without any, the first word would add one that writes to stderr
        root.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        root = logging.getLogger()
        root.setLevel(self.level)
        root.handlers[:] = self.handlers
