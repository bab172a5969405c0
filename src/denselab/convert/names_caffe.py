"""Caffe's layer names and arrays to a network's: FCN, DeconvNet, SegNet, DeepLab v1 and v2, U-Net, ImageNet nets.

Our layers keep the authors' names, with "_" for "-" and "/"; this file holds the differences. Arrays are those of
Caffe's layers: Convolution and InnerProduct [weight, bias], Deconvolution (in, out, k, k) as in torch, BatchNorm [sum
of means, sum of variances, their factor], Scale [gamma, beta], BN of the SegNet and DeconvNet forks [scale, shift]
(1, C, 1, 1). Caffe's pictures are BGR: the input channels of every convolution that sees the picture are flipped, so
that ours get RGB.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from denselab.convert.mapping import (
    Mapped,
    Reading,
    Skeleton,
    as_tensor,
    fitted,
    for_rgb,
    leaf_modules,
    unscaled,
    with_twins,
)
from denselab.convert.picture import picture_convolutions
from denselab.encoders.caffe import CaffeLayer
from denselab.errors import CheckpointError
from denselab.models.fcn import FixedScale

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, FixedScale)

FCN_2014 = {  # the first release, fcn-8s-pascal
    "score-fr": "score_fr",
    "score2": "upscore2",
    "score-pool4": "score_pool4",
    "score4": "upscore_pool4",
    "score-pool3": "score_pool3",
    "upsample": "upscore8",
}
# fc8_voc12_1: named after the data
EXPERIMENT = re.compile(r"^(fc1|fc8|data_ms|pool\d_ms)_[a-z]\w*?(?P<branch>_(c?\d))?$")
SHARED = re.compile(r"^(?P<name>.+)_res(075|05)$")  # DeepLab v2's multi-scale nets: copies that share their weights
RESNET_STEM = {"conv1": "conv1", "bn_conv1": "bn1", "scale_conv1": "bn1"}
RESNET = re.compile(r"^(?P<kind>res|bn|scale)(?P<stage>[2-5])(?P<block>[a-z]\d*)_branch(?P<branch>1|2[abc])$")
GOOGLENET = {"1x1": "conv1x1", "3x3_reduce": "reduce3x3", "3x3": "conv3x3", "5x5_reduce": "reduce5x5", "5x5": "conv5x5"}
GOOGLENET_STEM = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "conv2_reduce", "conv2/3x3": "conv2"}
NORMS = ((re.compile(r"conv([123])$"), r"bn\1"), (re.compile(r"downsample\.0$"), "downsample.1"))  # behind a ResNet's
UNET_DOWN = re.compile(r"^conv_d(?P<level>[0-4])(?P<step>a-b|b-c)$")
UNET_UP = re.compile(r"^conv_u(?P<level>[0-3])(?P<step>b-c|c-d)$")
UNET_UPCONV = re.compile(r"^upconv_[du]\d[cd]_u(?P<level>[0-3])a$")
SEGNET_ZOO = {  # the zoo's names of the score layer
    "dense_softmax_inner_prod": "conv_classifier",
    "camvid": "conv_classifier",
}
IMAGENET_CLASSES = 1000
CLASSIFIER_ENDS = {  # ImageNet's scores and the layers before them, for networks that have no place for these
    *("fc6", "fc7", "fc8", "fc1000", "loss3/classifier"),
    *(f"loss{i}/{layer}" for i in (1, 2) for layer in ("conv", "fc", "classifier")),
}


def map_caffe(layers: Sequence[CaffeLayer], skeleton: Skeleton) -> Reading:
    """Map every layer to the module of its name. Raises CheckpointError for arrays that a module cannot take."""
    leaves = leaf_modules(skeleton, KINDS)
    modules = dict(skeleton.named_modules())
    seeing = picture_convolutions(skeleton)
    mapped: list[Mapped] = []
    unused: list[str] = []
    spare: list[str] = []
    names = {layer.name for layer in layers}
    for layer in layers:
        path = None if _is_imagenet_score(layer) else module_path(layer.name, leaves, modules)
        copy = SHARED.match(layer.name)
        if path is not None:
            mapped += _layer(layer, path, modules[path], sees_picture=path in seeing)
        elif not (copy and copy["name"] in names):
            (spare if layer.name in CLASSIFIER_ENDS else unused).append(f"{layer.name} {tuple(layer.blobs[0].shape)}")
    found, homeless = _without_biases(_with_plain_statistics(mapped, modules), skeleton.state_dict())
    return Reading(tuple(with_twins(found, skeleton)), (*unused, *homeless), tuple(spare))


def _is_imagenet_score(layer: CaffeLayer) -> bool:
    """Whether it is VGG's own fc8, not DeepLab's, which is named after its data (fc8_voc12)."""
    return layer.name in CLASSIFIER_ENDS and IMAGENET_CLASSES in layer.blobs[0].shape[:-1]


def module_path(name: str, leaves: Mapping[str, str], modules: Mapping[str, nn.Module]) -> str | None:
    """The path of the module that a Caffe layer belongs to, or None."""
    for renamed, anchor in ((resnet_name(name), "layer1"), (unet_name(name), "down")):
        for prefix in _prefixes(modules, anchor) if renamed is not None else []:
            if f"{prefix}{renamed}" in modules:
                return f"{prefix}{renamed}"
    if "/" in name and name.startswith("inception"):
        block, part = name.split("/", 1)
        path = leaves.get(GOOGLENET_STEM.get(name, ""), "") or f"encoder.{block}.{GOOGLENET.get(part, part)}"
        return path if path in modules else None
    for candidate in _spellings(name):
        if candidate in leaves:
            return leaves[candidate]
    return None


def _spellings(name: str) -> list[str]:
    """A layer's name as ours may be spelled, most literal first."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    found = [plain]
    found += [renamed[name] for renamed in (FCN_2014, GOOGLENET_STEM, SEGNET_ZOO) if name in renamed]
    if (match := EXPERIMENT.match(plain)) is not None:
        found.append(match[1] + (match["branch"] or ""))
    return found


