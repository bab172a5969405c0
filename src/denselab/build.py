"""From names to objects: the only place that turns a model's or encoder's name into the object itself."""

import difflib
import logging

from torch import nn

from denselab.encoders.pretrained import find_weights
from denselab.encoders.timm_encoder import check_encoder_name, encoder_normalisation, load_timm
from denselab.encoders.weights import Weights
from denselab.errors import ConfigError
from denselab.models import MODELS
from denselab.models.base import ModelEntry, ModelOptions, SegmentationModel
from denselab.models.release import IMAGENET, Normalisation
from denselab.numbers import flags, whole

logger = logging.getLogger(__name__)

RGB_CHANNELS = 3
NORMALISATIONS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)


def create_model(
    name: str,
    num_classes: int,
    *,
    encoder: str | None = None,
    output_stride: int | None = None,
    in_channels: int = 3,
    pretrained: str | Weights = "no",
    aux: bool = False,
) -> SegmentationModel:
    """Build the network `name` of MODELS: (B, in_channels, H, W) to (B, num_classes, H, W) for any H, W >= 1.

    encoder: its trunk, where the network has a choice; None: its default, or a trunk of its own.
    output_stride: of the encoder, where the network offers the choice; None: the network's own.
    in_channels: bands of a picture.
    pretrained: source of the encoder's weights: "auto", "yes", "no", a file or a hub id (encoders.pretrained), or
        weights already found by `encoder_weights`.
    aux: add an auxiliary head, for `train_logits`.
    Raises ConfigError for anything the network does not have.
    """
    flags(aux=aux)
    entry = find_entry(name)
    num_classes, in_channels = whole(num_classes, "`num_classes`", 1), whole(in_channels, "`in_channels`", 1)
    encoder = _encoder_of(name, entry, encoder)
    if output_stride is not None and whole(output_stride, "`output_stride`") not in entry.output_strides:
        allowed = f"choose one of {entry.output_strides}" if entry.output_strides else "leave it out"
        raise ConfigError(f"model {name!r} has no output_stride {output_stride}; {allowed}")
    if aux and not entry.aux:
        with_aux = [other for other, e in MODELS.items() if e.aux]
        raise ConfigError(f"model {name!r} has no auxiliary head; leave aux out, or use one of {with_aux}")
    weights = pretrained if isinstance(pretrained, Weights) else encoder_weights(name, encoder, pretrained)
    model = entry.build(ModelOptions(num_classes, in_channels, encoder, output_stride, weights, aux))
    if in_channels == RGB_CHANNELS and type(model).set_normalisation is not SegmentationModel.set_normalisation:
        model.set_normalisation(*model_preprocessing(name, encoder))
    return model


def encoder_weights(name: str, encoder: str | None, pretrained: str) -> Weights | None:
    """The weights that network `name` on `encoder` (None: its default) starts from; None: from scratch.

    pretrained: as in encoders.pretrained.
    Raises ConfigError where weights were asked for but are not available.
    """
    encoder = _encoder_of(name, find_entry(name), encoder)
    if encoder is not None:
        return find_weights(encoder, pretrained)
    if pretrained not in ("auto", "no"):
        raise ConfigError(f"`pretrained` {pretrained}, but there are no ImageNet weights for {name!r}; use auto or no")
    if pretrained == "auto":
        logger.info(f"{name}: no ImageNet weights exist for it; training from scratch")
    return None


def model_preprocessing(name: str, encoder: str | None = None) -> Normalisation:
    """(mean, standard deviation) of RGB in 0..1 that the network's ImageNet weights expect; also used from scratch."""
    encoder = _encoder_of(name, find_entry(name), encoder)
    if encoder is None:
        return IMAGENET
    return encoder_normalisation(encoder) if load_timm().is_model(encoder) else IMAGENET


def is_normalised(model: nn.Module) -> bool:
    """Whether any layer of the network normalises.

    Without one (FCN on VGG-16, the paper's U-Net) AdamW needs 1e-4 or less from scratch: at 1e-3 the loss of FCN-8s on
    CamVid jumped from 2 to 17 within five steps, at 1e-4 it fell from 2.4 to 1.5 in ten.
    """
    return any(isinstance(m, NORMALISATIONS) for m in model.modules())


def inputs_of_a_score(model: nn.Module, num_classes: int) -> int:
    """How many numbers the widest score layer, or fully connected layer, sums for one output.

    DeepLab v2 on ResNet-101 sums 18,432 in each of four branches: with AdamW a step of 1e-3 moves all of those weights
    at once, and the loss on CamVid jumped from 5.6 to 13.8 in four steps.
    """
    scores = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.out_channels == num_classes]
    connected = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    return max((weight[0].numel() for weight in [*scores, *connected]), default=0)


def find_entry(name: str) -> ModelEntry:
    """The entry of MODELS. Raises ConfigError with the nearest names."""
    if not isinstance(name, str) or name not in MODELS:
        near = difflib.get_close_matches(str(name), MODELS, n=3, cutoff=0.4) or list(MODELS)
        raise ConfigError(f"unknown model {name!r}; did you mean {', '.join(near)}?")
    return MODELS[name]


def _encoder_of(name: str, entry: ModelEntry, encoder: str | None) -> str | None:
    """The encoder to build: the requested one if the network takes it, else its default."""
    if encoder is None or encoder in entry.encoders:
        return encoder or entry.default_encoder
    if entry.any_encoder:
        check_encoder_name(encoder)
        return encoder
    if entry.encoders:
        raise ConfigError(f"model {name!r} stands on {' or '.join(map(repr, entry.encoders))}, got encoder {encoder!r}")
    raise ConfigError(f"model {name!r} has a trunk of its own, got encoder {encoder!r}; leave the encoder out")
