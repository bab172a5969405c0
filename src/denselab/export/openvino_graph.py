"""An ONNX document as OpenVINO's own two files, with the same metadata."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from denselab.engine.openvino_engine import import_openvino, openvino_core
from denselab.errors import MissingExtra, install


def require_openvino() -> None:
    """Raise MissingExtra where OpenVINO is missing."""
    if importlib.util.find_spec("openvino") is None:
        raise MissingExtra(f"exporting for OpenVINO needs it: {install('export,openvino')}")


def openvino_files(document: bytes, metadata: dict[str, str]) -> tuple[bytes, bytes]:
    """The XML and the numbers of an ONNX document, float32 as it is; int8 layers stay int8.

    metadata: texts by key, stored below rt_info.
    """
    model = openvino_core().read_model(document)
    for key, text in metadata.items():
        model.set_rt_info(text, key.split("."))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.xml"
        import_openvino().save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
