"""`denselab.export`: from a model folder to a folder that another runtime takes, kept only if it is the same model."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from denselab.engine.engine import Engine
from denselab.engine.folder import config_bytes
from denselab.engine.graph_engine import LABELS
from denselab.engine.onnx_engine import onnx_engine, onnx_session
from denselab.engine.open import open_model
from denselab.engine.openvino_engine import (
    FLOAT32,
    compile_graph,
    multiplies_bfloat16,
    openvino_engine,
    read_graph,
)
from denselab.engine.spec import ModelSpec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.export.card import export_card
from denselab.export.int8 import CALIBRATION_PICTURES, quantised
from denselab.export.labels_graph import RGB, labels_model
from denselab.export.onnx_graph import OPSET, check_opset, metadata, onnx_model, require_onnx
from denselab.export.openvino_graph import openvino_files, require_openvino
from denselab.export.parity import (
    FLOAT_PICTURES,
    LABELS_GRAPH,
    ROUNDED_MIOU,
    ROUNDED_PICTURES,
    Parity,
    labels_parity,
    parity,
    require_bfloat16,
    require_float,
)
from denselab.export.pictures import CheckPictures, check_pictures, seen_pictures
from denselab.export.program import coarse_factor, exported_program, refuse_crf_layer
from denselab.export.program_engine import program_bytes, program_engine
from denselab.files import json_bytes
from denselab.folders import write_folder
from denselab.inference.prediction import file_table
from denselab.numbers import flag, flags
from denselab.paths import deepest_folder, given_path
from denselab.run_folder import (
    CARD,
    EXPORT,
    IR_GRAPH,
    IR_WEIGHTS,
    LABELS_IR,
    LABELS_IR_WEIGHTS,
    LABELS_ONNX,
    MODEL_CONFIG,
    ONNX_GRAPH,
    PROGRAM,
    WEIGHTS,
    refuse_a_run,
)
from denselab.types import Image, LabelMap

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

logger = logging.getLogger(__name__)

Target = Literal["onnx", "openvino", "torch"]


@dataclass(frozen=True)
class Exported:
    """A model that was exported.

    folder: the model folder that was written.
    target: what for. int8: whether it computes in integers. bf16: or in bfloat16. opset: of ONNX; None for torch.
    parity: what it loses; labels_parity: the same of the graph to label ids, if there is one.
    kept_float: convolutions that int8 hurt too much, left in float32. layers: how many convolutions there are.
    files: name to bytes.
    """

    folder: Path
    target: Target
    int8: bool
    bf16: bool
    opset: int | None
    parity: Parity
    labels_parity: Parity | None
    kept_float: tuple[str, ...]
    layers: int
    files: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """The content of export.json."""
        return {
            "target": self.target,
            "opset": self.opset,
            "int8": self.int8,
            "bf16": self.bf16,
            "parity": self.parity.facts(),
            "labels_parity": self.labels_parity.facts() if self.labels_parity else None,
            "layers": self.layers,
            "layers_left_in_float": list(self.kept_float),
            "files": dict(self.files),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions_of("denselab", "torch", "onnx", "onnxruntime", "openvino"),
            "machine": platform.machine(),
        }


@dataclass
class Draft:
    """What is being put together: file name to content, and what was measured."""

    files: dict[str, bytes]
    parity: Parity
    labels_parity: Parity | None = None
    kept_float: tuple[str, ...] = ()
    layers: int = 0
    document: bytes = field(default=b"", repr=False)


def export(
    model: str | Path,
    out: str | Path,
    to: Target = "onnx",
    *,
    int8: bool = False,
    bf16: bool = False,
    labels: bool = False,
    opset: int | None = None,
    check: str | Path | None = None,
    quiet: bool = False,
) -> Exported:
    """Export a model and measure that it is still the same; `out` is then a model folder for predict, eval and load.

    model: a model folder, run folder, hub id or torchvision's weights.
    out: the folder to write, all or nothing.
    to: "onnx", "openvino" or "torch" (torch.export's file beside the weights).
    int8: eight-bit integers, calibrated on training pictures; kept only if they cost less than half a point of mIoU.
    bf16: OpenVINO's graph computes in bfloat16 on processors with AVX512_BF16 or AMX, in float32 on others; likewise
        kept only if it costs less than half a point.
    labels: also write the graph that takes an RGB picture of any size and gives label ids.
    opset: of ONNX; None: 18.
    check: the data to measure on; None: the data of the run that the model is from, else the demo's scenes.
    quiet: show no progress.
    Digests of the pictures go with it (splits.json), so that `eval` measures those that the run held out.
    Raises ParityError where the export is not the same model, ConfigError, DataError, CheckpointError, MissingExtra.
    """
    int8, bf16 = flag(int8, "`int8`"), flag(bf16, "`bf16`")  # they are stored
    flags(labels=labels, quiet=quiet)
    out = given_path(out, "`out`")
    deepest_folder(out)
    _check_options(to, int8, bf16, labels, opset)
    found, folder = open_model(str(model), "cpu", engine="torch")
    assert isinstance(found, TorchEngine)
    refuse_crf_layer(found.spec)
    _refuse_labels_of_bands(found.spec, labels)
    _refuse_other_models(folder, out)
    data = None if check is None else str(check)
    used = None if to == "torch" else opset or OPSET
    with check_pictures(found.spec, str(model), data, real=int8, quiet=quiet) as pictures:
        draft = _graph_draft(found, pictures, to, int8, bf16, used) if used else _torch_draft(found, pictures)
        if labels:
            _add_labels(draft, found, pictures, to)
    draft.files |= seen_pictures(str(model), folder, data)
    sizes = {name: len(content) for name, content in draft.files.items()}
    measured = (draft.parity, draft.labels_parity, draft.kept_float, draft.layers)
    done = Exported(out, to, int8, bf16, used, *measured, sizes)
    config = {MODEL_CONFIG: config_bytes(found.spec), CARD: export_card(found.spec, done.facts()).encode()}
    write_folder(out, {**draft.files, **config, EXPORT: json_bytes(done.facts())})
    return done


def _check_options(to: str, int8: bool, bf16: bool, labels: bool, opset: int | None) -> None:
    """Raise ConfigError or MissingExtra before anything is loaded."""
    if to not in get_args(Target):
        raise ConfigError(f"to {to!r} is unknown; use {', '.join(get_args(Target))}")
    if bf16 and to != "openvino":
        raise ConfigError(f"`bf16` belongs to OpenVINO; leave it out for {to}, or export `to` openvino")
    if bf16 and int8:
        raise ConfigError("`int8` and `bf16` are two precisions for the same layers; choose one")
    if to == "torch":
        for name, given in {"int8": int8, "labels": labels, "opset": opset is not None}.items():
            if given:
                raise ConfigError(f"`{name}` belongs to ONNX and OpenVINO; leave it out for torch")
        return
    if to == "openvino":
        require_openvino()  # first: its line installs all that is needed
        if bf16 and not multiplies_bfloat16():
            raise ConfigError(
                "this processor does not multiply bfloat16 (no AVX512_BF16, no AMX), so what `bf16` loses cannot be "
                "measured here; export where it does, or leave it out"
            )
    require_onnx()
    if opset is not None:
        check_opset(opset)


def _refuse_labels_of_bands(spec: ModelSpec, labels: bool) -> None:
    if labels and (bands := spec.preprocessing.bands) is not None:
        raise ConfigError(f"`labels` is a graph for RGB pictures, and the model takes {bands.told()}; leave it out")


def _refuse_other_models(folder: Path | None, out: Path) -> None:
    """Raise ConfigError where `out` holds a model that is no export, or a run. folder: of the model."""
    if folder is not None and out.exists() and folder.resolve() in (out.resolve(), *out.resolve().parents):
        raise ConfigError(f"`out` {out} is the model's own folder, which stays as it is; name another one")
    refuse_a_run(out)
    if (out / MODEL_CONFIG).exists() and not (out / EXPORT).exists():
        raise ConfigError(f"`out` {out} holds a model that is no export, which stays as it is; name another one")


def _torch_draft(engine: TorchEngine, pictures: CheckPictures) -> Draft:
    from denselab.tensors import pack_tensors

    content = program_bytes(_traced(engine), metadata(engine.spec))
    found = parity(engine, program_engine(content, engine.spec), pictures, FLOAT_PICTURES)
    require_float(found, PROGRAM)
    return Draft({PROGRAM: content, WEIGHTS: pack_tensors(engine.network.state_dict())}, found)


def _graph_draft(engine: TorchEngine, pictures: CheckPictures, to: Target, int8: bool, bf16: bool, opset: int) -> Draft:
    """The graph in the target's form, measured in the target's runtime."""
    spec = engine.spec
    coarse = coarse_factor(engine)
    program = _traced(engine, coarse is not None)
    with _told("written as ONNX"):
        model = onnx_model(program, spec, opset, coarse)
    document = model.SerializeToString()
    found = parity(engine, _runtime(document, spec, to), pictures, FLOAT_PICTURES)
    require_float(found, "the exported graph")
    if int8 or bf16:  # of the graph that is written the caller tells
        logger.info(f"float32: {found.told()}")
    draft = Draft({}, found, document=document)
    if int8:
        done = quantised(
            model,
            pictures.calibration(CALIBRATION_PICTURES),
            lambda content: parity(engine, _runtime(content, spec, to), pictures, ROUNDED_PICTURES),
            lambda content, seen: _logits(content, spec, seen),
            quiet=pictures.quiet,
        )
        draft = Draft({}, done.parity, None, done.kept_float, done.layers, done.document)
    if bf16:
        draft.parity = parity(engine, _runtime(document, spec, to, bf16), pictures, ROUNDED_PICTURES)
        require_bfloat16(draft.parity)
    draft.files = _files(draft.document, spec, to, bf16, (ONNX_GRAPH, IR_GRAPH, IR_WEIGHTS))
    return draft


def _traced(engine: TorchEngine, coarse: bool = False) -> ExportedProgram:
    logger.info(f"tracing {engine.spec.architecture.name} for pictures of any size")
    with _told("traced"):
        return exported_program(engine, coarse)


@contextmanager
def _told(done: str) -> Iterator[None]:
    """Say how long it took."""
    started = time.monotonic()
    yield
    logger.info(f"{done} in {time.monotonic() - started:.1f} s")


def _runtime(document: bytes, spec: ModelSpec, to: Target, bf16: bool = False) -> Engine:
    """The engine of an ONNX document in the target's runtime; OpenVINO's from the files that it will be."""
    if to == "onnx":
        return onnx_engine(document, spec, "the exported graph", "cpu")
    graph, weights = openvino_files(document, metadata(spec), bf16)
    return openvino_engine(graph, weights, spec, "the exported graph", "cpu")


def _files(document: bytes, spec: ModelSpec, to: Target, bf16: bool, names: tuple[str, str, str]) -> dict[str, bytes]:
    """The files of an ONNX document for a target. names: of the ONNX file, and of OpenVINO's two."""
    if to == "onnx":
        return {names[0]: document}
    return dict(zip(names[1:], openvino_files(document, metadata(spec), bf16), strict=True))


def _logits(document: bytes, spec: ModelSpec, seen: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    engine = onnx_engine(document, spec, "the exported graph", "cpu")
    return [np.asarray(engine.logits(picture)) for picture in seen]


def _add_labels(draft: Draft, engine: TorchEngine, pictures: CheckPictures, to: Target) -> None:
    """Add the graph from an RGB picture to label ids, measured too."""
    import onnx

    spec = engine.spec
    model: ModelProto = onnx.load_from_string(draft.document)
    document = labels_model(model, spec, antialias=to == "onnx").SerializeToString()  # OpenVINO's Resize does not
    run = _labels_runtime(document, spec, to)
    ids = file_table(spec.label_space)
    indices = np.full(int(ids.max()) + 1, spec.label_space.ignore_index, np.int64)  # class index by label id
    indices[ids[: spec.label_space.num_classes]] = np.arange(spec.label_space.num_classes)

    def labels_of(image: Image) -> LabelMap:
        found: LabelMap = indices[run(image[None])[0]].astype(spec.label_space.dtype)
        return found

    most = ROUNDED_PICTURES if draft.layers else FLOAT_PICTURES
    draft.labels_parity = labels_parity(engine, labels_of, pictures, most)
    allowed = LABELS_GRAPH
    if draft.layers:  # int8 has its own measure
        allowed = max(draft.parity.other_labels + LABELS_GRAPH, ROUNDED_MIOU)
    require_float(draft.labels_parity, LABELS_ONNX if to == "onnx" else LABELS_IR, allowed)
    draft.files |= _files(document, spec, to, False, (LABELS_ONNX, LABELS_IR, LABELS_IR_WEIGHTS))


def _labels_runtime(document: bytes, spec: ModelSpec, to: Target) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    if to == "onnx":
        session = onnx_session(document, LABELS_ONNX)
        return lambda pictures: np.asarray(session.run([LABELS], {RGB: pictures})[0])
    model = read_graph(*openvino_files(document, metadata(spec)), LABELS_IR)
    compiled = compile_graph(model, LABELS_IR, FLOAT32)  # in bfloat16 pixels round and logits tie as they are resized
    return lambda pictures: np.asarray(compiled({RGB: np.ascontiguousarray(pictures)})[LABELS])


def versions_of(*names: str) -> dict[str, str]:
    """Versions of the packages among these that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = packages.version(name)
        except packages.PackageNotFoundError:
            continue
    return found
