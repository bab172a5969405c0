"""CRC-32C (Castagnoli) as LevelDB and TensorFlow use it."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from denselab.compiled import compiled

POLYNOMIAL = 0x82F63B78  # reflected 0x1EDC6F41


def crc32c(data: memoryview) -> int:
    """The CRC-32C of some bytes; runs at a few hundred MB per second."""
    loop, table = _compiled()
    return int(loop(np.frombuffer(data, np.uint8), table))


def masked(checksum: int) -> int:
    """The form in which LevelDB stores a checksum, because a CRC of data that contain their own CRC is a poor one."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc_table() -> NDArray[np.uint32]:
    """(256,) uint32: what one byte does to the register."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


def crc_of_bytes(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> int:
    """The loop over bytes, to be compiled."""
    register = np.uint32(0xFFFFFFFF)
    for byte in data:
        register = table[(register ^ byte) & np.uint32(0xFF)] ^ (register >> np.uint32(8))
    return int(register ^ np.uint32(0xFFFFFFFF))


@cache
def _compiled() -> tuple[Callable[..., int], NDArray[np.uint32]]:
    return compiled(crc_of_bytes), crc_table()