def resnet_name(name: str) -> str | None:
    """torchvision's name for a layer of the MSRA ResNets: res4b22_branch2a is layer3.22.conv1. None for others."""
    if name in RESNET_STEM:
        return RESNET_STEM[name]
    match = RESNET.match(name)
    if match is None:
        return None
    block = match["block"]
    index = int(block[1:]) if block[1:] else ord(block) - ord("a")  # a, b, c, or a, b1, b2, ...
    part, norm = match["branch"], match["kind"] != "res"
    stage = f"layer{int(match['stage']) - 1}.{index}"
    if part == "1":
        return f"{stage}.downsample.{int(norm)}"
    return f"{stage}.{'bn' if norm else 'conv'}{'abc'.index(part[1]) + 1}"


def unet_name(name: str) -> str | None:
    """models/unet.py's name for a layer of the Freiburg release: conv_d4b-c is down.4.conv2. None for others."""
    if (match := UNET_DOWN.match(name)) is not None:
        return f"down.{match['level']}.conv{1 if match['step'] == 'a-b' else 2}"
    if (match := UNET_UP.match(name)) is not None:
        return f"up.{3 - int(match['level'])}.conv.conv{1 if match['step'] == 'b-c' else 2}"
    if (match := UNET_UPCONV.match(name)) is not None:
        return f"up.{3 - int(match['level'])}.upconv"
    return "score" if name == "conv_u0d-score" else None


def _prefixes(modules: Mapping[str, nn.Module], anchor: str) -> list[str]:
    """Where a ResNet or U-Net may be in a network: the path in front of `anchor`."""
    return [path.removesuffix(anchor) for path in modules if path.rsplit(".", 1)[-1] == anchor]


