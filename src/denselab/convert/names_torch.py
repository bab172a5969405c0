"""PyTorch state dicts to a network's: torchvision, timm, and the common ports, told apart by their names.

A form is a guess at who wrote the file; the form that places the most tensors is used. Forms marked "from memory"
follow the ports' sources as remembered, without having seen their files. `bgr`: the port was trained on BGR pictures
minus Caffe's mean.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from denselab.convert.mapping import (
    PROBES,
    SHOWN,
    Mapped,
    Reading,
    Skeleton,
    fitted,
    for_rgb,
    leaf_modules,
    with_twins,
)
from denselab.convert.names_caffe import KINDS, module_path
from denselab.convert.picture import picture_convolutions
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import BLOCKS
from denselab.errors import CheckpointError
from denselab.models.fcn import FixedScale

State = Mapping[str, Tensor]
Renames = dict[str, str]  # name in the file: name in the network
COUNTER = "num_batches_tracked"  # of batch normalisation; not used, and old files have none
TRUNKS = ("encoder.backbone.", "encoder.", "backbone.")  # where a network keeps its encoder
# the last layers of torchvision's, timm's and Caffe's classifiers
CLASSIFIER = re.compile(r"^(fc\d*|classifier|head|pre_logits)\.")
SPELLINGS: tuple[Callable[[str], str], ...] = (  # of a name in an ImageNet file, as an encoder may have it
    str,
    # torchvision's MobileNetV3: its segmentation networks keep only that part
    lambda name: name.removeprefix("features."),
    # timm's feature networks flatten a sequence: stages.0 is stages_0 (ConvNeXt, Swin)
    lambda name: name.replace(".", "_", 1),
)
KAZUTO_CONVS = {"reduce": "conv1", "conv3x3": "conv2", "increase": "conv3"}
KAZUTO = re.compile(
    r"^base\.layer(?P<stage>[2-5])\.block(?P<block>\d+)\.(?P<part>\w+)\.(?P<kind>conv|bn)\.(?P<attribute>\w+)$"
)


@dataclass(frozen=True)
class NameForm:
    """Who may have written a file.

    title: in words
    rename: the names in the file to those in the network
    bgr: trained on BGR pictures minus Caffe's mean
    trunk: it holds an ImageNet network, of which only the encoder has a place
    """

    title: str
    rename: Callable[[State, Skeleton], Renames]
    bgr: bool = False
    trunk: bool = False


def map_state(state: State, skeleton: Skeleton) -> tuple[Reading, NameForm]:
    """Map the tensors by the form that fits best, and return it too. Raises CheckpointError if none fits at all."""
    found = [(form, form.rename(state, skeleton)) for form in FORMS]
    form, renames = max(found, key=lambda pair: len(pair[1]))
    counted = [name for name in state if not name.endswith(COUNTER)]
    if len(renames) < len(counted) / 2 and not form.trunk and (ordered := by_order(state, skeleton)):
        form, renames = BY_ORDER, ordered
    if not renames:
        few = ", ".join(f"{name} {tuple(state[name].shape)}" for name in counted[:SHOWN])
        own = ", ".join(f"{n} {tuple(t.shape)}" for n, t in list(skeleton.state_dict().items())[:SHOWN])
        raise CheckpointError(
            f"the weights are of another network: the file begins with {few}; this network with {own}; "
            "choose another `model`"
        )
    modules, bgr = dict(skeleton.named_modules()), picture_convolutions(skeleton) if form.bgr else frozenset[str]()
    mapped = [_mapped(name, target, state[name], modules, bgr) for name, target in renames.items()]
    mapped += _constant_scales(skeleton, set(renames.values()))
    if form.rename is not own_names:  # which has a tensor for every layer
        mapped = with_twins(mapped, skeleton)
    left = {n: f"{n} {tuple(state[n].shape)}" for n in counted if n not in renames}
    known = _beside_timm_encoder(skeleton) if left else set()
    spare = {n: said for n, said in left.items() if n in known or CLASSIFIER.match(n)}
    return Reading(tuple(mapped), tuple(left[n] for n in left if n not in spare), tuple(spare.values())), form


def _beside_timm_encoder(skeleton: Skeleton) -> set[str]:
    """Names in timm's file for the network's encoder, including layers after the last feature map: conv_head, norm."""
    encoder = next((module for module in skeleton.modules() if isinstance(module, TimmEncoder)), None)
    if encoder is None:
        return set()
    with torch.device("meta"):
        return set(timm.create_model(encoder.name).state_dict())


def _mapped(name: str, target: str, tensor: Tensor, modules: Mapping[str, nn.Module], bgr: frozenset[str]) -> Mapped:
    """One tensor in the network's form.

    bgr: paths of the convolutions whose input channels are to be flipped
    """
    path, _, attribute = target.rpartition(".")
    if not tensor.is_floating_point():
        return Mapped(target, name, tensor.clone())
    weight, done = tensor.float().contiguous(), ""
    if attribute == "weight" and isinstance(modules[path], nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        weight, done = fitted(weight, modules[path], name)
    if path in bgr and attribute == "weight":
        weight, done = for_rgb(weight, modules[path])
    return Mapped(target, name, weight.clone(), done)


def _constant_scales(skeleton: Skeleton, given: set[str]) -> list[Mapped]:
    """FCN-8s at-once's scales, which some ports (wkentaro's) have as constants in code, so that no file holds them.

    Scores of the same skip in the file show that it is a whole FCN, not an ImageNet network.
    """
    scales = {path: module for path, module in skeleton.named_modules() if isinstance(module, FixedScale)}
    return [
        Mapped(f"{path}.weight", "code", torch.full(scale.weight.shape, scale.factor), "the constant of a port's code")
        for path, scale in scales.items()
        if f"{path}.weight" not in given and f"{path.replace('scale_', 'score_')}.weight" in given
    ]


def own_names(state: State, skeleton: Skeleton) -> Renames:
    """Names as they stand; torchvision's segmentation networks have the same names here."""
    own = skeleton.state_dict()
    return {name: name for name in state if name in own}


