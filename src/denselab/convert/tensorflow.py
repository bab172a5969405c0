"""Reads TensorFlow weights without TensorFlow: checkpoints of format V2, and frozen graphs.

A checkpoint `model.ckpt-30000` is an index, model.ckpt-30000.index (a sorted table of name -> BundleEntryProto,
tensorflow/core/protobuf/tensor_bundle.proto), and one or more files model.ckpt-30000.data-00000-of-00001 of raw values.
A frozen graph is a GraphDef whose Const nodes hold the values (graph.proto, node_def.proto, tensor.proto).
"""

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.convert.checksum import crc32c, masked
from denselab.convert.sstable import table_entries
from denselab.errors import CheckpointError
from denselab.wire import (
    BYTES,
    FIXED32,
    MAX_DIMENSIONS,
    VARINT,
    Damaged,
    Floats,
    fields,
    map_file,
    refused,
    shaped,
    signed,
    text,
    varints,
)

HALF = 19  # DataType: DT_HALF
FLOATS = {1: "<f4", 2: "<f8", HALF: "<f2"}  # DT_FLOAT, DT_DOUBLE, DT_HALF: the dtypes of weights
LISTED = {1: 5, 2: 6, HALF: 13}  # TensorProto's float_val, double_val and half_val, the bits of a half as an integer
MAX_MADE = 1 << 28  # values
MAX_TENSORS = 100_000
CHECKPOINT, GRAPH = "TensorFlow checkpoint (V2)", "frozen TensorFlow graph (GraphDef)"
SHARD = re.compile(r"(?P<prefix>.+)\.data-\d{5}-of-\d{5}")


def read_tensorflow(path: Path) -> dict[str, NDArray[np.generic]]:
    """{variable: values} of a checkpoint or a frozen graph.

    path: a checkpoint (its .index, its prefix, a data file, or a folder with only one), or a .pb

    Only floating-point variables, float16 to float64, mapped read-only; steps and strings are left out. Raises
    CheckpointError that names the file.
    """
    index = checkpoint_index(path)
    if index is not None:
        return read_checkpoint(index)
    if path.is_file():
        return read_frozen_graph(path)
    raise CheckpointError(f"{path} is neither a checkpoint ({path.name}.index) nor a frozen graph; check the path")


def checkpoint_index(path: Path) -> Path | None:
    """The index file of the checkpoint at `path`, or None. Raises CheckpointError for a folder without exactly one."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            names = ", ".join(f.name for f in found[:5]) or "none"
            raise CheckpointError(
                f"{path} holds {len(found)} checkpoints ({names}); name the .index file that is meant"
            )
        return found[0]
    if path.suffix == ".index":
        return path
    shard = SHARD.fullmatch(path.name)
    beside = path.with_name(f"{shard['prefix'] if shard else path.name}.index")
    return beside if beside.is_file() else None


@dataclass
class _Entry:
    """BundleEntryProto: where a variable is stored."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0
    sliced: bool = False


def read_checkpoint(index: Path) -> dict[str, NDArray[np.generic]]:
    """{variable: values} of model.ckpt.index and the data files beside it. Every checksum is verified.

    Raises CheckpointError that names the file.
    """
    try:
        entries = dict(_entries(index))
        shards = _shards(index, entries.pop("", None))
        listed, held = sum(entry.size for entry in entries.values()), sum(map(len, shards))
        if listed > held:  # overlapping entries would be read many times
            raise Damaged("its variables take more bytes than its data files have")
        return {name: _values(name, entry, shards) for name, entry in entries.items() if entry.dtype in FLOATS}
    except Damaged as error:
        raise refused(index, CHECKPOINT, error) from None


def _entries(index: Path) -> Iterator[tuple[str, _Entry]]:
    for count, (key, value) in enumerate(table_entries(map_file(index))):
        if count > MAX_TENSORS:
            raise Damaged(f"more than {MAX_TENSORS} variables")
        yield key.decode("utf-8", errors="backslashreplace"), _entry(value) if key else _header(value)


def _header(message: memoryview) -> _Entry:
    """BundleHeaderProto, of which only the number of shards is kept."""
    header = _Entry(shard=1)
    for number, kind, value, _ in fields(message):
        if number == 1 and kind == VARINT:
            header.shard = value
        elif number == 2 and kind == VARINT and value != 0:
            raise Damaged("it was written on a big-endian machine")
    return header


def _entry(message: memoryview) -> _Entry:
    entry = _Entry()
    for number, kind, value, content in fields(message):
        if number == 1 and kind == VARINT:
            entry.dtype = value
        elif number == 2 and kind == BYTES:
            entry.shape = _shape(content)
        elif number == 3 and kind == VARINT:
            entry.shard = value
        elif number == 4 and kind == VARINT:
            entry.offset = value
        elif number == 5 and kind == VARINT:
            entry.size = value
        elif number == 6 and kind == FIXED32:
            entry.checksum = int.from_bytes(content, "little")
        elif number == 7:
            entry.sliced = True
    return entry


def _shape(message: memoryview) -> list[int]:
    """TensorShapeProto: one message per dimension, its size in field 1 (omitted if it is 0)."""
    sizes: list[int] = []
    for number, kind, _, content in fields(message):
        if number == 2 and kind == BYTES:
            sizes.append(next((signed(v) for n, k, v, _ in fields(content) if n == 1 and k == VARINT), 0))
        if len(sizes) > MAX_DIMENSIONS:
            raise Damaged(f"a shape of more than {MAX_DIMENSIONS} dimensions")
    return sizes


