"""Writers of the foreign formats, from their specifications alone and apart from our readers."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import h5py
import numpy as np
import pytest

from denselab.encoders.vgg import BLOCKS

Arrays = Mapping[str, Sequence[np.ndarray]]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(array: np.ndarray, *, legacy: bool = False, packed: bool = True, double: bool = False) -> bytes:
    """BlobProto: data = 5, double_data = 8, shape = 7 {dim = 1}, or num, channels, height, width = 1 to 4."""
    if legacy:
        sides = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(number(i, side) for i, side in enumerate(sides, 1))
    else:
        head = chunk(7, chunk(1, b"".join(varint(side) for side in array.shape)))
    kind, code, field = ("<f8", 1, 8) if double else ("<f4", 5, 5)
    values = array.astype(kind).tobytes()
    if packed:
        return head + chunk(field, values)
    size = 8 if double else 4
    return head + b"".join(varint(field << 3 | code) + values[i : i + size] for i in range(0, len(values), size))


def caffemodel(layers: Arrays, *, generation: str = "layer", **options: bool) -> bytes:
    """NetParameter: name = 1; layer = 100 {name 1, type 2, blobs 7}, or layers = 2 {name 4, type 5 (enum), blobs 6}."""
    out = chunk(1, b"net")
    for name, arrays in layers.items():
        blobs = [blob(a, **options) for a in arrays]
        if generation == "layer":
            body = chunk(1, name.encode()) + chunk(2, b"Convolution") + b"".join(chunk(7, b) for b in blobs)
            out += chunk(100, body)
        else:
            body = chunk(2, b"bottom") + chunk(4, name.encode()) + number(5, 4) + b"".join(chunk(6, b) for b in blobs)
            out += chunk(2, body)
    return out


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries: Iterable[tuple[bytes, bytes]], interval: int = 4) -> bytes:
    """Keys share a prefix with the one before, but for every `interval`-th, whose offset is a restart point."""
    out, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + b"".join(struct.pack("<I", r) for r in restarts or [0]) + struct.pack("<I", len(restarts or [0]))


def sstable(entries: Sequence[tuple[bytes, bytes]], per_block: int = 7) -> bytes:
    out, handles = b"", []

    def add(content: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        out += content + b"\0" + struct.pack("<I", masked(crc32c(content + b"\0")))
        return handle

    for i in range(0, len(entries), per_block):
        part = entries[i : i + per_block]
        handles.append((part[-1][0], add(block(part))))
    meta = add(block([]))
    index = add(block(handles, interval=1))
    footer = meta + index
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def shape_proto(shape: Sequence[int]) -> bytes:
    return b"".join(chunk(2, number(1, side)) for side in shape)


DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def write_checkpoint(prefix: Path, variables: Mapping[str, np.ndarray], shards: int = 1) -> Path:
    """prefix.index and prefix.data-0000i-of-0000n; returns the index. Variables go to the shards in turn."""
    data = [bytearray() for _ in range(shards)]
    entries = [(b"", number(1, shards) + chunk(3, number(1, 1)))]
    for i, (name, array) in enumerate(sorted(variables.items())):
        raw, shard = array.tobytes(), i % shards
        entry = number(1, DTYPES[str(array.dtype)]) + chunk(2, shape_proto(array.shape))
        entry += (number(3, shard) if shard else b"") + number(4, len(data[shard])) + number(5, len(raw))
        entry += varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(raw) if len(raw) < 300 else fast_crc(raw)))
        entries.append((name.encode(), entry))
        data[shard] += raw
    for i, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}").write_bytes(content)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(sstable(entries))
    return index


def fast_crc(raw: bytes) -> int:
    """For long data: the package's own, which test_checksum holds against the bitwise one."""
    from denselab.convert.checksum import crc32c as compiled

    return compiled(memoryview(raw))


def tensor_proto(array: np.ndarray) -> bytes:
    """TensorProto {dtype 1, shape 2, ...} as tf.make_tensor_proto fills it: raw bytes (4) of two values and more, else a list.

    The lists: float_val 5, double_val 6, half_val 13 (the bits as integers). A scalar has a shape without dimensions.
    """
    head = number(1, DTYPES[str(array.dtype)]) + chunk(2, shape_proto(array.shape))
    if array.size > 1:
        return head + chunk(4, array.tobytes())
    return head + listed_values(array)


