"""The engine in ONNX Runtime: an exported graph, run without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from denselab.engine.engine import Pictures
from denselab.engine.enlarge import Scores
from denselab.engine.graph_engine import PICTURES, GraphEngine, Runs, digest_of, is_ours, once, thread_count
from denselab.engine.onnx_file import interface, refuse_external_data, with_output
from denselab.engine.spec import ModelSpec
from denselab.errors import CheckpointError, ConfigError, MissingExtra, install

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine(GraphEngine):
    """An exported graph in ONNX Runtime."""


def onnx_engine(
    content: bytes, spec: ModelSpec, source: str, device: str = "auto", again: Callable[[], bytes] | None = None
) -> OnnxEngine:
    """The engine of an ONNX document.

    content: the document, complete in itself.
    source: the file it comes from, for messages.
    device: "auto", "cpu", or "cuda" with ONNX Runtime for GPUs.
    again: reads the document once more, where it is needed in a second form; None: it is kept in memory.
    What ONNX Runtime does not take raises CheckpointError when it first runs.
    Raises CheckpointError, ConfigError for a device that is not there, MissingExtra.
    """
    refuse_external_data(content, source)
    onnxruntime = import_onnxruntime()
    used = _device(device, onnxruntime.get_available_providers())
    inputs, outputs = interface(content, source)
    if not is_ours(inputs, outputs):
        raise CheckpointError(f"{source} takes {inputs} and gives {outputs}; it was not written by `denselab export`")

    document = once(content, again)
    digest = digest_of(f"onnxruntime {onnxruntime.__version__}", content)

    def make(output: str, callers: int) -> Callable[[], Callable[[Pictures], Scores]]:
        session = onnx_session(with_output(document(), output), source, used, callers)
        return lambda: lambda pictures: session.run([output], {PICTURES: pictures})[0]

    runs = Runs(make)
    return OnnxEngine(spec, used, runs.beside(1), digest, tuple(outputs), runs.beside, source)


def import_onnxruntime() -> Any:
    """The package onnxruntime. Raises MissingExtra where it is missing."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtra(f"ONNX files are run by onnxruntime, which is missing: {install('export')}") from None


def onnx_session(content: bytes, source: str, device: str = "cpu", callers: int = 1) -> InferenceSession:
    """The session of an ONNX document that was checked. Raises CheckpointError, MissingExtra.

    device: "cpu" or "cuda".
    callers: how many threads will run it at once; each gets its share of the cores.
    """
    onnxruntime = import_onnxruntime()
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, thread_count() // callers)
    options.enable_mem_pattern = False  # it plans the memory of each size of picture anew, and keeps every plan
    options.log_severity_level = 3  # errors only; its warnings are about its own optimisations
    session: Any
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[PROVIDERS[device]])
    except Exception as error:  # its own kinds, which share no base
        raise CheckpointError(f"{source} is not taken by ONNX Runtime: {str(error).strip().splitlines()[0]}") from None
    session.disable_fallback()
    session._model_bytes = None  # kept for its fallback alone: the whole document once more, as long as it lives
    return session


def _device(name: str, providers: list[str]) -> str:
    kind = name.partition(":")[0]
    if kind == "auto":
        return next((k for k in ("cuda", "cpu") if PROVIDERS[k] in providers), "cpu")
    if PROVIDERS.get(kind) not in providers:
        known = [k for k, provider in PROVIDERS.items() if provider in providers]
        raise ConfigError(f"device {name!r}: ONNX Runtime has {', '.join(known)} here; use `device` auto")
    return kind
