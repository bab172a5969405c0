"""TensorFlow's variable names and layouts to a network's: the DeepLab v3+ release on Xception and MobileNetV2.

The rules are in the headers of encoders/xception.py, encoders/mobilenet_v2.py and models/deeplab_v3plus.py.
Convolutions are (k, k, in, out) there and (out, in, k, k) here; depthwise ones are (k, k, C, 1) and (C, 1, k, k).
Pictures are RGB. The release's ResNets (resnet_v1_*_beta) put the stride of a stage in its last block, so they fit no
network here.
"""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from denselab.convert.mapping import Mapped, Reading, Skeleton, as_tensor
from denselab.errors import CheckpointError

TRUNKS = re.compile(r"^(xception_(41|65|71)|MobilenetV2)/")
ASPP = re.compile(r"^(image_pooling|aspp\d(_depthwise|_pointwise)?|concat_projection)/")
LEAVES = {  # variable: (attribute here, order of axes)
    "depthwise_weights": ("weight", (2, 3, 0, 1)),
    "weights": ("weight", (3, 2, 0, 1)),
    "biases": ("bias", (0,)),
    "gamma": ("weight", (0,)),
    "beta": ("bias", (0,)),
    "moving_mean": ("running_mean", (0,)),
    "moving_variance": ("running_var", (0,)),
}
CLASSIFIER = re.compile(r"^(xception_\d+/logits|MobilenetV2/(Logits|Conv_1))/")  # of ImageNet


def map_tensorflow(variables: Mapping[str, NDArray[np.generic]], skeleton: Skeleton) -> Reading:
    """Map every weight to the parameter of its name; optimisers' variables are left out. Raises CheckpointError."""
    if any(name.startswith("resnet_v1_") for name in variables):
        raise CheckpointError(
            "these are weights of a ResNet of TensorFlow slim, which puts the stride of a stage in its last block; "
            "no network here is built that way; use the Xception or MobileNetV2 weights of the same authors"
        )
    modules = dict(skeleton.named_modules())
    mapped: list[Mapped] = []
    unused: list[str] = []
    spare: list[str] = []
    for name, values in variables.items():
        scope, _, leaf = name.rpartition("/")
        if leaf not in LEAVES:
            continue  # Momentum, ExponentialMovingAverage, constants of a graph
        attribute, axes = LEAVES[leaf]
        module = module_path(scope)
        if module in modules and values.ndim == len(axes) and getattr(modules[module], attribute, None) is not None:
            tensor = as_tensor(np.transpose(values, axes))
            mapped.append(Mapped(f"{module}.{attribute}", name, tensor, "axes reordered" if len(axes) > 1 else ""))
        else:
            (spare if CLASSIFIER.match(name) else unused).append(f"{name} {tuple(values.shape)}")
    return Reading(tuple(mapped), tuple(unused), tuple(spare))


def module_path(scope: str) -> str:
    """The path of the module for a variable scope; xception_65/entry_flow/conv1_1/BatchNorm becomes ...conv1_1.norm."""
    path = TRUNKS.sub("encoder.", scope)
    if path == scope:
        path = ASPP.sub(lambda match: f"aspp.{match[0]}", f"{scope}/").removesuffix("/")
        path = path.removeprefix("decoder/")
    path = path.replace("xception_module/", "").replace("/", ".")
    if path == "logits.semantic":
        return "logits"
    if path.endswith(".BatchNorm"):
        return f"{path.removesuffix('.BatchNorm')}.norm"
    return f"{path}.conv"
