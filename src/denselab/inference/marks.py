"""What a result says of itself: what it was made from, and whether it is still as it was written.

A label PNG (W3C PNG, third edition) says so in two tEXt chunks. The mark lies ahead of the pixels, so it is read
without them. The seal, a digest of all bytes before it, lies behind them: what somebody painted over has none, or one
that does not fit. GeoTIFF and GeoJSON end in such a seal too: readers of TIFF pass over bytes that no tag points at,
and RFC 7946 (6.1) allows further members.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from denselab.data.pixels.png_rows import SIGNATURE

MARK, SEAL = "denselab", "denselab-seal"  # keys of the texts
END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk: length, name, nothing, and its sum
LARGEST_CHUNK = 2**20  # of tEXt that is looked at
# what stands before and behind the digest
TIFF_SEAL = (b"\ndenselab-seal ", b"\n")
JSON_SEAL = (b',\n"denselab-seal": "', b'"}\n')
DIGEST = 16  # bytes
BLOCK = 2**20  # bytes that are read at a time


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def text_chunk(key: str, text: str) -> bytes:
    """A chunk that holds a text under a key."""
    return chunk(b"tEXt", f"{key}\0{text}".encode())


SEALED = len(text_chunk(SEAL, "0" * 2 * DIGEST) + END)  # bytes of the seal and of the end


def sealed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a PNG with its seal. pieces: of one without its end."""
    digest = blake2b(digest_size=DIGEST)
    for piece in pieces:
        digest.update(piece)
        yield piece
    yield text_chunk(SEAL, digest.hexdigest()) + END


def read_mark(file: BinaryIO) -> str:
    """The mark of a label PNG, from an open file; "" where it has none, or is no PNG, or was cut short."""
    return _texts(file).get(MARK, "") if _is_whole(file) else ""


def change_of(file: BinaryIO) -> str:
    """A digest of a PNG that is not as it was written; "" for one that is, and for no PNG or one that was cut short.

    One with a mark and no seal at all is of a version that made none.
    """
    if not _is_whole(file):
        return ""
    texts = _texts(file)
    start = max(file.seek(0, os.SEEK_END) - SEALED, 0)
    digest = _digest(file, start)
    tail = file.read()
    older = MARK in texts and SEAL not in texts and SEAL.encode() not in tail
    if older or tail == text_chunk(SEAL, digest.hexdigest()) + END:
        return ""
    digest.update(tail)
    return digest.hexdigest()


def seal(path: Path, kind: tuple[bytes, bytes]) -> None:
    """Put a seal behind all that a file holds. kind: TIFF_SEAL or JSON_SEAL."""
    with path.open("r+b") as file:
        file.write(kind[0] + _digest(file, path.stat().st_size).hexdigest().encode() + kind[1])


def edited(file: BinaryIO) -> str:
    """A digest of a GeoTIFF or GeoJSON that is not as it was written; "" for one that is."""
    size = file.seek(0, os.SEEK_END)
    for before, behind in (TIFF_SEAL, JSON_SEAL):
        digest = _digest(file, max(size - len(before) - 2 * DIGEST - len(behind), 0))
        if file.read() == before + digest.hexdigest().encode() + behind:
            return ""
    return _digest(file, size).hexdigest()


def _digest(file: BinaryIO, left: int) -> blake2b:
    """The digest of the first bytes of a file, which is left behind them."""
    file.seek(0)
    digest = blake2b(digest_size=DIGEST)
    while left and (block := file.read(min(left, BLOCK))):
        digest.update(block)
        left -= len(block)
    return digest


def _is_whole(file: BinaryIO) -> bool:
    """Whether a file has the beginning and the end of a PNG."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE or file.seek(0, os.SEEK_END) < len(SIGNATURE + END):
        return False
    file.seek(-len(END), os.SEEK_END)
    return file.read() == END


def _texts(file: BinaryIO) -> dict[str, str]:
    """The texts of a PNG by key, of those ahead of its pixels."""
    found: dict[str, str] = {}
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT" or length > LARGEST_CHUNK:
            break
        content = file.read(length + 4)[:-4]
        if name == b"tEXt":
            key, _, text = content.partition(b"\0")
            found.setdefault(key.decode("latin-1"), text.decode("latin-1"))
    return found