def _layer(layer: CaffeLayer, path: str, module: nn.Module, sees_picture: bool) -> list[Mapped]:
    blobs = [as_tensor(blob) for blob in layer.blobs]
    if isinstance(module, nn.BatchNorm2d):
        return _normalisation(layer.name, path, module, blobs)
    if isinstance(module, FixedScale):
        return [Mapped(f"{path}.weight", f"{layer.name}[0]", blobs[0].flatten())]
    if len(blobs) > 2:
        raise CheckpointError(f"layer {layer.name!r} has {len(blobs)} arrays; weight and bias were expected for {path}")
    weight, done = fitted(blobs[0], module, layer.name)
    if sees_picture:
        weight, done = for_rgb(weight, module)
    found = [Mapped(f"{path}.weight", f"{layer.name}[0]", weight, done)]
    if len(blobs) == 2:
        found.append(Mapped(f"{path}.bias", f"{layer.name}[1]", blobs[1].flatten()))
    return found


def _normalisation(name: str, path: str, module: nn.BatchNorm2d, blobs: list[Tensor]) -> list[Mapped]:
    """BatchNorm holds the statistics; Scale or the forks' BN holds the affine part."""
    if len(blobs) == 3:
        if blobs[2].numel() != 1:
            raise CheckpointError(
                f"layer {name!r}: its third array has {blobs[2].numel()} values; one, the factor of the "
                f"statistics, was expected for {path}"
            )
        factor = float(blobs[2].flatten()[0])
        scale = 1 / factor if factor else 0.0  # as Caffe does
        done = f"divided by the factor {factor:g}"
        names = ("running_mean", "running_var")
        return [Mapped(f"{path}.{n}", f"{name}[{i}]", blobs[i].flatten() * scale, done) for i, n in enumerate(names)]
    if len(blobs) != 2:
        raise CheckpointError(f"layer {name!r} has {len(blobs)} arrays; two or three were expected for {path}")
    return [Mapped(f"{path}.{n}", f"{name}[{i}]", blobs[i].flatten()) for i, n in enumerate(("weight", "bias"))]


def _with_plain_statistics(mapped: list[Mapped], modules: Mapping[str, nn.Module]) -> list[Mapped]:
    """Give layers whose statistics are folded into scale and shift mean 0 and variance 1 - eps: y = scale x + shift."""
    targets = {entry.target for entry in mapped}
    found = list(mapped)
    for entry in mapped:
        path, _, kind = entry.target.rpartition(".")
        module = modules[path]
        if isinstance(module, nn.BatchNorm2d) and kind == "weight" and f"{path}.running_mean" not in targets:
            done = "statistics are folded into scale and shift"
            mean = module.running_mean
            assert mean is not None
            found.append(Mapped(f"{path}.running_mean", entry.source, entry.tensor * 0, done))
            found.append(Mapped(f"{path}.running_var", entry.source, unscaled(module), done))
    return found


def _without_biases(mapped: list[Mapped], own: Mapping[str, Tensor]) -> tuple[list[Mapped], list[str]]:
    """Move biases that the network has no place for to where they have the same effect; (tensors, what found none).

    The bias of `upscore2` (fcn-8s-pascal's score2) is added to the scores of pool4. That of a convolution before a
    normalisation (conv1 of MSRA's ResNet-50) is taken off again with the mean.
    """
    found, homeless = [entry for entry in mapped if entry.target in own], list[str]()
    places = {entry.target: place for place, entry in enumerate(found)}
    for bias in (entry for entry in mapped if entry.target not in own):
        target, sign, done = _place_of_bias(bias.target.removesuffix(".bias"))
        other = found[places[target]] if target in places else None
        if other is None or other.tensor.shape != bias.tensor.shape:
            homeless.append(f"{bias.source} {tuple(bias.tensor.shape)}")
        else:
            done = "; ".join(filter(None, (other.done, done.format(bias.source))))
            found[places[target]] = Mapped(target, other.source, other.tensor + sign * bias.tensor, done)
    return found, homeless


def _place_of_bias(path: str) -> tuple[str, int, str]:
    """(the tensor that can hold the bias of the layer at `path`, its sign there, what was done in words)."""
    if path == "upscore2":
        return "score_pool4.bias", 1, "with the bias of {}, which is added to the same sum"
    norm = next((pattern.sub(name, path) for pattern, name in NORMS if pattern.search(path)), "")
    return f"{norm}.running_mean", -1, "without the bias of {}, which the mean takes off again"
