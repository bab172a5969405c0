"""An ONNX document as OpenVINO's own two files, with the same metadata."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from denselab.engine.openvino_engine import BFLOAT16, PRECISION, import_openvino, openvino_core
from denselab.errors import MissingExtra, install


def require_openvino() -> None:
    """Raise MissingExtra where OpenVINO is missing."""
    if importlib.util.find_spec("openvino") is None:
        raise MissingExtra(f"exporting for OpenVINO needs it: {install('export,openvino')}")


def openvino_files(document: bytes, metadata: dict[str, str], bf16: bool = False) -> tuple[bytes, bytes]:
    """The XML and the numbers of an ONNX document, float32 as it is; int8 layers stay int8.

    metadata: texts by key, stored below rt_info.
    bf16: the graph is to be computed in bfloat16, which rt_info says too; its numbers stay float32.
    """
    model = openvino_core().read_model(document)
    for key, text in metadata.items():
        model.set_rt_info(text, key.split("."))
    if bf16:
        model.set_rt_info(BFLOAT16, list(PRECISION))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.xml"
        import_openvino().save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
