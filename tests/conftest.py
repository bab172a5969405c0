"""Fixtures that several parts share: the real test pictures, a tiny data set and the settings of a run that takes a second."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from denselab.data import Dataset, open_dataset
from denselab.data.synthetic import write_synthetic

settings.register_profile("denselab", deadline=None)  # tests never time anything
settings.load_profile("denselab")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TINY: dict[str, Any] = {
    "model": "deeplabv3plus",
    "encoder": "mobilenetv3_small_050",
    "pretrained": "no",
    "imgsz": (32, 48),
    "batch": 4,
    "device": "cpu",
    "workers": 0,
    "epochs": 2,
    "validations": 2,
    "lr": 1e-3,
    "ema": 0.9,
    "seed": 3,
}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test pictures beside the checkout; a clone elsewhere has none and skips."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test pictures (../shared/data) are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """12 training and 4 validation scenes of 48x64 pixels."""
    root = write_synthetic(tmp_path_factory.mktemp("tiny"), train=12, val=4, size=(48, 64), seed=5)
    return open_dataset(root)


@pytest.fixture(scope="session")
def tiny(tiny_data: Dataset) -> dict[str, Any]:
    """Settings of a short run; copy and change what a test is about."""
    return {"data": str(tiny_data.root), **TINY}
