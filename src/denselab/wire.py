"""Protocol buffers without their library: the wire format, read field by field from a memory map.

https://protobuf.dev/programming-guides/encoding: a message is a sequence of (key, value) pairs; the key holds the
field's number and one of four kinds of value. Nothing is copied until an array is asked for, nothing recurses, and no
size that the file claims is trusted: a field that reaches beyond its message raises CheckpointError.
"""

import mmap
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denselab.documents import Unreadable, open_ordinary
from denselab.errors import CheckpointError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 (groups) are not used by the files read here
MAX_VARINT_BYTES = 10
WORTH_MAPPING = 4096  # bytes; shorter runs are gathered, so that a million of them do not make a million objects
MAX_DIMENSIONS = 32  # numpy's old limit; no kernel has more than four


class Damaged(Exception):
    """What is wrong in a file, without its name; readers turn it into CheckpointError with `refused`."""


def refused(path: Path, kind: str, error: Exception) -> CheckpointError:
    """The error for a file that is not of its `kind`, or is damaged."""
    return CheckpointError(
        f"{path} is not a {kind}, or is damaged: {error}; download it again and compare its checksum"
    )


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped. Raises CheckpointError for a missing or empty file."""
    try:
        with open_ordinary(path) as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; check the path") from None
    except Unreadable as error:
        raise CheckpointError(f"{path} cannot be read: {error}; give a file") from None
    except ValueError:
        raise CheckpointError(f"{path} is empty; download it again") from None


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, position after it) of the base-128 number at `at`."""
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if at + i >= len(data):
            raise Damaged("it ends in the middle of a number")
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + i + 1
    raise Damaged(f"a number at byte {at} has more than {MAX_VARINT_BYTES} bytes")


def signed(value: int) -> int:
    """A varint as the int32 or int64 that it encodes (two's complement in 64 bits)."""
    return value - (1 << 64) if value >> 63 else value


def fields(message: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """(number, wire type, value, bytes) of each field in order; a varint has a value, other kinds have bytes."""
    at, nothing = 0, message[:0]
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0 or number >= 1 << 29:
            raise Damaged(f"field number {number}")
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, kind, value, nothing
            continue
        if kind == BYTES:
            size, at = varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise Damaged(f"field {number} has wire type {kind}")
        if size > len(message) - at:
            raise Damaged(f"field {number} claims {size} bytes where {len(message) - at} are left")
        yield number, kind, 0, message[at : at + size]
        at += size


def field(number: int, kind: int, value: int, content: bytes | memoryview) -> bytes:
    """A field as `fields` yields it, in bytes again."""
    key = as_varint(number << 3 | kind)
    if kind == VARINT:
        return key + as_varint(value)
    return b"".join((key, as_varint(len(content)) if kind == BYTES else b"", content))


def as_varint(value: int) -> bytes:
    """A number of 0 or more in base 128."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def text(value: memoryview) -> str:
    """A string field; bytes that are not UTF-8 are shown as escapes."""
    return bytes(value).decode("utf-8", errors="backslashreplace")


def varints(kind: int, value: int, content: memoryview) -> Iterator[int]:
    """The numbers in one field of a repeated integer: a single one, or a packed run."""
    if kind == VARINT:
        yield value
    at = 0
    while at < len(content):
        number, at = varint(content, at)
        yield number


def dimensions(message: memoryview) -> list[int]:
    """The sizes of a shape message whose field 1 is a repeated int64, packed or not."""
    sizes: list[int] = []
    for number, kind, value, content in fields(message):
        for size in varints(kind, value, content) if number == 1 else ():
            sizes.append(signed(size))
            if len(sizes) > MAX_DIMENSIONS:
                raise Damaged(f"a shape of more than {MAX_DIMENSIONS} dimensions")
    return sizes


class Floats:
    """A repeated float or double: packed (one run of bytes) or one field per value. Mapped bytes stay mapped."""

    def __init__(self, dtype: str) -> None:
        """Start empty.

        dtype: "<f4" or "<f8", little-endian as on the wire
        """
        self.dtype = np.dtype(dtype)
        self.single_kind = FIXED32 if self.dtype.itemsize == 4 else FIXED64
        self.parts: list[memoryview] = []
        self.single = array("B")

    def add(self, kind: int, content: memoryview) -> None:
        """Add one field."""
        if kind not in (BYTES, self.single_kind) or len(content) % self.dtype.itemsize:
            raise Damaged(f"numbers of wire type {kind} in {len(content)} bytes; {self.dtype.itemsize} each expected")
        if len(content) >= WORTH_MAPPING:
            self._close()
            self.parts.append(content)
        else:
            self.single.frombytes(content)

    def values(self) -> NDArray[np.floating]:
        """All values in order, one-dimensional; read-only if the file is mapped."""
        self._close()
        arrays = [np.frombuffer(part, self.dtype) for part in self.parts]
        return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, self.dtype), *arrays])

    def _close(self) -> None:
        if len(self.single):
            self.parts.append(memoryview(self.single))
            self.single = array("B")


def shaped(values: NDArray[np.generic], shape: list[int]) -> NDArray[np.generic]:
    """`values` in the shape that the file states. Raises Damaged if their numbers differ."""
    count = 1
    for size in shape:
        count *= size
    if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape) or count != values.size:
        raise Damaged(f"shape {tuple(shape[:8])} with {values.size} values")
    return values.reshape(shape)
