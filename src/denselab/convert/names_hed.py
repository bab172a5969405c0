"""HED's VGG-16 (encoders/hed.py) to a network's names: its layers have VGG's own, its pictures are BGR."""

from torch import nn

from denselab.convert.mapping import Mapped, Reading, Skeleton, as_tensor, for_rgb, leaf_modules
from denselab.convert.picture import picture_convolutions
from denselab.encoders.hed import Arrays
from denselab.errors import CheckpointError

SIDES = tuple(f"{side}/vars/0" for side in ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5", "fuse"))


def map_hed(layers: Arrays, skeleton: Skeleton) -> Reading:
    """What the file provides for a network whose trunk has VGG-16's layer names. Raises CheckpointError for another."""
    places, modules = leaf_modules(skeleton, (nn.Conv2d,)), dict(skeleton.named_modules())
    if not places.keys() >= layers.keys():
        raise CheckpointError("HED's weights are a VGG-16; choose a `model` with that trunk, such as fcn8s or segnet")
    seen = picture_convolutions(skeleton)
    mapped: list[Mapped] = []
    for name, (kernels, biases) in layers.items():
        target = places[name]
        weight, done = as_tensor(kernels), ""
        if target in seen:
            weight, done = for_rgb(weight, modules[target])
        mapped.append(Mapped(f"{target}.weight", name, weight.clone(), done))
        mapped.append(Mapped(f"{target}.bias", name, as_tensor(biases)))
    return Reading(tuple(mapped), spare=SIDES)
