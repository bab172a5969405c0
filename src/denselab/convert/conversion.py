"""From a file of weights to a model folder: read, map, check, save, and write down what was done."""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denselab.build import create_model
from denselab.convert.caffe import read_caffemodel
from denselab.convert.conventions import (
    Colours,
    Source,
    label_space_of,
    preprocessing_of,
    read_label_table,
)
from denselab.convert.mapping import PROBES, Mapped, Reading, Skeleton, check_fit, first_convolution, infer_classes
from denselab.convert.names_caffe import map_caffe
from denselab.convert.names_tf import map_tensorflow
from denselab.convert.names_torch import COUNTER, map_state
from denselab.convert.tensorflow import checkpoint_index, read_tensorflow
from denselab.convert.torch_files import read_state_dict
from denselab.errors import CheckpointError, ConfigError
from denselab.models import MODELS
from denselab.models.base import SegmentationModel
from denselab.segmenter import Architecture, Segmenter, model_card, save_segmenter


@dataclass(frozen=True)
class Conversion:
    """What came of a file. untouched: tensors of the network that the file does not hold and that start at random."""

    segmenter: Segmenter
    source: Path
    sha256: str
    form: str
    table: str
    mapped: tuple[Mapped, ...]
    untouched: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For --json and the card."""
        return {
            "source": str(self.source),
            "sha256": self.sha256,
            "form": self.form,
            "architecture": asdict(self.segmenter.architecture),
            "labels": self.table,
            "preprocessing": asdict(self.segmenter.preprocessing),
            "tensors": len(self.mapped),
            "done": dict(Counter(entry.done for entry in self.mapped if entry.done)),
            "untouched": list(self.untouched),
        }


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
    """Convert `path` into the model folder `out`.

    classes: None reads the number from the file, which then has to hold every tensor of the network; a number starts a
    new score layer where the file's has another, and leaves what an ImageNet file lacks at its initialisation (for
    `train --init`). labels: a label table of the user's. Raises CheckpointError, ConfigError, DataError, ResourceError.
    """
    table = read_label_table(labels) if labels is not None else None
    architecture, reading, form, colours = _read(path, source, model, encoder)
    if classes is None:
        classes = infer_classes(reading.mapped, lambda k: replace(architecture, num_classes=k).create(), str(path))
        partial = False
    else:
        partial = True
    architecture = replace(architecture, num_classes=classes)
    network = architecture.create()
    mapped, untouched = _load(network, reading, partial, str(path))
    space, title = label_space_of(model, classes) if table is None else (table, f"{labels}")
    if space.num_classes != classes:
        raise ConfigError(f"{labels} has {space.num_classes} classes, the network {classes}; give a table of {classes}")
    preprocessing = preprocessing_of(model, architecture.encoder, colours, classes)
    segmenter = Segmenter(network.eval(), architecture, space, preprocessing, torch.device("cpu"), {})
    conversion = Conversion(segmenter, path, _sha256(path, source), form, title, mapped, untouched)
    save_segmenter(segmenter, out, conversion_card(conversion))
    return conversion


def _read(path: Path, source: Source, model: str, encoder: str | None) -> tuple[Architecture, Reading, str, Colours]:
    """The network that was asked for, what the file gives for it, whose names those are, and whose pixels it expects."""
    default = MODELS[model].default_encoder if model in MODELS else None  # an unknown name is refused when it is built
    architecture = Architecture(model, PROBES[0], encoder or default)
    skeleton = _skeleton(architecture)
    if source == "caffe":
        return architecture, map_caffe(read_caffemodel(path), skeleton), "Caffe", "caffe"
    if source == "tf":
        return architecture, map_tensorflow(read_tensorflow(path), skeleton), "TensorFlow", "tf"
    state = read_state_dict(path)
    if MODELS[model].aux and any(name.startswith(("aux_classifier.", "aux_head.")) for name in state):
        architecture = replace(architecture, aux=True)
        skeleton = _skeleton(architecture)
    reading, form = map_state(state, skeleton)
    return architecture, reading, form.title, "caffe" if form.bgr else "torch"


def _skeleton(architecture: Architecture) -> Skeleton:
    with torch.device("meta"):
        return create_model(
            architecture.name, architecture.num_classes, encoder=architecture.encoder, aux=architecture.aux
        )


def _load(
    network: SegmentationModel, reading: Reading, partial: bool, source: str
) -> tuple[tuple[Mapped, ...], tuple[str, ...]]:
    """Put what was read into the network; returns what went in, and the names of what stays as it was."""
    own = network.state_dict()
    mapped, unused = list(reading.mapped), reading.unused
    optional = {name for name in own if name.endswith(COUNTER)} | _frozen(network)
    if partial:
        mapped = [entry for entry in mapped if entry.tensor.shape == own[entry.target].shape]
        trunk = first_convolution(network).split(".")[0] + "."
        optional |= {name for name in own if not name.startswith(trunk)}
        unused = ()
    check_fit(own, mapped, unused, optional, source)
    for entry in mapped:
        if not bool(entry.tensor.isfinite().all()):
            raise CheckpointError(f"{source}: {entry.source} holds values that are not finite; fetch it anew")
    given: dict[str, Tensor] = {entry.target: entry.tensor for entry in mapped}
    network.load_state_dict({**own, **given})
    untouched = tuple(name for name in own if name not in given and not name.endswith(COUNTER))
    return tuple(mapped), untouched


def _frozen(network: nn.Module) -> set[str]:
    """Bilinear kernels that are not learnt: the same with or without the file."""
    return {
        f"{path}.weight"
        for path, module in network.named_modules()
        if isinstance(module, nn.ConvTranspose2d) and not module.weight.requires_grad
    }


def _sha256(path: Path, source: Source) -> str:
    """Of the file; of a TensorFlow checkpoint, of its index, which holds a checksum of every variable."""
    with ((checkpoint_index(path) if source == "tf" else None) or path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def conversion_card(conversion: Conversion) -> str:
    """The model folder's README: the usual one, and where the weights come from."""
    facts = conversion.facts()
    counted = [f"- {what}: {n} tensor{'s' if n > 1 else ''}" for what, n in facts["done"].items()]
    done = "\n".join(counted) or "- nothing but names"
    rest = ""
    if conversion.untouched:
        rest = (
            f"\n{len(conversion.untouched)} tensors are not in the file and were left at their start: "
            f"{', '.join(conversion.untouched[:12])}{', ...' if len(conversion.untouched) > 12 else ''}.\n"
        )
    usual = model_card(conversion.segmenter).replace(
        "trained with DenseLab", "whose weights were converted by DenseLab"
    )
    mean, std = conversion.segmenter.preprocessing.mean, conversion.segmenter.preprocessing.std
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
