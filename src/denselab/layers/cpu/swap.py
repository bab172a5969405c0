"""Runs a network's layers as compiled loops while it trains on a CPU; the network itself stays what it is.

Only `forward` of single layers is replaced, and only within the `with` block, around the forward pass of a step. So
state dicts, copies, exports and evaluation know nothing of it. A layer that meets something else (another precision,
another layout in memory, an odd number of channels) calls what it would have called.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from torch import Tensor, nn

from denselab.layers.aligned import AlignedConv2d
from denselab.layers.compiled_step import compiled_step
from denselab.layers.cpu.team import can_run

Forward = Callable[[Tensor], Tensor]
Limits = tuple[float, float]
NONE = (-float("inf"), float("inf"))
LIMITS: dict[type[nn.Module], Limits] = {nn.Identity: NONE, nn.ReLU: (0.0, float("inf")), nn.ReLU6: (0.0, 6.0)}
LARGEST_SIDE = 9  # of a depthwise kernel


@contextmanager
def compiled_layers(network: nn.Module) -> Iterator[None]:
    """Within it, layers run as compiled loops where they can."""
    if not (can_run() and _on_cpu(network)):
        yield
        return
    swapped = _replacements(network)
    for module, forward in swapped.items():
        module.forward = forward
    try:
        with compiled_step():
            yield
    finally:
        for module in swapped:
            del module.forward  # the class's own again


def kinds_of(network: nn.Module) -> set[str]:
    """Which kinds of loops, by the names of their modules, `compiled_layers` runs in a network's layers."""
    normalised = any(type(module) in (nn.BatchNorm2d, BatchNormAct2d) for module in network.modules())
    depthwise = any(_is_depthwise(module) for module in network.modules())
    return ({"norm"} if normalised else set()) | ({"depthwise"} if depthwise else set())


def _on_cpu(network: nn.Module) -> bool:
    first = next(network.parameters(), None)
    return first is not None and first.device.type == "cpu" and first.dtype == torch.float32


def _replacements(network: nn.Module) -> dict[nn.Module, Forward]:
    """{layer: what it computes in its place}."""
    found: dict[nn.Module, Forward] = {}
    for module in network.modules():
        if "forward" in vars(module):
            continue
        if type(module) is nn.Sequential and (pairs := _pairs(module)):
            found[module] = _sequence(module, pairs)
        elif type(module) is nn.BatchNorm2d and _can_norm(module):
            found[module] = _norm(module, NONE)
        elif type(module) is BatchNormAct2d and _can_norm(module) and type(module.drop) is nn.Identity:
            if (limits := _limits(module.act)) is not None:
                found[module] = _norm(module, limits)
        elif _is_depthwise(module):
            found[module] = _depthwise(module)
        elif _is_pointwise(module):
            found[module] = _pointwise(module)
    return found


def _limits(activation: nn.Module) -> Limits | None:
    """What an activation keeps its input within; None if it does something else, or is watched."""
    return None if _is_watched(activation) else LIMITS.get(type(activation))


def _is_watched(module: nn.Module) -> bool:
    """Whether hooks wait for a layer to be called by itself."""
    before, after = module._forward_pre_hooks, module._forward_hooks
    return bool(before or after or module._backward_pre_hooks or module._backward_hooks)


def _can_norm(module: nn.Module) -> bool:
    """Whether a normalisation layer has statistics and parameters of the usual kind."""
    assert isinstance(module, nn.BatchNorm2d)
    usual = module.affine and module.running_mean is not None and module.momentum is not None
    return usual and module.num_features % 8 == 0


def _norm(norm: nn.Module, limits: Limits) -> Forward:
    """A normalisation layer with an activation behind it, in training mode or at rest."""
    return _learning_norm(norm, limits) if norm.training else _resting_norm(norm, limits)


def _resting_norm(norm: nn.Module, limits: Limits) -> Forward:
    """One whose statistics stay what they are."""
    from denselab.layers.cpu.norm import RestingNormActivation, fits  # compiles its loops

    assert isinstance(norm, nn.BatchNorm2d)

    def forward(x: Tensor) -> Tensor:
        if not fits(x):
            return type(norm).forward(norm, x)
        statistics = norm.running_mean, norm.running_var
        y: Tensor = RestingNormActivation.apply(x, norm.weight, norm.bias, *statistics, norm.eps, limits)
        return y

    return forward


