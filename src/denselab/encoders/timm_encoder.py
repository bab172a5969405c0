"""Any timm backbone as an encoder: a picture in, one feature map per stride out.

timm is imported when there is such a backbone: with torchvision, which it needs, it takes long.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from denselab.encoders.deferred_compiler import compiler_deferred
from denselab.encoders.same_padding import align_same_convolutions
from denselab.encoders.stages import Stages, below
from denselab.encoders.weights import Weights
from denselab.errors import CheckpointError, ConfigError
from denselab.layers.pad import pad_to_multiple

if TYPE_CHECKING:
    from timm.models import FeatureInfo


@dataclass(frozen=True)
class Stage:
    """One feature map: (B, channels, H / stride, W / stride) for padded H and W."""

    stride: int
    channels: int


class TimmEncoder(nn.Module):
    """A timm backbone that returns its feature maps by stride.

    Pictures of any size are padded at the bottom and right to a multiple of the largest stride, and to at least two
    cells. Each cell of a map then covers exactly stride x stride pixels, no map is too small for a kernel, and batch
    normalisation has four values per channel even for a single 1x1 picture.

    name: any timm model that has feature maps
    output_stride: 8 or 16 replaces later strides by dilation; None keeps the network's own
    weights: in timm's names, see encoders.pretrained; a classifier's are left out. None for timm's initialisation
    """

    def __init__(
        self, name: str, *, in_channels: int = 3, output_stride: int | None = None, weights: Weights | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.backbone = _create_backbone(name, in_channels, output_stride, weights)
        self.maps_are_nhwc = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"  # Swin and its relatives
        info = cast("FeatureInfo", self.backbone.feature_info)
        self.stages = tuple(Stage(*pair) for pair in zip(info.reduction(), info.channels(), strict=True))
        self.multiple = max(stage.stride for stage in self.stages)
        if output_stride is not None and self.multiple != output_stride:
            raise ConfigError(
                f"encoder {name!r} has output stride {self.multiple}, not {output_stride}; "
                "leave `output_stride` out, or choose another `encoder` (resnet50, mobilenetv2_100)"
            )
        self._check(in_channels)

    @property
    def channels(self) -> dict[int, int]:
        """Channels of the map at each stride; if several maps share a stride, the deepest."""
        return {stage.stride: stage.channels for stage in self.stages}

    def require(self, *strides: int) -> None:
        """Raise ConfigError unless there is a map at each of `strides`."""
        if missing := set(strides) - set(self.channels):
            raise ConfigError(
                f"encoder {self.name!r} has feature maps at strides {sorted(self.channels)}, "
                f"but {sorted(missing)} is needed; choose a convolutional one such as resnet50 or mobilenetv2_100"
            )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """{stride: (B, C, h, w)} by rising stride; if several maps share a stride, the deepest."""
        return {stage.stride: x for stage, x in zip(self.stages, self.forward_stages(images), strict=True)}

    def forward_stages(self, images: Tensor) -> list[Tensor]:
        """Every map in the order of `stages`, for heads that use one before the last."""
        maps: list[Tensor] = self.backbone(pad_to_multiple(images, self.multiple, 2 * self.multiple))
        return [x.permute(0, 3, 1, 2) for x in maps] if self.maps_are_nhwc else maps

    def weight_stages(self) -> Stages:
        """The backbone's modules, a stage per feature map; one stage if timm takes its maps from inside modules."""
        info = cast("FeatureInfo", self.backbone.feature_info)
        return below("backbone", _cut(self.backbone, cast(list[str], info.module_name())))

    def _check(self, in_channels: int) -> None:
        """Run the network once on the smallest oblong picture; one with a fixed size or layout fails here, by name."""
        size = (2 * self.multiple, 3 * self.multiple)
        device = next(self.backbone.parameters()).device
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self.forward_stages(torch.zeros(1, in_channels, *size, device=device))
        except Exception as error:
            raise ConfigError(
                f"encoder {self.name!r} does not take a picture of {size[0]}x{size[1]} ({str(error).splitlines()[0]}); "
                "choose one that takes any size, such as resnet50, mobilenetv2_100, convnext_tiny"
            ) from error
        self.train(was_training)
        for stage, x in zip(self.stages, maps, strict=True):
            expected = (1, stage.channels, size[0] // stage.stride, size[1] // stage.stride)
            if tuple(x.shape) != expected:
                raise ConfigError(
                    f"encoder {self.name!r} gives {tuple(x.shape)} at stride {stage.stride}, expected {expected}; "
                    "choose a convolutional one such as resnet50 or mobilenetv2_100"
                )


def _cut(backbone: nn.Module, taps: list[str]) -> Stages:
    """The modules with weights, by stage. taps: paths of the modules that give the maps, in order."""
    stages: list[tuple[str, ...]] = []
    stage: list[str] = []
    waiting = list(taps)
    for name, module in _units(backbone, taps):
        if any(True for _ in module.parameters()):
            stage.append(name)
        if waiting and name in (waiting[0], waiting[0].replace(".", "_")):  # timm flattens a sequence's names: stages_0
            waiting.pop(0)
            stages += [tuple(stage)] if stage else []  # VGG's last map comes from a pool, which has no weights
            stage = []
    if waiting:
        return (tuple(name for part in (*stages, stage) for name in part),)
    return (*stages[:-1], stages[-1] + tuple(stage))


def _units(backbone: nn.Module, taps: list[str]) -> list[tuple[str, nn.Module]]:
    """The children by name; one with a tap directly below is replaced by its own children (MobileNet's blocks.2)."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in backbone.named_children():
        inside = any(tap.startswith(f"{name}.") for tap in taps)
        found += [(f"{name}.{part}", unit) for part, unit in child.named_children()] if inside else [(name, child)]
    return found


def _create_backbone(name: str, in_channels: int, output_stride: int | None, weights: Weights | None) -> nn.Module:
    """timm's features_only network, with its errors turned into ours."""
    check_encoder_name(name)
    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels}
    if output_stride not in (None, 32):  # 32 is the usual one; many networks with it do not know the argument
        options["output_stride"] = output_stride
    if weights is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights.tensors)}}
    settings = load_timm().get_pretrained_cfg(name)
    # Networks made for one size have a switch to accept others; Swin's relatives and ViT's name it differently.
    fixed = settings is not None and settings.fixed_input_size
    switches: list[dict[str, bool]] = [{"strict_img_size": False}, {"dynamic_img_size": True}] if fixed else []
    for switch in switches:
        with suppress(TypeError):  # an argument that this network does not know
            return _create(name, options | switch)
    try:
        return _create(name, options)
    except Exception as error:  # timm raises RuntimeError, TypeError, AssertionError, AttributeError and others
        first, *others = (str(error).strip() or type(error).__name__).splitlines()
        reason = f"{first} {others[0].strip()}" if others and first.endswith(":") else first
        if weights is not None and not isinstance(error, TypeError | AssertionError):  # those come from building it
            raise CheckpointError(
                f"{weights}: not the weights of {name!r} ({reason}); download them again, or choose others"
            ) from error
        wish = "" if output_stride is None else f" with output_stride={output_stride}"
        raise ConfigError(
            f"timm cannot build {name!r} as an encoder{wish}: {reason}. "
            "Choose one with feature maps, such as resnet50, mobilenetv2_100, convnext_tiny"
        ) from error


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    with _missing_noted() as missing:
        backbone: nn.Module = load_timm().create_model(name, **options)
    if lacking := [m for m in missing if m.rpartition(".")[0] not in _classifiers(name)]:
        raise RuntimeError(f"they lack {lacking[0]}")
    for module in backbone.modules():  # drop what timm keeps of its settings, which would hold all weights twice
        if isinstance(settings := getattr(module, "pretrained_cfg", None), dict):
            settings.pop("state_dict", None)
    align_same_convolutions(backbone)  # TimmEncoder pads every picture to a multiple of the largest stride
    return backbone


