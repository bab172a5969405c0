"""The engine in OpenVINO: an exported graph of its own form or of ONNX, run without torch on the CPU."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from denselab.engine.engine import Pictures
from denselab.engine.enlarge import Scores
from denselab.engine.graph_engine import LOGITS, PICTURES, GraphEngine, digest_of, thread_count
from denselab.engine.onnx_file import refuse_external_data
from denselab.engine.spec import ModelSpec
from denselab.errors import CheckpointError, ConfigError, MissingExtra

TELEMETRY = "openvino_telemetry"
ABSENT: Any = object()


class OpenVINOEngine(GraphEngine):
    """An exported graph in OpenVINO."""


def openvino_engine(
    graph: bytes, weights: bytes | None, spec: ModelSpec, source: str, device: str = "auto"
) -> OpenVINOEngine:
    """The engine of an OpenVINO graph, or of an ONNX document.

    graph: the XML, or the ONNX document. weights: the numbers of the XML; None for ONNX.
    source: the file it comes from, for messages.
    device: "auto" or "cpu".
    Raises CheckpointError, ConfigError for another device, MissingExtra.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device {device!r} with the engine openvino; it runs on the CPU: use `device` auto or cpu")
    if weights is None:
        refuse_external_data(graph, source)
    compiled = compile_graph(graph, weights, source)
    if [i.any_name for i in compiled.inputs] != [PICTURES] or LOGITS not in compiled.outputs[0].names:
        raise CheckpointError(f"{source} has other inputs and outputs; it was not written by `denselab export`")
    digest = digest_of(f"openvino {import_openvino().__version__}", graph, weights or b"")

    def run(pictures: Pictures) -> Scores:
        found: Scores = compiled({PICTURES: np.ascontiguousarray(pictures)})[LOGITS]
        return found

    return OpenVINOEngine(spec, "cpu", run, digest)


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
        raise MissingExtra("OpenVINO is missing: pip install openvino") from None
    finally:
        if before is ABSENT:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before


def compile_graph(graph: bytes, weights: bytes | None, source: str) -> Any:
    """OpenVINO's compiled model. Raises CheckpointError, MissingExtra."""
    openvino = import_openvino()
    core = openvino.Core()
    # float32 also on processors that would take bfloat16 by themselves: what was measured at the export holds
    settings = {
        "INFERENCE_NUM_THREADS": thread_count(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        if weights is None:
            model = core.read_model(graph)
        else:
            numbers = openvino.Tensor(np.frombuffer(weights, np.uint8).copy())
            model = core.read_model(graph, numbers)
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        lines = [line for line in str(error).strip().splitlines() if line] or ["no reason given"]
        raise CheckpointError(f"{source} is not taken by OpenVINO: {lines[-1]}") from None