def _learning_norm(norm: nn.Module, limits: Limits) -> Forward:
    """One that takes its statistics from the batch."""
    from denselab.layers.cpu.norm import NormActivation, fits  # compiles its loops

    assert isinstance(norm, nn.BatchNorm2d)

    def forward(x: Tensor) -> Tensor:
        if not fits(x) or x.numel() == x.shape[1]:  # torch refuses a single value per channel
            return type(norm).forward(norm, x)
        y: Tensor
        y, mean, variance = NormActivation.apply(x, norm.weight, norm.bias, norm.eps, limits)
        _note(norm, mean, variance, x.numel() // x.shape[1])
        return y

    return forward


@torch.no_grad()
def _note(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics towards this batch's, as torch does: variances of `count` values, unbiased."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean.float(), norm.momentum)
    norm.running_var.lerp_((variance * (count / (count - 1))).float(), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def _pairs(sequence: nn.Sequential) -> dict[int, Limits]:
    """Positions of normalisation layers that an activation follows, and its limits."""
    children = list(sequence.children())
    found = {}
    for i, (norm, activation) in enumerate(pairwise(children)):
        plain = type(norm) is nn.BatchNorm2d and _can_norm(norm) and not _is_watched(norm)
        if plain and (limits := _limits(activation)) is not None:
            found[i] = limits
    return found


def _sequence(sequence: nn.Sequential, pairs: dict[int, Limits]) -> Forward:
    """A sequence whose `pairs` are computed in one; each layer alone, called by others, stays what it is."""
    from denselab.layers.cpu.norm import fits

    children = list(sequence.children())
    joint = {i: _norm(children[i], limits) for i, limits in pairs.items()}

    def forward(x: Tensor) -> Tensor:
        done = -1
        for i, child in enumerate(children):
            if i in joint and fits(x):
                x, done = joint[i](x), i + 1
            elif i != done:
                x = child(x)
        return x

    return forward


def _is_depthwise(module: nn.Module) -> bool:
    """Whether a layer convolves each channel with one square kernel."""
    if type(module) not in (nn.Conv2d, Conv2dSame, AlignedConv2d):
        return False
    assert isinstance(module, nn.Conv2d)
    single = module.groups == module.in_channels == module.out_channels and module.in_channels % 8 == 0
    square = all(a == b for a, b in (module.kernel_size, module.stride, module.dilation))
    plain = module.bias is None and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return single and square and plain and 1 < module.kernel_size[0] <= LARGEST_SIDE


def _depthwise(conv: nn.Module) -> Forward:
    """A depthwise convolution; two forms add a border first, as TensorFlow does."""
    from denselab.layers.cpu.depthwise import DepthwiseConv  # compiles its loop
    from denselab.layers.cpu.norm import fits

    assert isinstance(conv, nn.Conv2d)

    def forward(x: Tensor) -> Tensor:
        if not fits(x):
            return type(conv).forward(conv, x)
        x, weight = in_precision(x), in_precision(conv.weight)
        if isinstance(conv, AlignedConv2d):
            x = conv.bordered(x)
        elif type(conv) is Conv2dSame:
            x = pad_same(x, list(conv.kernel_size), list(conv.stride), list(conv.dilation))
        y: Tensor = DepthwiseConv.apply(x, weight, conv.stride[0], conv.padding, conv.dilation[0])
        return y

    return forward


def _is_pointwise(module: nn.Module) -> bool:
    """Whether a layer only mixes the channels of each pixel."""
    if type(module) is not nn.Conv2d:
        return False
    return module.kernel_size == module.stride == (1, 1) and module.padding == (0, 0) and module.groups == 1


def _pointwise(conv: nn.Module) -> Forward:
    """A 1x1 convolution in half precision as a product of matrices."""
    from denselab.layers.cpu.norm import fits
    from denselab.layers.cpu.pointwise import PointwiseConv

    assert isinstance(conv, nn.Conv2d)

    def forward(x: Tensor) -> Tensor:
        if not (fits(x) and _halves()):
            return type(conv).forward(conv, x)
        bias = None if conv.bias is None else in_precision(conv.bias)
        y: Tensor = PointwiseConv.apply(in_precision(x), in_precision(conv.weight), bias)
        return y

    return forward


def _halves() -> bool:
    """Whether the run computes in bfloat16."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def in_precision(x: Tensor) -> Tensor:
    """A tensor in the precision in which the run computes."""
    return x.bfloat16() if _halves() else x
