"""From a file's tensors to a network's: what each source must state, how classes are counted, and what does not fit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denselab.errors import CheckpointError
from denselab.models.base import SegmentationModel

SHOWN = 5  # names in a message
MAX_CLASSES = 65535  # label maps have 16 bits
SHARED = ("fc6", "fc7")  # a network may start several layers from one of these
PROBES = (2, 3)  # two numbers of classes, to see which tensors depend on it


@dataclass(frozen=True)
class Mapped:
    """One tensor of the network.

    target: its name in the network
    source: where it came from
    tensor: the values
    done: how it was changed; "" if it was not
    """

    target: str
    source: str
    tensor: Tensor
    done: str = ""


@dataclass(frozen=True)
class Reading:
    """What a file provides for a network.

    mapped: the tensors
    unused: tensors of the file without a place that should have one, each with its shape
    spare: an ImageNet classifier's last layers, which need no place
    """

    mapped: tuple[Mapped, ...]
    unused: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


# {tensor: its shape with PROBES[0], PROBES[1] classes}
ClassShapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
Skeleton = SegmentationModel  # a network on the meta device: names, kinds and shapes without values


def as_tensor(values: NDArray[np.generic]) -> Tensor:
    """A float32 tensor with its own memory; an expanded one if a single number stands for all values."""
    if values.size and all(stride == 0 for stride, size in zip(values.strides, values.shape, strict=True) if size > 1):
        return torch.tensor(float(values.flat[0])).expand(values.shape)
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def leaf_modules(skeleton: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, str]:
    """{last part of the path: path} of the modules of `kinds`; names that occur twice are left out, except `SHARED`'s.

    Of those the first path stands for all; see `with_twins`.
    """
    found: dict[str, list[str]] = {}
    for path, module in skeleton.named_modules():
        if isinstance(module, kinds):
            found.setdefault(path.rsplit(".", 1)[-1], []).append(path)
    return {leaf: paths[0] for leaf, paths in found.items() if len(paths) == 1 or leaf in SHARED}


def with_twins(mapped: Sequence[Mapped], skeleton: Skeleton) -> list[Mapped]:
    """The tensors, and again those of fc6 and fc7 for every other layer that starts from the same one.

    So VGG-16's are both of MSRA-CFM's pathways. A tensor that the file has for a layer itself stays.
    """
    starts = [path for stage in skeleton.pretrained_stages() for path in stage]
    given = {entry.target for entry in mapped}
    found = list(mapped)
    for entry in mapped:
        path, _, kind = entry.target.rpartition(".")
        leaf = path.rpartition(".")[2]
        twins = [other for other in starts if other.rpartition(".")[2] == leaf in SHARED and path in starts]
        found += [replace(entry, target=f"{twin}.{kind}") for twin in twins if f"{twin}.{kind}" not in given]
    return found


def diagonal(weight: Tensor, name: str) -> Tensor:
    """(K, 1, k, k) of a dense transposed convolution (K, K, k, k) that keeps its channels apart.

    Raises CheckpointError if it mixes them, which a grouped kernel cannot hold.
    """
    own = weight.diagonal().permute(2, 0, 1)
    rest = weight.clone()
    rest.diagonal().zero_()
    if rest.count_nonzero():
        raise CheckpointError(
            f"{name} mixes classes: {rest.count_nonzero()} weights off its diagonal are not zero, but this network's "
            "upsampling is one kernel per class; use the _learnt network, if the upsampling was learnt"
        )
    return own[:, None].contiguous()


def fitted(weight: Tensor, module: nn.Module, name: str) -> tuple[Tensor, str]:
    """A weight in the form that `module` stores, and how it was changed.

    It may be reshaped from a fully connected layer, or be the diagonal of a dense kernel. The number of classes may
    differ from the module's; shapes are compared later. Raises CheckpointError as `diagonal` does.
    """
    own = module.weight
    assert isinstance(own, Tensor)
    if isinstance(module, nn.ConvTranspose2d) and module.groups > 1 and weight.ndim == 4 and weight.shape[1] > 1:
        return diagonal(weight, name), "diagonal of the dense kernel"
    fully_connected = weight.ndim == 2 or tuple(weight.shape[:2]) == (1, 1)  # Caffe's old blobs are (1, 1, out, in)
    if own.ndim == 4 and fully_connected and weight.shape[-1] == own[0].numel():
        return weight.reshape(-1, *own.shape[1:]), "fully connected, as convolution"
    if own.ndim == 2 and weight.ndim == 4 and fully_connected and weight.shape[-1] == own.shape[1]:
        return weight.reshape(-1, own.shape[1]), ""
    if own.ndim == 2 and weight.ndim == 4 and weight[0].numel() == own.shape[1]:
        return weight.flatten(1), "convolution, as fully connected"
    return weight, ""


def for_rgb(weight: Tensor, module: nn.Module) -> tuple[Tensor, str]:
    """The weight for RGB of a convolution that sees BGR or grey pictures, and how it was changed."""
    own = module.weight
    if weight.ndim == 4 and weight.shape[1] == 3:
        return weight.flip(1), "BGR to RGB"
    if weight.ndim == 4 and weight.shape[1] == 1 and isinstance(own, Tensor) and own.shape[1] == 3:
        return weight.expand(-1, 3, -1, -1) / 3, "one grey channel, as three equal ones"
    return weight, ""


def unscaled(module: nn.BatchNorm2d) -> Tensor:
    """The running variance for which batch normalisation is exactly y = weight * x + bias: 1 - eps."""
    variance = torch.full((module.num_features,), 1.0) - module.eps
    step = torch.tensor(torch.inf)
    while bool((variance + module.eps != 1).any()):  # float32 rounds the sum: step until it is 1
        variance = torch.nextafter(variance, step if bool((variance + module.eps < 1).any()) else -step)
    return variance


def class_shapes(create: Callable[[int], Skeleton]) -> ClassShapes:
    """The tensors whose shape depends on the number of classes.

    create: makes the network with a given number of classes
    """
    with torch.device("meta"):
        few, more = ({n: tuple(t.shape) for n, t in create(k).state_dict().items()} for k in PROBES)
    return {name: (few[name], more[name]) for name in few if few[name] != more[name]}


def infer_classes(mapped: Iterable[Mapped], create: Callable[[int], Skeleton], source: str) -> int:
    """K, read from every mapped tensor whose shape depends on it.

    mapped: what the file provides
    create: makes the network with a given number of classes
    source: the file, for messages

    Raises CheckpointError if no tensor tells it, or two disagree.
    """
    by_classes = class_shapes(create)
    found: dict[int, str] = {}
    for entry in mapped:
        low, high = by_classes.get(entry.target, ((), ()))
        if not low or entry.tensor.ndim != len(low):
            continue
        axis = next(i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b)
        if low[axis] == PROBES[0]:
            found.setdefault(entry.tensor.shape[axis], entry.source)
    if len(found) != 1:
        votes = ", ".join(f"{k} in {name}" for k, name in found.items()) or "no score layer in it fits this network"
        raise CheckpointError(
            f"{source}: the number of classes is unclear ({votes}); give `classes` N to start with a new score layer, "
            "or choose another `model`"
        )
    classes = next(iter(found))
    if not 1 <= classes <= MAX_CLASSES:
        raise CheckpointError(f"{source}: {classes} classes, by {found[classes]}; 1 to {MAX_CLASSES} were expected")
    return classes


def check_fit(
    own: Mapping[str, Tensor], mapped: Sequence[Mapped], unused: Sequence[str], optional: set[str], source: str
) -> None:
    """Check that every tensor of the network comes from the file once, in its shape, and that nothing is left over.

    own: the network's tensors
    mapped: what the file provides
    unused: what found no place
    optional: names that may be missing
    source: the file, for messages

    Raises CheckpointError that lists the first names and shapes that do not fit.
    """
    by_name = {entry.target: entry for entry in mapped}
    twice = [f"{e.target} by {e.source} and {by_name[e.target].source}" for e in mapped if by_name[e.target] is not e]
    missing = [f"{n} {tuple(t.shape)}" for n, t in own.items() if n not in by_name and n not in optional]
    shapes = [
        f"{e.target} {tuple(own[e.target].shape)} but {e.source} is {tuple(e.tensor.shape)}"
        for e in mapped
        if e.tensor.shape != own[e.target].shape
    ]
    faults = []
    found = (("missing", missing), ("of another shape", shapes), ("given twice", twice))
    for what, names in (*found, ("not in the network", list(unused))):
        if names:
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            faults.append(f"{what}: {', '.join(names[:SHOWN])}{more}")
    if faults:
        raise CheckpointError(
            f"{source} does not fit this network; {'; '.join(faults)}; choose another `model`, `encoder` or `source`"
        )
