"""Optimisers and learning rates. A learning rate is a pure function of the share of the run that is done."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from denselab.config import TrainConfig
from denselab.crf_layer.with_crf import CRF
from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel
from denselab.training.muon import Muon, is_large, is_matrix

START_DIVISOR = 25.0  # lr / 25 at the start of the warm-up: one-cycle's usual div_factor
END_DIVISOR = 1000.0  # lr / 1000 at the end of one-cycle
LR_DROP, DROP_FACTOR = 1 / 3, 0.1  # DeepLab v1's solver: a tenth after each 2,000 of 6,000 iterations

LARGE_RATE = 0.2  # of matrices that Muon leaves to AdamW, against its own rate (training/recipe.py: RATES)


def lr_factor(progress: float, config: TrainConfig) -> float:
    """The learning rate at `progress` (0..1 of the run), as a factor of `config.lr`.

    step: a tenth after each `lr_drop` of the run (DeepLab v1); the last moment belongs to the last stretch.
    poly: (1 - p)^power (DeepLab v2, section 4.1.1).
    onecycle: cosine up, then cosine down (Smith 2018, arXiv 1708.07120).
    """
    if config.schedule == "constant":
        return 1.0
    if progress < config.warmup:
        rise = progress / config.warmup
        ease = rise if config.schedule in ("step", "poly") else (1 - math.cos(math.pi * rise)) / 2
        return 1 / START_DIVISOR + (1 - 1 / START_DIVISOR) * ease
    rest = (progress - config.warmup) / (1 - config.warmup) if config.warmup < 1 else 1.0
    if config.schedule == "step":
        drop = config.lr_drop or LR_DROP
        return float(DROP_FACTOR ** min(int(rest / drop), math.ceil(1 / drop) - 1))
    if config.schedule == "poly":
        return float((1 - min(rest, 1.0)) ** config.poly_power)
    return 1 / END_DIVISOR + (1 - 1 / END_DIVISOR) * (1 + math.cos(math.pi * rest)) / 2


def set_lr(optimizer: Optimizer, config: TrainConfig, progress: float) -> float:
    """Set every group's learning rate at `progress`; returns that of an ordinary weight."""
    lr = config.lr * lr_factor(progress, config)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    return lr


def make_optimizer(model: SegmentationModel, config: TrainConfig) -> Optimizer:
    """SGD or AdamW over four groups (pretrained or not, decayed or not) and one more for a CRF layer.

    Biases and norms are not decayed. A CRF layer's parameters are about 1 to 5 where a convolution's are about 0.05,
    and should move in proportion: CRF-RNN's release has lr_mult 10000 for its weights and 1000 for its compatibility,
    at an lr of 1e-13. They are not decayed either.

    The fused form makes one pass over each weight instead of one per term of the update, several times faster on the
    CPU too.
    """
    groups = [
        {"params": parameters, "lr_factor": factor, "weight_decay": decay, "matrices": matrices}
        for (factor, decay, matrices), parameters in _grouped(model, config).items()
    ]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    if config.optimizer == "muon":
        return Muon(groups, lr=config.lr, betas=(config.momentum, 0.999))
    return AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def freeze_as_asked(model: SegmentationModel, config: TrainConfig) -> None:
    """Before training: freeze the first `freeze_stages` of the pretrained part, or all of it at `encoder_lr_factor` 0.

    What is frozen keeps its running statistics too; with `bn_statistics` "pretrained" all of the part keeps them, while
    its weights learn. Raises ConfigError where a part of its own is asked for that the network does not have.
    """
    _require_pretrained_part(model, config)
    if config.bn_statistics == "pretrained":
        model.rest_norms(path for stage in model.pretrained_stages() for path in stage)
    if config.encoder_lr_factor == 0 or config.freeze_stages:
        model.freeze_pretrained(None if config.encoder_lr_factor == 0 else config.freeze_stages)


def brings_statistics(model: SegmentationModel) -> bool:
    """Whether all normalisation layers of the pretrained part hold running statistics that some training has left."""
    means = [tensor for name, tensor in model.pretrained_tensors().items() if name.endswith(".running_mean")]
    return bool(means) and all(bool(mean.any()) for mean in means)


def _require_pretrained_part(model: SegmentationModel, config: TrainConfig) -> None:
    asked: list[tuple[str, Any, Any]] = [
        ("freeze_stages", config.freeze_stages, 0),
        ("encoder_lr_factor", config.encoder_lr_factor, 1),
        ("bn_statistics", config.bn_statistics.replace("cumulative", "running"), "running"),
    ]
    stages = len(model.pretrained_stages())
    for key, value, usual in asked if not stages else ():
        if value != usual:
            shown = f"{value:g}" if isinstance(value, float) else value
            raise ConfigError(
                f"{key} is {shown}, but no part of {config.model!r} starts from ImageNet "
                f"weights; leave it at {usual}, or choose a network on an encoder"
            )
    if config.freeze_stages > stages:
        raise ConfigError(
            f"freeze_stages is {config.freeze_stages}, but the encoder of {config.model!r} has {stages}; "
            "encoder_lr_factor 0 freezes all"
        )


def _grouped(model: SegmentationModel, config: TrainConfig) -> dict[tuple[float, float, bool], list[nn.Parameter]]:
    own = config.encoder_lr_factor != 1 or config.freeze_stages > 0
    pretrained = model.pretrained_parameters() if own else {}
    grouped: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        # A frozen part keeps its position, because last/ identifies the other parameters by theirs.
        if not parameter.requires_grad and name not in pretrained:
            continue
        factor = config.encoder_lr_factor if name in pretrained else 1.0
        if name.endswith(".bias"):
            factor *= config.bias_lr_factor
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        if name.startswith(CRF):
            factor, decay = config.crf_lr_factor, 0.0
        turned = config.optimizer == "muon" and is_matrix(parameter) and not name.startswith(CRF)
        if turned and is_large(parameter):
            turned, factor = False, factor * LARGE_RATE
        grouped.setdefault((factor, decay, turned), []).append(parameter)
    return grouped


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the running mean of the weights (EMA) towards the model; norm statistics move too, counters are copied.

    The decay grows from 0.1 as (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """
    share = 1.0 - min(decay, (1 + step) / (10 + step))
    means, news = [], []
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            news.append(new)
        else:
            mean.copy_(new)
    torch._foreach_lerp_(means, news, share)
