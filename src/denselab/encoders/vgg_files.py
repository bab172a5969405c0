"""An ImageNet VGG-16 in the files of its time: its authors' for Caffe (.caffemodel), and HED's in Keras's form (.h5).

Both have BGR pictures of 0 to 255 less a mean m. Here they get torchvision's names, and the first convolution is
written anew for RGB x in 0..1, less ImageNet's mean and divided by its deviation, as all encoders here see pictures:

    sum of w (255 x - m)  =  sum of (255 deviation w) (x - mean) / deviation  +  sum of w (255 mean - m)

The numbers behind it are the same, except that the zeros around a picture stand for ImageNet's mean, a grey level away.
It matters to the training: steps of AdamW and Muon have one size for all weights, and would move kernels made for
numbers up to 150 sixty times too far.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denselab.encoders.caffe import CaffeLayer, read_caffemodel
from denselab.encoders.hed import read_hed
from denselab.encoders.origin import Origin
from denselab.encoders.timm_encoder import encoder_normalisation
from denselab.encoders.vgg import BLOCKS, FC6_KERNEL, FC_CHANNELS, torchvision_names
from denselab.encoders.weights import Weights
from denselab.errors import CheckpointError
from denselab.files import sha256_of

Blobs = tuple[NDArray[np.generic], NDArray[np.generic]]
Layers = Mapping[str, Blobs]  # {"conv1_1": (kernels (out, in, k, k), biases (out,)), ...}

VGG_MEAN = (103.939, 116.779, 123.68)  # BGR, of the authors' release
HED_MEAN = (104.00699, 116.66877, 122.67892)  # BGR, of the package's preprocessing
FULLY_CONNECTED = {"fc6": (FC_CHANNELS, BLOCKS[-1][-1] * FC6_KERNEL**2), "fc7": (FC_CHANNELS, FC_CHANNELS)}


def read_vgg(path: Path) -> Weights:
    """The weights in torchvision's names, for pictures as encoders see them here; fc6 and fc7 where the file has both.

    path: with a suffix of `FORMS`
    Raises CheckpointError for a file that is damaged or of another network, MissingExtra.
    """
    read, mean = FORMS[path.suffix.lower()]
    layers = read(path)
    bare = not FULLY_CONNECTED.keys() <= layers.keys()
    tensors: dict[str, Tensor] = {}
    for layer, name in torchvision_names().items():
        if layer in FULLY_CONNECTED and bare:
            continue
        kernels, bias = (torch.from_numpy(np.array(part, np.float32)) for part in layers[layer])
        if layer == "conv1_1":
            kernels, bias = for_encoder_pictures(kernels, bias, mean)
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = kernels, bias
    without = " (without fc6 and fc7)" if bare else ""
    return Weights(tensors, Origin(f"file {path}{without}", sha256_of(path)))


def for_encoder_pictures(kernels: Tensor, bias: Tensor, mean: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """The first convolution, (out, 3, k, k) and (out,), for RGB as encoders see it.

    mean: BGR of 0 to 255, which pictures lose before the kernels given see them
    """
    own_mean, own_deviation = (torch.tensor(values, dtype=torch.float64) for values in encoder_normalisation("vgg16"))
    rgb = kernels.double().flip(1)
    lost = 255 * own_mean - torch.tensor(mean, dtype=torch.float64).flip(0)
    shift = (rgb.sum((2, 3)) * lost).sum(1)
    return (rgb * 255 * own_deviation[:, None, None]).float(), (bias.double() + shift).float()


def _read_caffe(path: Path) -> Layers:
    return layers_of(read_caffemodel(path), path)


def layers_of(file: Sequence[CaffeLayer], path: Path) -> Layers:
    """The layers of Caffe's VGG-16; fc6 and fc7 only with its 4,096 channels. Raises CheckpointError for another."""
    found = {layer.name: layer.blobs for layer in file}
    layers: dict[str, Blobs] = {}
    channels = 3
    for number, block in enumerate(BLOCKS, 1):
        for place, width in enumerate(block, 1):
            name = f"conv{number}_{place}"
            kernels, bias = _both(path, name, found.get(name, ()))
            if kernels.shape != (width, channels, 3, 3) or bias.size != width:
                raise CheckpointError(
                    f"{path} is not a VGG-16: its {name} is {kernels.shape}, not {width}x{channels}x3x3"
                )
            layers[name], channels = (kernels, bias.reshape(-1)), width
    for name, shape in FULLY_CONNECTED.items():
        blobs = found.get(name, ())
        if len(blobs) == 2 and blobs[0].size == shape[0] * shape[1] and blobs[1].size == shape[0]:
            layers[name] = blobs[0].reshape(shape), blobs[1].reshape(-1)
    return layers


def _both(path: Path, name: str, blobs: tuple[NDArray[np.generic], ...]) -> Blobs:
    if len(blobs) != 2:
        raise CheckpointError(f"{path} is not a VGG-16: it has no {name} with a bias; choose another file")
    return blobs[0], blobs[1]


FORMS: dict[str, tuple[Callable[[Path], Layers], tuple[float, ...]]] = {  # by suffix: (reader, mean in BGR)
    ".caffemodel": (_read_caffe, VGG_MEAN),
    ".h5": (read_hed, HED_MEAN),
}
