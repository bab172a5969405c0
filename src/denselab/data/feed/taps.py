"""The taps of the triangle filter along one axis: which pixels of a picture make a pixel of its scaled frame."""

from typing import Any

import numpy as np

from denselab.compiled import compiled


@compiled
def axis_taps(length: int, target: int, first: int, count: int) -> Any:
    """Per frame position first..first+count-1: its first tap, and its weights (taps, count), of sum 1; 0 outside."""
    scale = length / target
    support = max(scale, 1.0)
    starts = np.zeros(count, np.int64)
    weights = np.zeros((2 * int(np.ceil(support)) + 1, count), np.float32)
    most = 1
    for j in range(count):
        position = first + j
        if position < 0 or position >= target:
            continue
        centre = (position + 0.5) * scale
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), length)
        number = 0
        total = 0.0
        for tap in range(low, high):
            weight = 1.0 - abs(tap + 0.5 - centre) / support
            if weight > 0.0:
                if number == 0:
                    starts[j] = tap
                weights[number, j] = weight
                total += weight
                number += 1
        most = max(most, number)
        for tap in range(number):
            weights[tap, j] /= total
    return starts, weights[:most]
