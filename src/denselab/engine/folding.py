"""The form of a network that predicts on a CPU: a convolution does the batch normalisation and activation behind it.

Batch normalisation at rest multiplies and adds per channel, which the weights of the convolution before it can do, and
oneDNN applies a ReLU while it writes its result. Each saves a pass over maps that no cache holds. The network stays
what it is: its form is a copy that shares all other tensors, and is made anew when a weight has changed.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from denselab.engine.content import tensors_state
from denselab.layers.aligned import AlignedConv2d
from denselab.runtime import large_blocks_apart

SMALL = 64  # pixels a side of what a network is tried on
ALLOWED = 1e-3  # largest difference of its logits, in their standard deviations; about 1e-5 is usual
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""What oneDNN calls an activation, and its limits."""


class Folding:
    """The form of one network, kept."""

    def __init__(self) -> None:
        self._kept: tuple[object, nn.Module] | None = None
        self._lock = Lock()  # pictures may run side by side
        self._ran = False

    def __reduce__(self) -> tuple[type[Folding], tuple[()]]:
        return Folding, ()  # copies and other processes make their own

    def of(self, network: nn.Module, small: Callable[[], Tensor]) -> nn.Module:
        """What computes the network's logits faster; the network itself while a part of it trains or is sampled.

        small: gives a small input, (1, C, h, w), to try it on.
        """
        if any(module.training for module in network.modules()):
            return network
        state = id(network), tensors_state(network)
        with self._lock:
            if self._kept is None or self._kept[0] != state:
                self._kept = state, folded(network, small())
            return self._kept[1]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around each run: the first one's maps leave no holes in the memory that a command keeps."""
        if self._ran:
            yield
            return
        with large_blocks_apart():
            yield
        self._ran = True


@torch.no_grad()
def folded(network: nn.Module, small: Tensor) -> nn.Module:
    """A network's form; the network itself where nothing can be folded, or the form computes something else.

    network: in evaluation mode, on the CPU.
    small: an input, (1, C, h, w).
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    with (recorder := _Recorder(network)):
        expected = network(small)
    pairs = recorder.pairs(network)
    if not pairs:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    form = copy.deepcopy(network, shared)
    for conv, norm in pairs:
        _fold(form, conv, norm)
    difference = float((form(small) - expected).abs().max())
    for module in form.modules():
        if isinstance(taken := vars(module).get("_conv_forward"), _OneDNN):
            taken.packed, taken.trying = None, False  # how weights are packed depends on the size of the maps
    return form if difference <= ALLOWED * float(expected.std()) else network


class _Recorder(TorchFunctionMode):
    """Notes where the results of convolutions go, while it is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        modules = list(network.named_modules())
        self._convs = {id(m.weight): name for name, m in modules if isinstance(m, nn.Conv2d)}
        self._norms = {id(m.running_mean): name for name, m in modules if isinstance(m, nn.BatchNorm2d)}
        self._made: dict[int, str] = {}
        self._results: list[Tensor] = []  # alive, so that no other tensor gets the number of one
        self._uses: dict[str, list[str]] = defaultdict(list)

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See TorchFunctionMode."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if _holds_tensor(result):  # a size or a number of dimensions is no use of the values
            for value in torch.utils._pytree.tree_leaves((args, kwargs)):
                if id(value) in self._made:
                    norm = name == "batch_norm" and value is args[0]
                    self._uses[self._made[id(value)]].append(self._norms.get(id(args[1]), "") if norm else "")
        if name == "conv2d":
            self._made[id(result)] = self._convs.get(id(args[1]), "")
            self._results.append(result)
        return result

    def pairs(self, network: nn.Module) -> list[tuple[str, str]]:
        """(convolution, the normalisation that alone gets its result), both used once."""
        made, modules = list(self._made.values()), dict(network.named_modules())
        norms = [norm for uses in self._uses.values() for norm in uses]
        once = ((conv, uses[0]) for conv, uses in self._uses.items() if len(uses) == 1 and made.count(conv) == 1)
        return [
            (conv, norm) for conv, norm in once if conv and norm and norms.count(norm) == 1 and _rests(modules[norm])
        ]


def _holds_tensor(result: object) -> bool:
    return isinstance(result, Tensor) or (isinstance(result, tuple | list) and any(map(_holds_tensor, result)))


def _rests(norm: nn.Module) -> bool:
    """Whether this is torch's batch normalisation with statistics, or timm's, which has an activation as `act`."""
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.training or norm.running_var is None or norm._forward_hooks:
        return False
    return type(norm) is nn.BatchNorm2d or isinstance(getattr(norm, "drop", None), nn.Identity)


def _fold(form: nn.Module, conv_name: str, norm_name: str) -> None:
    """Let a convolution of the copy do what its normalisation does, and the activation where oneDNN knows it."""
    conv, norm = form.get_submodule(conv_name), form.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    weight, bias = _folded_weights(conv, norm)
    activation = getattr(norm, "act", nn.Identity())
    parent, place = form.get_submodule(norm_name.rpartition(".")[0]), norm_name.rpartition(".")[2]
    if not _takes(conv, weight):
        conv.weight, conv.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
        setattr(parent, place, activation)
        return
    if type(activation) is nn.Identity and type(parent) is nn.Sequential:
        activation = _taken_next(parent, place)
    setattr(parent, place, nn.Identity() if type(activation) in ACTIVATIONS else activation)
    kind = ACTIVATIONS.get(type(activation), ACTIVATIONS[nn.Identity])
    vars(conv)["_conv_forward"] = _OneDNN(conv, weight, bias, *kind)  # called in place of the method


def _folded_weights(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    before = norm.running_mean.double() - (0.0 if conv.bias is None else conv.bias.double())
    after = 0.0 if norm.bias is None else norm.bias.double()
    weight = (conv.weight.double() * scale.view(-1, 1, 1, 1)).to(conv.weight.dtype)
    return weight.contiguous(memory_format=torch.channels_last), (after - before * scale).to(conv.weight.dtype)


def _taken_next(sequence: nn.Sequential, place: str) -> nn.Module:
    """The activation behind a layer of a sequence, which leaves it; nothing where oneDNN does not know it."""
    places = list(sequence._modules)
    following = places[places.index(place) + 1 :][:1]
    if not following or type(activation := sequence._modules[following[0]]) not in ACTIVATIONS:
        return nn.Identity()
    assert activation is not None
    sequence._modules[following[0]] = nn.Identity()
    return activation


def _takes(conv: nn.Conv2d, weight: Tensor) -> bool:
    """Whether oneDNN computes a convolution with an activation, and the layer leaves the computing to torch's."""
    usual = type(conv) in (nn.Conv2d, AlignedConv2d) and conv.padding_mode == "zeros"
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    ready = available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return usual and ready and weight.dtype == torch.float32 and not isinstance(conv.padding, str)


@dataclass
class _OneDNN:
    """Takes the place of a convolution's `_conv_forward`.

    trying: the next run is not on a real picture. packed: the weights as oneDNN wants them, which replace `weight`.
    """

    conv: nn.Conv2d
    weight: Tensor | None
    bias: Tensor
    kind: str
    limits: list[float]
    trying: bool = True
    packed: Tensor | None = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        conv = self.conv
        how = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        own, packed = self.weight, self.packed  # in this order: another thread may pack meanwhile
        if packed is None:
            packed = torch.ops.mkldnn._reorder_convolution_weight(own, *how, list(x.shape))
            self.packed = packed
            self.weight = own if self.trying else None
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, packed, self.bias, *how, self.kind, self.limits, "")
        return y
