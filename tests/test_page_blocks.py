"""The Python of pages about trained models runs, with an untrained network in the place of the models that they name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from tests.test_docs import python_blocks

from denselab.data.pixels.spectral import SpectralBands
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.labels import LabelSpace

SIZE = (24, 32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a page's code runs in, with a picture."""
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    PILImage.fromarray(picture).save(tmp_path / "photo.jpg")
    return tmp_path


def save_model(folder: Path, space: LabelSpace, bands: SpectralBands | None = None) -> None:
    channels = bands.count if bands else 3
    architecture = Architecture("pixelwise", space.num_classes, in_channels=channels)
    seen = Preprocessing(SIZE, (0.5,) * channels, (0.25,) * channels, bands=bands)
    torch.manual_seed(0)
    save_engine(
        TorchEngine(ModelSpec(architecture, space, seen), architecture.create().eval(), torch.device("cpu")), folder
    )


def run(page: str, word: str, **names: Any) -> dict[str, Any]:
    """Run the blocks of a page that hold a word; returns what they leave."""
    found = [block for block in python_blocks(page) if word in block]
    assert found, f"docs/{page} has no Python with {word}"
    namespace: dict[str, Any] = dict(names)
    for block in found:
        exec(compile(block, f"docs/{page}", "exec"), namespace)
    return namespace


def test_bands(here: Path, space: LabelSpace, write_stack: Callable[..., Path]) -> None:
    names, none, full = ("blue", "green", "red", "nir"), (0.0,) * 4, (255.0,) * 4
    bands = SpectralBands(names, True, none, full, none, full, none, full, (2, 1, 0), (2, 1, 0), stored=4)
    save_model(here / "runs" / "fields", space, bands)
    numbers = np.random.default_rng(0).integers(0, 255, (*SIZE, 4)).astype(np.uint16)
    np.save(here / "field.npy", numbers)
    write_stack(here / "scene.tif", numbers)
    result = run("bands.md", "runs/fields")["result"]
    assert result.labels.shape == SIZE
    assert np.array_equal(result.image, numbers[..., [3, 2, 1]]), "near infrared is shown as red"


def test_boxes(here: Path, space: LabelSpace) -> None:
    pytest.importorskip("cv2")
    save_model(here / "runs" / "fruit", space)
    asked = []

    def my_boxes(image: np.ndarray) -> np.ndarray:
        asked.append(image.shape)
        return np.array([[2, 3, 20, 30]])

    result = run("deconvnet.md", "runs/fruit", my_boxes=my_boxes)["result"]
    assert result.labels.shape == SIZE
    assert asked == [(*SIZE, 3)]


def test_folds_together(here: Path, space: LabelSpace) -> None:
    for fold in (1, 2):
        save_model(here / "compare" / "fruit" / "runs" / f"deeplabv3plus-fold{fold}-seed0", space)
    assert len(run("competition.md", "models/fruit")["folds"]) == 2
    shutil.rmtree(here / "compare")
    import denselab as dl

    assert dl.load("models/fruit")("photo.jpg").labels.shape == SIZE, "it holds the models themselves"