def _classifiers(name: str) -> tuple[str, ...]:
    """The last layers of a timm network; timm strips them from a backbone's weights, not always from the backbone."""
    settings = load_timm().get_pretrained_cfg(name)
    layers = settings.classifier if settings is not None else None
    return (layers,) if isinstance(layers, str) else tuple(layers or ())


@contextmanager
def _missing_noted() -> Iterator[list[str]]:
    """Collect what timm reports as missing from weights; it loads a backbone without its classifier leniently.

    timm also warns about extra weights, usually the classifier's, at each loading; those warnings are suppressed.
    """
    logger = logging.getLogger("timm.models._builder")
    missing: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("Missing keys ("):
            missing.extend(text.split("(", 1)[1].split(")", 1)[0].split(", "))
        return record.levelno >= logging.WARNING and not text.startswith("Unexpected keys (")

    level = logger.level
    logger.addFilter(note)
    logger.setLevel(logging.INFO)
    try:
        yield missing
    finally:
        logger.setLevel(level)
        logger.removeFilter(note)


def load_timm() -> Any:
    """The package timm."""
    with compiler_deferred():
        import timm
    return timm


def check_encoder_name(name: str) -> None:
    """Raise ConfigError with the nearest names unless timm has a model `name` (a tag after a dot may follow)."""
    timm = load_timm()

    if not isinstance(name, str) or not timm.is_model(name):
        near = difflib.get_close_matches(str(name).split(".")[0], timm.list_models(), n=3, cutoff=0.5)
        raise ConfigError(
            f"unknown encoder {name!r}; "
            + (f"did you mean {', '.join(near)}?" if near else "any timm model with feature maps, e.g. resnet50")
        )


def encoder_normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation, RGB in 0..1, that the encoder's ImageNet weights expect."""
    timm = load_timm()

    check_encoder_name(name)
    settings = timm.get_pretrained_cfg(name)
    if settings is None or len(settings.mean) != 3 or len(settings.std) != 3:
        raise ConfigError(f"encoder {name!r} does not take RGB pictures; choose another, such as resnet50")
    (r, g, b), (sr, sg, sb) = settings.mean, settings.std
    return (r, g, b), (sr, sg, sb)