def _shards(index: Path, header: _Entry | None) -> list[memoryview]:
    if header is None or not 1 <= header.shard < 1000:
        raise Damaged("it has no header with a number of data files")
    total = header.shard
    return [map_file(index.with_name(f"{index.stem}.data-{i:05d}-of-{total:05d}")) for i in range(total)]


def _values(name: str, entry: _Entry, shards: list[memoryview]) -> NDArray[np.generic]:
    if entry.sliced:
        raise Damaged(f"variable {name!r} is stored in slices; save the checkpoint without partitions")
    if entry.shard >= len(shards) or entry.offset + entry.size > len(shards[entry.shard]):
        raise Damaged(f"variable {name!r} lies beyond the end of its data file")
    content = shards[entry.shard][entry.offset : entry.offset + entry.size]
    dtype = np.dtype(FLOATS[entry.dtype])
    if len(content) % dtype.itemsize:
        raise Damaged(f"variable {name!r} has {len(content)} bytes of {dtype.itemsize} each")
    if masked(crc32c(content)) != entry.checksum:
        raise Damaged(f"the values of {name!r} do not have their checksum")
    return _named(name, np.frombuffer(content, dtype), entry.shape)


def _named(name: str, values: NDArray[np.generic], shape: list[int]) -> NDArray[np.generic]:
    try:
        return shaped(values, shape)
    except Damaged as error:
        raise Damaged(f"variable {name!r}: {error}") from None


@dataclass
class _Room:
    """How many more values may be made by repeating one: a graph of a few bytes can claim any number."""

    left: int = MAX_MADE

    def take(self, count: int) -> None:
        if count > self.left:
            raise Damaged(f"more than {MAX_MADE} values in it are repeated ones")
        self.left -= count


def read_frozen_graph(path: Path) -> dict[str, NDArray[np.generic]]:
    """{Const node: values} of a GraphDef, floating-point ones only. Raises CheckpointError that names the file."""
    found: dict[str, NDArray[np.generic]] = {}
    room = _Room()
    try:
        for number, kind, _, content in fields(map_file(path)):
            if number != 1 or kind != BYTES:
                continue
            name, tensor = _constant(content, room)
            if tensor is not None:
                found[name] = tensor
            if len(found) > MAX_TENSORS:
                raise Damaged(f"more than {MAX_TENSORS} constants")
    except Damaged as error:
        raise refused(path, GRAPH, error) from None
    if not found:
        raise CheckpointError(f"{path} holds no constants; a frozen TensorFlow graph was expected, or another `source`")
    return found


def _constant(node: memoryview, room: _Room) -> tuple[str, NDArray[np.generic] | None]:
    """(name, values) of a NodeDef; no values unless it is a floating-point Const."""
    name, operation, value = "", "", None
    for number, kind, _, content in fields(node):
        if kind != BYTES:
            continue
        if number == 1:
            name = text(content)
        elif number == 2:
            operation = text(content)
        elif number == 5:
            attribute = {n: c for n, k, _, c in fields(content) if k == BYTES and n in (1, 2)}
            if bytes(attribute.get(1, b"")) == b"value":
                value = next((c for n, k, _, c in fields(attribute.get(2, node[:0])) if n == 8 and k == BYTES), None)
    return name, _tensor(name, value, room) if operation == "Const" and value is not None else None


def _tensor(name: str, message: memoryview, room: _Room) -> NDArray[np.generic] | None:
    """TensorProto: raw values in tensor_content, else listed in the field of their dtype. None for other dtypes."""
    dtype, shape, raw = 0, [], None
    listed = {field: Floats(FLOATS[of]) for of, field in LISTED.items() if of != HALF}
    halves = array("H")
    for number, kind, value, content in fields(message):
        if number == 1 and kind == VARINT:
            dtype = value
        elif number == 2 and kind == BYTES:
            shape = _shape(content)
        elif number == 4 and kind == BYTES:
            raw = content
        elif number in listed:
            listed[number].add(kind, content)
        elif number == LISTED[HALF]:
            halves.extend(bits & 0xFFFF for bits in varints(kind, value, content))
    if dtype not in FLOATS:
        return None
    if raw is not None and len(raw):
        if len(raw) % np.dtype(FLOATS[dtype]).itemsize:
            raise Damaged(f"constant {name!r} has {len(raw)} bytes of dtype {FLOATS[dtype]}")
        return _named(name, np.frombuffer(raw, FLOATS[dtype]), shape)
    values = np.frombuffer(halves, FLOATS[HALF]) if dtype == HALF else listed[LISTED[dtype]].values()
    return _completed(name, values, shape, room)


def _completed(name: str, values: NDArray[np.generic], shape: list[int], room: _Room) -> NDArray[np.generic]:
    """Listed values in their shape.

    If fewer are listed than the shape has, the last is repeated; if none, all are zero. A scalar, which TensorFlow
    always lists, has the shape (). A tensor with one value throughout is a view of it, whatever its size.
    """
    count = math.prod(shape)
    if len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0 or values.size >= count:
        return _named(name, values, shape)
    if values.size > 1:
        room.take(count)
        return _named(name, np.concatenate([values, np.broadcast_to(values[-1], count - values.size)]), shape)
    try:
        return np.broadcast_to(values[0] if values.size else np.zeros((), values.dtype), shape)
    except ValueError as error:
        raise Damaged(f"constant {name!r} of shape {tuple(shape[:8])}: {error}") from None
