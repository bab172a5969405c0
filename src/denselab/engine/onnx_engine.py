"""The engine in ONNX Runtime: an exported graph, run without torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from denselab.engine.engine import Pictures
from denselab.engine.enlarge import Scores
from denselab.engine.graph_engine import PICTURES, GraphEngine, digest_of, is_ours, thread_count
from denselab.engine.onnx_file import refuse_external_data
from denselab.engine.spec import ModelSpec
from denselab.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine(GraphEngine):
    """An exported graph in ONNX Runtime."""


def onnx_engine(content: bytes, spec: ModelSpec, source: str, device: str = "auto") -> OnnxEngine:
    """The engine of an ONNX document.

    content: the document, complete in itself.
    source: the file it comes from, for messages.
    device: "auto", "cpu", or "cuda" with ONNX Runtime for GPUs.
    Raises CheckpointError, ConfigError for a device that is not there, MissingExtra.
    """
    refuse_external_data(content, source)
    session, used = onnx_session(content, source, device)
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    if not is_ours(inputs, outputs):
        raise CheckpointError(f"{source} takes {inputs} and gives {outputs}; it was not written by `denselab export`")
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True  # nothing that only the other output needs

    def run(pictures: Pictures, output: str) -> Scores:
        found: Scores = session.run([output], {PICTURES: pictures}, options)[0]
        return found

    digest = digest_of(f"onnxruntime {onnxruntime.__version__}", content)
    return OnnxEngine(spec, used, run, digest, tuple(outputs))


def onnx_session(content: bytes, source: str, device: str = "cpu") -> tuple[InferenceSession, str]:
    """The session of an ONNX document that was checked, and its device. Raises as `onnx_engine`."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("ONNX files are run by onnxruntime, which is missing: pip install onnxruntime") from None
    kind = _device(device, onnxruntime.get_available_providers())
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    # Threads that wait take no core from decoding, nor from the pictures that run beside this one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it plans the memory of each size of picture anew, and keeps every plan
    options.log_severity_level = 3  # errors only; its warnings are about its own optimisations
    session: Any
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[PROVIDERS[kind]])
    except Exception as error:  # its own kinds, which share no base
        raise CheckpointError(f"{source} is not taken by ONNX Runtime: {str(error).strip().splitlines()[0]}") from None
    session.disable_fallback()
    session._model_bytes = None  # kept for its fallback alone: the whole document once more, as long as it lives
    return session, kind


def _device(name: str, providers: list[str]) -> str:
    kind = name.partition(":")[0]
    if kind == "auto":
        return next((k for k in ("cuda", "cpu") if PROVIDERS[k] in providers), "cpu")
    if PROVIDERS.get(kind) not in providers:
        known = [k for k, provider in PROVIDERS.items() if provider in providers]
        raise ConfigError(f"device {name!r}: ONNX Runtime has {', '.join(known)} here; use `device` auto")
    return kind
