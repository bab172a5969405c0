"""The engine in OpenVINO: an exported graph of its own form or of ONNX, run without torch on the CPU."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from denselab.engine.engine import Pictures
from denselab.engine.enlarge import Scores
from denselab.engine.graph_engine import PICTURES, GraphEngine, Runs, digest_of, is_ours, once, thread_count
from denselab.engine.onnx_file import refuse_external_data
from denselab.engine.spec import ModelSpec
from denselab.errors import CheckpointError, ConfigError, MissingExtra, install

logger = logging.getLogger(__name__)

FLOAT32, BFLOAT16 = "f32", "bf16"  # OpenVINO's names
PRECISION = ("denselab", "precision")  # a graph's entry below rt_info, where it is not for float32
TELEMETRY = "openvino_telemetry"
ABSENT: Any = object()


class OpenVINOEngine(GraphEngine):
    """An exported graph in OpenVINO."""


def openvino_engine(
    graph: bytes,
    weights: bytes | None,
    spec: ModelSpec,
    source: str,
    device: str = "auto",
    again: Callable[[], tuple[bytes, bytes | None]] | None = None,
) -> OpenVINOEngine:
    """The engine of an OpenVINO graph, or of an ONNX document.

    graph: the XML, or the ONNX document. weights: the numbers of the XML; None for ONNX.
    source: the file it comes from, for messages.
    device: "auto" or "cpu".
    again: reads graph and weights once more, where they are needed in a second form; None: they are kept in memory.
    Raises CheckpointError, ConfigError for another device, MissingExtra.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device {device!r} with the engine openvino; it runs on the CPU: use `device` auto or cpu")
    if weights is None:
        refuse_external_data(graph, source)
    model = read_graph(graph, weights, source)
    outputs = [output.any_name for output in model.outputs]
    if not is_ours([i.any_name for i in model.inputs], outputs):
        raise CheckpointError(f"{source} has other inputs and outputs; it was not written by `denselab export`")
    digest = digest_of(f"openvino {import_openvino().__version__}", graph, weights or b"")
    models = once(model, again and (lambda: read_graph(*again(), source)))
    precision = precision_of(model, source)

    def make(output: str, callers: int) -> Callable[[], Callable[[Pictures], Scores]]:
        whole = models()
        wanted = whole.output(output).get_node().input_value(0)  # nothing that only another output needs
        part = import_openvino().Model([wanted], whole.get_parameters())
        compiled = compile_graph(part, source, precision, callers)
        return lambda: _runner(compiled.create_infer_request())  # a request serves one thread at a time

    runs = Runs(make)
    return OpenVINOEngine(spec, "cpu", runs.beside(1), digest, tuple(outputs), runs.beside, source)


def _runner(request: Any) -> Callable[[Pictures], Scores]:
    def run(pictures: Pictures) -> Scores:
        found: Scores = request.infer({PICTURES: np.ascontiguousarray(pictures)}, share_inputs=True)[0]
        return found

    return run


def import_openvino() -> Any:
    """The package openvino, without the message to its makers that it would send when it is imported.

    Raises MissingExtra where it is missing.
    """
    before = sys.modules.get(TELEMETRY, ABSENT)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # "not installed": openvino then does without
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        if error.name != "openvino":
            raise
        raise MissingExtra(f"OpenVINO is missing: {install('openvino')}") from None
    finally:
        if before is ABSENT:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before


@functools.cache
def openvino_core() -> Any:
    """OpenVINO's core, one for the process. Raises MissingExtra.

    On processors with matrix units each core gives its thread a stack of its own for signals. Several that go in
    another order than they came leave a stack that is freed: Ctrl-C would then end the process by a segmentation fault.
    """
    return import_openvino().Core()


def read_graph(graph: bytes, weights: bytes | None, source: str) -> Any:
    """OpenVINO's model, not yet compiled. Raises CheckpointError, MissingExtra."""
    try:
        if weights is None:
            return openvino_core().read_model(graph)
        return openvino_core().read_model(graph, import_openvino().Tensor(np.frombuffer(weights, np.uint8).copy()))
    except RuntimeError as error:
        raise _not_taken(source, error) from None


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16: AVX512_BF16 or AMX. Raises MissingExtra."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def precision_of(model: Any, source: str) -> str:
    """What a graph is computed in, by OpenVINO's name: what it was measured in.

    A graph for bfloat16 was measured in float32 too, and is computed so where bfloat16 would take longer.
    """
    entry = list(PRECISION)
    if not model.has_rt_info(entry) or model.get_rt_info(entry).value != BFLOAT16:
        return FLOAT32
    if multiplies_bfloat16():
        return BFLOAT16
    logger.info(f"{source} is for bfloat16, which this processor does not multiply; it computes in float32")
    return FLOAT32


def compile_graph(model: Any, source: str, precision: str, callers: int = 1) -> Any:
    """OpenVINO's compiled model, all cores for one request, or shared by several at once. Raises CheckpointError.

    precision: of `precision_of`.
    """
    settings = {
        "INFERENCE_NUM_THREADS": thread_count(),
        # always said, since OpenVINO takes bfloat16 by itself where it can: what was measured at the export holds
        "INFERENCE_PRECISION_HINT": precision,
        **({"PERFORMANCE_HINT": "LATENCY"} if callers == 1 else {"NUM_STREAMS": str(callers)}),
    }
    try:
        return openvino_core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise _not_taken(source, error) from None


def _not_taken(source: str, error: RuntimeError) -> CheckpointError:
    lines = [line for line in str(error).strip().splitlines() if line] or ["no reason given"]
    return CheckpointError(f"{source} is not taken by OpenVINO: {lines[-1]}")
