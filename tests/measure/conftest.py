"""A data set whose pictures are flat in the colours of the classes that the nearest-colour network knows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.data import Dataset, Item
from denselab.data.item import FileLabels
from denselab.labels import LabelSpace


@pytest.fixture
def flat(space: LabelSpace, tmp_path: Path) -> Dataset:
    """Picture i is flat in the colour of class i."""
    folder, items = tmp_path / "data", []
    folder.mkdir()
    for index, entry in enumerate(space.classes):
        PILImage.new("RGB", (6, 4), entry.colour).save(folder / f"p{index}.png")
        PILImage.fromarray(np.full((4, 6), entry.id, np.uint8)).save(folder / f"l{index}.png")
        items.append(Item(f"p{index}", folder / f"p{index}.png", FileLabels(folder / f"l{index}.png"), "val"))
    return Dataset(folder, "test", "index", space, tuple(items))