def trunk_names(state: State, skeleton: Skeleton) -> Renames:
    """An ImageNet network of timm or torchvision, under the encoder's prefix; see SPELLINGS."""
    own = skeleton.state_dict()
    choices = (
        {name: target for name in state if (target := f"{prefix}{spell(name)}") in own}
        for prefix in TRUNKS
        for spell in SPELLINGS
    )
    return max(choices, key=len)


def vgg_names(state: State, skeleton: Skeleton) -> Renames:
    """torchvision's or timm's VGG-16 (and _bn): features.N, classifier.0 and .3, or pre_logits.fc1 and .fc2."""
    leaves = leaf_modules(skeleton, KINDS)
    own = skeleton.state_dict()
    step = 3 if "features.1.weight" in state else 2  # convolution, (normalisation), ReLU
    places: dict[str, tuple[str, ...]] = {}
    index = 0
    for b, block in enumerate(BLOCKS, 1):
        for i in range(1, len(block) + 1):
            places[f"features.{index}"] = (f"conv{b}_{i}",)
            if step == 3:
                places[f"features.{index + 1}"] = (f"bn{b}_{i}", f"conv{b}_{i}_bn")
            index += step
        index += 1  # the pool
    for fc, sources in (("fc6", ("classifier.0", "pre_logits.fc1")), ("fc7", ("classifier.3", "pre_logits.fc2"))):
        places |= dict.fromkeys(sources, (fc,))
    found: Renames = {}
    for name, tensor in state.items():
        source, _, attribute = name.rpartition(".")
        for leaf in places.get(source, ()):
            target = f"{leaves.get(leaf)}.{attribute}"
            if target in own and tensor.numel() == own[target].numel():
                found[name] = target
    return found


def caffe_names(state: State, skeleton: Skeleton) -> Renames:
    """Caffe's layer names with .weight and .bias, as in ports of FCN and DeepLab (conv1_1.weight, upscore8.weight)."""
    leaves, modules, own = leaf_modules(skeleton, KINDS), dict(skeleton.named_modules()), skeleton.state_dict()
    found: Renames = {}
    for name in state:
        layer, _, attribute = name.rpartition(".")
        target = f"{module_path(layer, leaves, modules)}.{attribute}"
        if target in own:
            found[name] = target
    return found


def isht7_names(state: State, skeleton: Skeleton) -> Renames:
    """DeepLab v2's ResNet-101 as Scale.conv1 ... Scale.layer4, Scale.layer5.conv2d_list.N.

    From memory, without having seen such a file.
    """
    own = skeleton.state_dict()
    renames = {
        name: re.sub(r"^encoder\.layer5\.conv2d_list\.", "fc1_c", re.sub(r"^Scale\.", "encoder.", name))
        for name in state
        if name.startswith("Scale.")
    }
    return {name: target for name, target in renames.items() if target in own}


def kazuto_names(state: State, skeleton: Skeleton) -> Renames:
    """DeepLab v2's ResNet-101 as base.layer1.conv1.conv ... base.layer5.block3.increase.bn, base.aspp.cN.

    From memory, like the names of isht7's port.
    """
    own = skeleton.state_dict()
    found: Renames = {}
    for name in state:
        target = re.sub(
            r"^base\.aspp\.", "fc1_", re.sub(r"^base\.layer1\.conv1\.(conv|bn)\.", r"encoder.\g<1>1.", name)
        )
        if (match := KAZUTO.match(name)) is not None:
            conv, norm = KAZUTO_CONVS.get(match["part"], ""), match["kind"] == "bn"
            layer = f"downsample.{int(norm)}" if match["part"] == "shortcut" else conv.replace("conv", match["kind"])
            target = f"encoder.layer{int(match['stage']) - 1}.{int(match['block']) - 1}.{layer}.{match['attribute']}"
        if target in own:
            found[name] = target
    return found


def by_order(state: State, skeleton: Skeleton) -> Renames:
    """Match tensors one by one if the two lists of shapes are equal, class axes aside; else match nothing."""
    theirs = {name: tensor.shape for name, tensor in state.items() if not name.endswith(COUNTER)}
    ours = {name: tensor.shape for name, tensor in skeleton.state_dict().items() if not name.endswith(COUNTER)}
    if len(theirs) != len(ours) or not all(map(_alike, theirs.values(), ours.values())):
        return {}
    return dict(zip(theirs, ours, strict=True))


def _alike(shape: tuple[int, ...], own: tuple[int, ...]) -> bool:
    return len(shape) == len(own) and all(a == b or b == PROBES[0] for a, b in zip(shape, own, strict=True))


FORMS = (  # among equal fits the first wins
    NameForm("the network's own names", own_names),
    NameForm("an ImageNet network of timm or torchvision", trunk_names, trunk=True),
    NameForm("an ImageNet VGG-16 of torchvision or timm", vgg_names, trunk=True),
    NameForm("Caffe's layer names", caffe_names, bgr=True),
    NameForm("isht7's pytorch-deeplab-resnet (from memory)", isht7_names, bgr=True),
    NameForm("kazuto1011's deeplab-pytorch (from memory)", kazuto_names, bgr=True),
)
BY_ORDER = NameForm("another's names: placed by order, all shapes in it being equal", by_order)
