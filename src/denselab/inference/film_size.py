"""Whether a film file was cut short: AVI, MP4 and Matroska say how long they are, and decoders do not look at it.

RIFF: Microsoft's "AVI RIFF File Reference" and the OpenDML extensions. MP4, MOV: ISO/IEC 14496-12, section 4.2.
Matroska, WebM: RFC 8794, section 4 (EBML's lengths), and RFC 9559. Others, such as MPEG streams, may end anywhere.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot")  # that MP4 and MOV begin with
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
UNFINISHED = (0, 2**32 - 1)  # lengths of a RIFF file whose writer did not come back to them


def cut_short(path: Path) -> str:
    """How many of its bytes are there, in words; "" where the file is whole or does not say."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            end = _reader(file.read(8))(file, size)
    except OSError:
        return ""
    return f"cut short, {size:,} of {end:,} bytes" if end > size else ""


def _reader(head: bytes) -> Callable[[BinaryIO, int], int]:
    if head[:4] == b"RIFF":
        return _riff_end
    if head[:4] == EBML:
        return _matroska_end
    return _box_end if head[4:8] in BOXES else lambda file, size: 0


def _riff_end(file: BinaryIO, size: int) -> int:
    """Where the last of the chunks called RIFF ends; OpenDML has one for each gigabyte."""
    start = end = 0
    while start < size:
        file.seek(start)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in UNFINISHED:
            break
        end = start + 8 + length
        start = end + length % 2  # a byte of padding
    return end


def _box_end(file: BinaryIO, size: int) -> int:
    """Where the last box ends. A length of 1 is followed by one of 64 bits, one of 0 goes to the end of the file."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not head[4:8].isalnum():
            break
        end += length
    return end


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Where the segment ends, which holds everything but the head; 0 where it was written without a length."""
    file.seek(len(EBML))
    length = _ebml_length(file)
    if length is None:
        return 0
    file.seek(length, os.SEEK_CUR)
    if file.read(len(SEGMENT)) != SEGMENT:
        return 0
    length = _ebml_length(file)
    return 0 if length is None else file.tell() + length


def _ebml_length(file: BinaryIO) -> int | None:
    """A length: as many leading zeros as bytes follow the first, then a one, then its bits; all ones: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    value = int.from_bytes(first + file.read(more), "big") & (1 << bits) - 1
    return None if value == (1 << bits) - 1 else value
