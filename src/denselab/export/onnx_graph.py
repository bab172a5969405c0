"""torch.export's graph as one ONNX document, with the label table and the preprocessing in its metadata."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from denselab.engine.graph_engine import LOGITS, PICTURES, coarse_name
from denselab.engine.spec import ModelSpec
from denselab.errors import ConfigError, MissingExtra, install
from denselab.export.fold_scale import fold_scale

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

OPSET = 18  # the first with antialiased Resize, which pictures of any size need; every runtime of 2023 and later has it
MOST_BYTES = 2**31 - 2**20  # protobuf's limit for one document


def require_onnx() -> None:
    """Raise MissingExtra where the packages that write ONNX are missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtra(f"exporting needs {name}: {install('export')}")


def check_opset(opset: int) -> None:
    """Raise ConfigError for an opset that cannot be written."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ConfigError(f"opset {opset}; use {OPSET} to {newest}, {OPSET} is read by most runtimes")


def onnx_model(program: ExportedProgram, spec: ModelSpec, opset: int = OPSET, coarse: int | None = None) -> ModelProto:
    """The ONNX model of an exported program, batch normalisation folded into the convolutions.

    coarse: the factor of the enlargement before which the program's second result lies; None: it has only one.
    Raises ConfigError where it would exceed ONNX's 2 GiB.
    """
    import torch

    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=[PICTURES],
            output_names=[LOGITS, *([] if coarse is None else [coarse_name(coarse)])],
            verbose=False,
            optimize=True,
        )
        assert exported is not None
        model: ModelProto = exported.model_proto
    if model.ByteSize() > MOST_BYTES:
        raise ConfigError(
            f"the graph takes {model.ByteSize() / 2**30:.1f} GiB, and one ONNX file holds 2 at most; "
            "export it for torch, or train a smaller network"
        )
    _name_sizes(model)
    fold_scale(model)
    add_metadata(model, spec)
    return model


def metadata(spec: ModelSpec) -> dict[str, str]:
    """What the file itself says, for users without DenseLab: JSON by key."""
    space = spec.label_space
    return {
        "denselab.model": json.dumps(spec.architecture.name),
        "denselab.names": json.dumps(list(space.names), ensure_ascii=False),
        "denselab.labels": json.dumps(space.to_list(), ensure_ascii=False),
        "denselab.preprocessing": json.dumps(asdict(spec.preprocessing)),
    }


def add_metadata(model: ModelProto, spec: ModelSpec, **more: str) -> None:
    """Store `metadata` and further entries in the file's metadata_props."""
    entries = {**metadata(spec), **{f"denselab.{key}": value for key, value in more.items()}}
    for key, value in entries.items():
        found: Any = next((entry for entry in model.metadata_props if entry.key == key), None)
        found = found or model.metadata_props.add()
        found.key, found.value = key, value


def _name_sizes(model: ModelProto) -> None:
    """The axes of input and output by what they are, instead of the tracer's symbols."""
    (pictures,), (logits, *coarse) = model.graph.input, model.graph.output
    named: list[tuple[Any, tuple[str, ...]]] = [(pictures, ("B", "H", "W")), (logits, ("B", "K", "H", "W"))]
    named += [(one, ("B", "K", "h", "w")) for one in coarse]
    for value, names in named:
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name != "K":
                axis.dim_param = name
    del model.graph.value_info[:]  # these still hold the tracer's symbols, and every runtime infers its own
    for entry in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]  # the tracer's notes: stack traces, with the paths of this machine
        entry.doc_string = ""


class _quiet:
    """While active, loggers below these names say only errors."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)
