"""What a network costs and sees, in a few numbers, and all networks of MODELS side by side."""

from dataclasses import dataclass

import torch
from torch import nn

from denselab.console import tracked
from denselab.engine.spec import Architecture
from denselab.inspection.trace import Trace, trace
from denselab.memory import training_memory
from denselab.models import MODELS
from denselab.models.base import ModelEntry, ModelOptions

FLOAT = 4  # bytes of a float32
GRIDDED = ("conv", "max pool", "avg pool", "transposed conv", "linear", "product")  # their outputs set the deepest grid


@dataclass(frozen=True)
class Summary:
    """What a network costs and sees.

    learnable, fixed: numbers of parameters
    norm_layers: number of normalisations
    norm_parameters: of the normalisations
    multiply_adds: for one picture
    receptive_field: pixels, of the logits before their last enlargement; None means the whole picture
    output_stride: pixels between cells of the coarsest map
    logits_stride: pixels between cells of the logits before their last enlargement
    memory_forward: bytes of weights and live maps at batch 1 in float32
    memory_training: bytes with AdamW at batch 1 in float32, see denselab.memory

    Both memory figures are estimates from the sizes of all maps.
    """

    learnable: int
    fixed: int
    norm_layers: int
    norm_parameters: int
    multiply_adds: int
    receptive_field: int | None
    output_stride: float
    logits_stride: float
    memory_forward: int
    memory_training: int


def summarise(model: nn.Module, traced: Trace) -> Summary:
    """The summary of a network and its trace."""
    learnable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    fixed = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    norms = [o for o in traced.operations if o.what.kind == "norm"]
    out = traced.coarse or traced.maps[""].view
    jumps = [o.view.rows.jump for o in traced.operations if o.what.kind in GRIDDED]
    return Summary(
        learnable,
        fixed,
        len(norms),
        sum(o.parameters for o in norms),
        sum(o.what.multiply_adds for o in traced.operations),
        out.receptive_field,
        max((jump for jump in jumps if jump is not None), default=1.0),
        out.rows.jump or 1.0,
        (learnable + fixed) * FLOAT + traced.forward_bytes,
        training_memory(model, traced.size),
    )


def summary_of(architecture: Architecture, size: tuple[int, int]) -> Summary:
    """The summary of a network at a picture of `size` (H, W); nothing is computed."""
    with torch.device("meta"):
        model = architecture.create()
    return summarise(model, trace(model, size, architecture.in_channels))


@dataclass(frozen=True)
class ModelFacts:
    """One network of MODELS with its default encoder."""

    name: str
    title: str
    paper: str
    year: int
    use: str
    encoder: str
    summary: Summary


def list_models(num_classes: int, size: tuple[int, int], quiet: bool = False) -> list[ModelFacts]:
    """Every network of MODELS in order, at a picture of `size` (H, W); nothing is computed. quiet: show no progress."""
    return [facts_of(name, num_classes, size) for name in tracked(MODELS, "count", "networks", quiet)]


def facts_of(name: str, num_classes: int, size: tuple[int, int]) -> ModelFacts:
    """One network of MODELS with its default encoder."""
    entry = MODELS[name]
    with torch.device("meta"):
        model = entry.build(ModelOptions(num_classes, encoder=entry.default_encoder))
    summary = summarise(model, trace(model, size))
    return ModelFacts(name, entry.title, entry.paper, entry.year, entry.use, encoders_in_words(entry), summary)


def encoders_in_words(entry: ModelEntry) -> str:
    """ "vgg16 or vgg16_bn", "its own, or any of timm's"."""
    own = ", ".join(entry.encoders) or "its own"
    return f"{own}, or any of timm's" if entry.any_encoder else own
