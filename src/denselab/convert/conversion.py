"""From a file of weights to a model folder: read, map, check, save, and record what was done."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denselab.build import create_model, find_entry
from denselab.convert.conventions import (
    Colours,
    Source,
    label_space_of,
    preprocessing_of,
    read_label_table,
)
from denselab.convert.mapping import (
    MAX_CLASSES,
    PROBES,
    ClassShapes,
    Mapped,
    Reading,
    Skeleton,
    check_fit,
    class_shapes,
    infer_classes,
)
from denselab.convert.names_caffe import map_caffe
from denselab.convert.names_hed import map_hed
from denselab.convert.names_tf import map_tensorflow
from denselab.convert.names_torch import COUNTER, map_state
from denselab.convert.partial import by_layer, fitting_layers, may_start_anew
from denselab.convert.tensorflow import checkpoint_index, read_tensorflow
from denselab.convert.torch_files import read_state_dict
from denselab.documents import parse_json, read_bytes
from denselab.encoders.caffe import read_caffemodel
from denselab.encoders.hed import read_hed
from denselab.engine.card import model_card
from denselab.engine.folder import save_engine
from denselab.engine.formats import current_config
from denselab.engine.spec import Architecture, ModelSpec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError
from denselab.files import sha256_of
from denselab.in_words import first_few
from denselab.models.base import SegmentationModel
from denselab.paths import require_path
from denselab.run_folder import MODEL_CONFIG, refuse_a_run

LISTED = 12  # names of left-out tensors in a line


@dataclass(frozen=True)
class Conversion:
    """The result of converting a file.

    engine: the network with its weights
    source: the file
    sha256: of the file; of a TensorFlow checkpoint that of its index, which holds a checksum of every variable
    form: whose names the file has
    table: the label table's name
    mapped: the tensors taken
    untouched: tensors of the network that are not from the file and start anew
    left_out: not taken: a classifier's last layers, and layers of another shape that may start anew
    """

    engine: TorchEngine
    source: Path
    sha256: str
    form: str
    table: str
    mapped: tuple[Mapped, ...]
    untouched: tuple[str, ...]
    left_out: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """The conversion as plain data, for --json and the card."""
        return {
            "source": str(self.source),
            "sha256": self.sha256,
            "form": self.form,
            "architecture": asdict(self.engine.spec.architecture),
            "labels": self.table,
            "preprocessing": asdict(self.engine.spec.preprocessing),
            "tensors": len(self.mapped),
            "done": dict(Counter(entry.done for entry in self.mapped if entry.done)),
            "untouched": list(self.untouched),
            "left_out": list(self.left_out),
        }

    def summary(self) -> list[str]:
        """What was taken, what starts anew and what was left out, one line each where it applies."""
        own = [name for name in self.engine.network.state_dict() if not name.endswith(COUNTER)]
        taken = [entry.target for entry in self.mapped if not entry.target.endswith(COUNTER)]
        lines = [f"taken: {by_layer(taken, own)}"]
        if self.untouched:
            lines.append(f"{len(self.untouched)} tensors start anew: {by_layer(self.untouched, own)}")
        if self.left_out:
            lines.append(f"left out of the file: {first_few(self.left_out, LISTED)}")
        return lines


def convert_file(
    path: Path,
    source: Source,
    model: str,
    out: Path,
    *,
    encoder: str | None = None,
    classes: int | None = None,
    labels: Path | None = None,
) -> Conversion:
    """Convert a file of weights into a model folder.

    path: the file
    source: the framework it comes from
    model: a name of MODELS
    out: the model folder
    encoder: None for the network's own
    classes: None reads the number from the file, which must then hold every tensor of the network
    labels: the user's label table

    If `classes` is given, tensors that depend on it start anew where the file has another number. If the file holds
    only the encoder (ImageNet weights, for `train --init`), everything except the encoder starts anew. Raises
    NoSuchPath, CheckpointError, ConfigError, DataError or ResourceError.
    """
    refuse_a_run(out)
    if classes is not None and not 1 <= classes <= MAX_CLASSES:
        raise ConfigError(f"`classes` {classes}; 1 to {MAX_CLASSES} were expected")
    index = checkpoint_index(path) if source == "tf" else None
    require_path(index or path, "a file of weights")
    table = read_label_table(labels) if labels is not None else None
    architecture, reading, form, colours = _read(path, source, model, encoder)
    by_classes: ClassShapes = {}
    if classes is None:
        classes = infer_classes(reading.mapped, lambda k: replace(architecture, num_classes=k).create(), str(path))
    else:
        by_classes = class_shapes(lambda k: replace(architecture, num_classes=k).create())
    architecture = replace(architecture, num_classes=classes)
    _refuse_another_model(out, architecture)
    network = architecture.create()
    mapped, untouched, left_out = _load(network, reading, by_classes, str(path))
    space, title = label_space_of(classes) if table is None else (table, f"{labels}")
    if space.num_classes != classes:
        raise ConfigError(f"{labels} has {space.num_classes} classes, the network {classes}; give a table of {classes}")
    preprocessing = preprocessing_of(model, architecture.encoder, colours, classes)
    if not {"mean", "std"} & {entry.target for entry in mapped}:
        network.set_normalisation(preprocessing.mean, preprocessing.std)
    engine = TorchEngine(ModelSpec(architecture, space, preprocessing), network.eval(), torch.device("cpu"))
    conversion = Conversion(engine, path, sha256_of(index or path), form, title, mapped, untouched, left_out)
    save_engine(engine, out, conversion_card(conversion))
    return conversion


def _read(path: Path, source: Source, model: str, encoder: str | None) -> tuple[Architecture, Reading, str, Colours]:
    """The requested network, what the file provides for it, whose names those are, and its pixel convention."""
    entry = find_entry(model)
    architecture = Architecture(model, PROBES[0], encoder or entry.default_encoder, frozen_norm=entry.frozen_norm)
    skeleton = _skeleton(architecture)
    if source == "caffe":
        return architecture, map_caffe(read_caffemodel(path), skeleton), "Caffe", "caffe"
    if source == "tf":
        return architecture, map_tensorflow(read_tensorflow(path), skeleton), "TensorFlow", "tf"
    if source == "hed":
        return architecture, map_hed(read_hed(path), skeleton), "HED's in Keras", "caffe"
    state = read_state_dict(path)
    if entry.aux and any(name.startswith(("aux_classifier.", "aux_head.")) for name in state):
        architecture = replace(architecture, aux=True)
        skeleton = _skeleton(architecture)
    reading, form = map_state(state, skeleton)
    return architecture, reading, form.title, "caffe" if form.bgr else "torch"


def _skeleton(architecture: Architecture) -> Skeleton:
    with torch.device("meta"):
        return create_model(
            architecture.name, architecture.num_classes, encoder=architecture.encoder, aux=architecture.aux
        )


def _refuse_another_model(out: Path, architecture: Architecture) -> None:
    """Raise ConfigError if `out` is a model folder; a conversion of the same network may be repeated."""
    if not (out / MODEL_CONFIG).exists():
        return
    try:
        config = current_config(parse_json(read_bytes(out / MODEL_CONFIG)), str(out / MODEL_CONFIG))
        there, scores = Architecture(**config["architecture"]), config["scores"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError):
        raise ConfigError(f"{out} holds a {MODEL_CONFIG} that is not of a model folder; choose another `out`") from None
    was, now = asdict(replace(there, frozen_norm=architecture.frozen_norm)), asdict(architecture)
    if differing := [f"{key} {was[key]}, not {now[key]}" for key in was if was[key] != now[key]]:
        raise ConfigError(f"{out} holds another model ({'; '.join(differing)}); choose another `out`")
    if scores:  # only training writes them
        raise ConfigError(f"{out} holds a model that was trained with DenseLab; choose another `out`")


def _load(
    network: SegmentationModel, reading: Reading, by_classes: ClassShapes, source: str
) -> tuple[tuple[Mapped, ...], tuple[str, ...], tuple[str, ...]]:
    """Put what was read into the network; returns what went in, names of what did not change, and what was left out.

    by_classes: see mapping.class_shapes; empty if every tensor has to be in the file
    """
    own = network.state_dict()
    optional = {name for name in own if name.endswith(COUNTER)} | _frozen(network)
    mapped, dropped = list(reading.mapped), list[Mapped]()
    if by_classes:
        optional |= may_start_anew(network, mapped, by_classes)
        mapped, dropped = fitting_layers(mapped, own, optional)
    check_fit(own, mapped, reading.unused, optional, source)
    for entry in mapped:
        if not bool(entry.tensor.isfinite().all()):
            raise CheckpointError(f"{source}: {entry.source} holds values that are not finite; download it again")
    given: dict[str, Tensor] = {entry.target: entry.tensor for entry in mapped}
    network.load_state_dict({**own, **given})
    untouched = tuple(name for name in own if name not in given and not name.endswith(COUNTER))
    unfit = tuple(dict.fromkeys(f"{entry.source} {tuple(entry.tensor.shape)}" for entry in dropped))
    return tuple(mapped), untouched, reading.spare + unfit


def _frozen(network: nn.Module) -> set[str]:
    """Bilinear kernels that are not learnt: the same with or without the file."""
    return {
        f"{path}.weight"
        for path, module in network.named_modules()
        if isinstance(module, nn.ConvTranspose2d) and not module.weight.requires_grad
    }


def conversion_card(conversion: Conversion) -> str:
    """The model folder's README: the usual one, and where the weights come from."""
    facts = conversion.facts()
    counted = [f"- {what}: {n} tensor{'s' if n > 1 else ''}" for what, n in facts["done"].items()]
    done = "\n".join(counted) or "- nothing but names"
    rest = ""
    if conversion.untouched or conversion.left_out:
        rest = "\nNetwork and file are not the same:\n" + "".join(f"- {line}\n" for line in conversion.summary())
    usual = model_card(conversion.engine.spec).replace(
        "trained with DenseLab", "whose weights were converted by DenseLab"
    )
    mean, std = conversion.engine.spec.preprocessing.mean, conversion.engine.spec.preprocessing.std
    return f"""{usual}
## Where the weights come from
- file: {conversion.source.name}, sha256 {conversion.sha256}
- names: {conversion.form}
- {facts["tensors"]} tensors; classes: {conversion.table}
- pictures: RGB in 0..1, minus {", ".join(f"{x:.6g}" for x in mean)}, divided by {", ".join(f"{x:.6g}" for x in std)}

Changed on the way:
{done}
{rest}
The licence is that of the file's authors. Scores of theirs were not measured again here.
"""
