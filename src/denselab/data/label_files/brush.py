"""Label Studio's packed brush masks: RGBA pixels, whose alpha is the mask, as runs of bits (@thi.ng/rle-pack).

The stream: 32 bits for the number of values (4 for each pixel), 5 bits for the width of a value less 1, four times 4
bits for the widths of a length less 1. Then blocks: 1 bit that says whether the block repeats one value, 2 bits that
choose the width of the length, the length less 1, and one value or as many as the length says.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from denselab.errors import DataError


def brush_mask(packed: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) mask of packed bytes 0..255. Raises DataError where they end too early or are of another size."""
    values = unpacked(packed, 4 * size[0] * size[1])
    return np.asarray(values.reshape(*size, 4)[..., 3] > 0)


def unpacked(packed: Sequence[int], expected: int) -> NDArray[np.uint8]:
    """(expected,) uint8 values of a packed stream. Raises DataError where it claims another number of them."""
    bits = np.unpackbits(np.asarray(packed, dtype=np.uint8))
    powers = 1 << np.arange(31, -1, -1, dtype=np.int64)
    position = 0

    def take(count: int) -> int:
        nonlocal position
        position += count
        if position > len(bits):
            raise DataError("a brush mask ends within a number")
        return int(bits[position - count : position] @ powers[32 - count :])

    total, width = take(32), take(5) + 1
    if total != expected:
        raise DataError(f"a brush mask of {total} values, but the picture has {expected} (height x width x RGBA)")
    lengths = [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, dtype=np.uint8), 0
    while done < total:
        repeated = take(1)
        end = min(done + take(lengths[take(2)]) + 1, total)
        if repeated:
            values[done:end] = take(width)
        else:
            stop = position + (end - done) * width
            if stop > len(bits):
                raise DataError("a brush mask ends within a number")
            values[done:end] = bits[position:stop].reshape(-1, width) @ powers[32 - width :]
            position = stop
        done = end
    return values
