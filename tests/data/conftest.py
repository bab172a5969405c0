"""Tiny data sets for the tests of reading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save("images/a.png", array, palette=None, **options): writes below tmp_path; 2-D numbers, RGB, RGBA or bool."""

    def write(name: str, pixels: Any, palette: list[int] | None = None, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.asarray(pixels)
        if array.dtype == np.int64:
            array = array.astype(np.uint8)
        picture = Image.fromarray(array)
        if palette is not None:
            picture.putpalette(palette)
        picture.save(path, **options)
        return path

    return write


@pytest.fixture
def photo() -> Callable[..., Any]:
    """photo(height, width, seed): a noisy RGB picture that no rule takes for a label."""

    def make(height: int = 6, width: int = 8, seed: int = 0) -> Any:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """write("train.txt", text): a text file below tmp_path."""

    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put


BRUSH_WIDTHS = (3, 4, 8, 16)


def _packed(values: Any, runs: Any) -> list[int]:
    """Bytes of values (0..255) in blocks: runs = [(repeated, length)], lengths in the narrowest width that holds them."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in BRUSH_WIDTHS)
    position = 0
    for repeated, length in runs:
        which = next(n for n, width in enumerate(BRUSH_WIDTHS) if length - 1 < 2**width)
        bits += f"{repeated:b}{which:02b}" + f"{length - 1:0{BRUSH_WIDTHS[which]}b}"
        block = values[position : position + (1 if repeated else length)]
        bits += "".join(f"{int(value):08b}" for value in block)
        position += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def _blocks(values: Any) -> list[tuple[bool, int]]:
    """The runs of equal values, those shorter than three in one block as they stand."""
    runs, start = [], 0
    while start < len(values):
        end = start + 1
        while end < len(values) and values[end] == values[start]:
            end += 1
        if end - start < 3 and runs and not runs[-1][0] and runs[-1][1] < 60000:
            runs[-1] = (False, runs[-1][1] + end - start)
        else:
            runs.append((end - start >= 3, end - start))
        start = end
    return runs


@pytest.fixture(scope="session")
def packed_mask() -> Callable[[Any], list[int]]:
    """packed_mask(mask): the bytes of a mask as Label Studio writes it: RGBA, all four the same."""

    def pack(mask: Any) -> list[int]:
        values = np.repeat(np.asarray(mask, dtype=np.uint8).ravel() * 255, 4)
        return _packed(values, _blocks(values))

    return pack
