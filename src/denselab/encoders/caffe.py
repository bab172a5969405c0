"""Reads .caffemodel files (caffe.proto, NetParameter) without Caffe: layer names and their arrays.

Both generations are supported: `layer` (field 100, LayerParameter) and `layers` (field 2, V1LayerParameter, until
2014). An array (BlobProto) has its shape in `shape`, or in the old num, channels, height, width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.errors import CheckpointError
from denselab.wire import (
    BYTES,
    VARINT,
    Damaged,
    Floats,
    dimensions,
    fields,
    map_file,
    refused,
    shaped,
    signed,
    text,
)

KIND = "Caffe model (.caffemodel)"
LAYERS = {100: (1, 7), 2: (4, 6)}  # field of the net: (name, blobs) within the layer
MAX_LAYERS, MAX_BLOBS = 10_000, 100  # ResNet-152 has about 600 layers; a layer has at most five arrays
LEGACY_SIDES = {1: 0, 2: 1, 3: 2, 4: 3}  # num, channels, height, width


@dataclass(frozen=True)
class CaffeLayer:
    """A layer with weights.

    name: in the file
    blobs: its arrays in order, float32 or float64, little-endian, mapped read-only
    """

    name: str
    blobs: tuple[NDArray[np.generic], ...]


def read_caffemodel(path: Path) -> list[CaffeLayer]:
    """The layers with weights, in the file's order. Raises CheckpointError that names the file and its fault."""
    data = map_file(path)
    if bytes(data[:4]) in (b"\x89HDF", b"PK\x03\x04"):
        raise CheckpointError(
            f"{path} is not a Caffe model in protobuf form (an HDF5 or zip file); use `source` torch for .pth"
        )
    try:
        layers = _layers(data)
    except Damaged as error:
        raise refused(path, KIND, error) from None
    if not layers:
        raise CheckpointError(
            f"{path} holds no layer with weights; a .caffemodel was expected, not a prototxt or a mean"
        )
    return list(layers.values())


def _layers(net: memoryview) -> dict[str, CaffeLayer]:
    found: dict[str, CaffeLayer] = {}
    for number, kind, _, content in fields(net):
        if number not in LAYERS or kind != BYTES:
            continue
        layer = _layer(content, *LAYERS[number])
        if layer.blobs and layer.name in found:
            raise Damaged(f"two layers are called {layer.name!r}")
        if layer.blobs:
            found[layer.name] = layer
        if len(found) > MAX_LAYERS:
            raise Damaged(f"more than {MAX_LAYERS} layers")
    return found


def _layer(message: memoryview, name_field: int, blobs_field: int) -> CaffeLayer:
    name, blobs = "", list[NDArray[np.generic]]()
    for number, kind, _, content in fields(message):
        if number == name_field and kind == BYTES:
            name = text(content)
        elif number == blobs_field and kind == BYTES:
            if len(blobs) == MAX_BLOBS:
                raise Damaged(f"layer {name!r} has more than {MAX_BLOBS} arrays")
            try:
                blobs.append(_blob(content))
            except Damaged as error:
                raise Damaged(f"layer {name!r}, array {len(blobs)}: {error}") from None
    return CaffeLayer(name, tuple(blobs))


def _blob(message: memoryview) -> NDArray[np.generic]:
    single, double = Floats("<f4"), Floats("<f8")
    legacy, shape = [1, 1, 1, 1], None
    for number, kind, value, content in fields(message):
        if number in LEGACY_SIDES and kind == VARINT:
            legacy[LEGACY_SIDES[number]] = signed(value)
        elif number == 5:
            single.add(kind, content)
        elif number == 8:
            double.add(kind, content)
        elif number == 7 and kind == BYTES:
            shape = dimensions(content)
    values = double.values() if double.parts or len(double.single) else single.values()
    return shaped(values, legacy if shape is None else shape)
