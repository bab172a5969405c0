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
