"""Compiles the CRF's loops for a number of classes by refining a tiny picture: what `compile_apart` starts."""

import logging
import sys

import numpy as np

from denselab.crf.compile_apart import PLAIN, RAN_OUT
from denselab.crf.parameters import PRESETS
from denselab.crf.refinement import refine

SIDE = 32  # pixels of the picture


def main(num_classes: str, *words: str) -> int:
    """Compile, say so on stdout, and return the exit code. words: PLAIN leaves out the loops of half resolution."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        compile_loops(int(num_classes), plain=PLAIN in words)
    except MemoryError:
        return RAN_OUT
    return 0


def compile_loops(num_classes: int, plain: bool = False) -> None:
    """Run every preset, at full and, unless plain, at half resolution, for a number of classes."""
    image = np.arange(SIDE * SIDE * 3, dtype=np.uint32).reshape(SIDE, SIDE, 3).astype(np.uint8)
    probabilities = np.full((num_classes, SIDE, SIDE), 1 / num_classes, np.float32)
    for preset in PRESETS:
        for fast in (False,) if plain else (False, True):
            refine(image, probabilities, preset, iterations=2, fast=fast)