def listed_values(array: np.ndarray) -> bytes:
    """The values of a TensorProto one by one, packed; nothing where there are none."""
    if not array.size:
        return b""
    if array.dtype == np.float16:
        return chunk(13, b"".join(varint(int(bits)) for bits in array.ravel().view(np.uint16)))
    if array.dtype.kind == "i":
        return chunk(7 if array.dtype == np.int32 else 10, b"".join(varint(int(n)) for n in array.ravel()))
    return chunk(5 if array.dtype == np.float32 else 6, array.tobytes())


def node(name: str, operation: str, attributes: Mapping[str, bytes] = MappingProxyType({}), inputs: str = "") -> bytes:
    """NodeDef {name 1, op 2, input 3, attr 5 {key 1, value 2}} in a GraphDef's field 1."""
    found = chunk(1, name.encode()) + chunk(2, operation.encode()) + (chunk(3, inputs.encode()) if inputs else b"")
    return chunk(1, found + b"".join(chunk(5, chunk(1, k.encode()) + chunk(2, v)) for k, v in attributes.items()))


def frozen_graph(constants: Mapping[str, np.ndarray]) -> bytes:
    """A GraphDef: a Const and an Identity for each of `constants`, and nodes that look like weights and are none."""
    out = node("ImageTensor", "Placeholder", {"dtype": number(6, 4), "shape": chunk(7, shape_proto((1,)))})
    for name, array in constants.items():
        dtype = number(6, DTYPES[str(array.dtype)])
        out += node(name, "Const", {"dtype": dtype, "value": chunk(8, tensor_proto(array))})
        out += node(f"{name}/read", "Identity", {"T": dtype, "_class": chunk(1, chunk(2, b"loc:@x"))}, name)
    axes, one = np.array([1, 2], np.int32), np.ones(3, "f4")
    out += node("Mean/reduction_indices", "Const", {"dtype": number(6, 3), "value": chunk(8, tensor_proto(axes))})
    out += node("Shape/weights", "Const", {"dtype": number(6, 3), "value": chunk(8, tensor_proto(axes[0]))})
    out += node(
        "names", "Const", {"dtype": number(6, 7), "value": chunk(8, number(1, 7) + chunk(2, b"") + chunk(8, b"x"))}
    )
    out += node("aspp0/weights/Assign", "Assign", {"value": chunk(8, tensor_proto(one))}, "aspp0/weights")
    return out + chunk(4, number(1, 26))  # versions {producer 1}


@pytest.fixture(scope="session")
def write() -> SimpleNamespace:
    """The functions above, for tests of other files."""
    functions: list[Callable[..., object]] = [
        varint,
        number,
        chunk,
        blob,
        caffemodel,
        crc32c,
        masked,
        block,
        sstable,
        write_checkpoint,
        tensor_proto,
        listed_values,
        node,
        frozen_graph,
        shape_proto,
    ]
    return SimpleNamespace(**{f.__name__: f for f in functions})


@pytest.fixture(scope="session")
def hed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HED's file as Keras 3 writes it for the package's network, with small random numbers."""
    path = tmp_path_factory.mktemp("hed") / "hed.weights.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        channels = 3
        for number, block in enumerate(BLOCKS, 1):
            if number > 1:
                file.create_group(f"block{number}/layers/max_pooling2d/vars")
            for place, width in enumerate(block):
                group = file.create_group(f"block{number}/layers/conv2d{f'_{place}' if place else ''}/vars")
                group["0"] = rng.normal(0, 0.01, (3, 3, channels, width)).astype(np.float32)
                group["1"] = rng.normal(0, 0.01, width).astype(np.float32)
                channels = width
            file[f"dsn{number}/vars/0"] = np.zeros((1, 1, channels, 1), np.float32)
            file[f"dsn{number}/vars/1"] = np.zeros(1, np.float32)
        file["fuse/vars/0"], file["fuse/vars/1"] = np.full((1, 1, 5, 1), 0.2, np.float32), np.zeros(1, np.float32)
    return path
