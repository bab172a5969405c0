"""The one path from pictures to label maps, and model folders that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from denselab.engine.segmenter import (
    Architecture,
    Preprocessing,
    Segmenter,
    enlarge_logits,
    label_maps,
    load_segmenter,
    resolve_device,
    save_segmenter,
)
from denselab.errors import CheckpointError, ConfigError, NoSuchPath
from denselab.files import write_folder
from denselab.labels import LabelEntry, LabelSpace
from denselab.run_folder import find_model_folder
from denselab.tensors import pack_tensors

SPACE = LabelSpace(
    (
        LabelEntry(0, "ground", (0, 0, 0)),
        LabelEntry(7, "thing", (255, 0, 0)),
        LabelEntry(9, "void", (9, 9, 9), "ignore"),
    )
)
ARCHITECTURE = Architecture("deeplabv3plus", 2, "mobilenetv3_small_050")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    preprocessing = Preprocessing((32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return Segmenter(
        ARCHITECTURE.create().eval(), ARCHITECTURE, SPACE, preprocessing, torch.device("cpu"), {"miou": 0.5}
    )


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (2000, 30), (30, 2000), (64, 96)])
def test_labels_are_the_arg_max_of_probs_at_the_pictures_own_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    probs = segmenter.probs(image)
    assert probs.shape == (2, *size)
    np.testing.assert_allclose(probs.sum(axis=0), 1, atol=1e-5)
    agree = segmenter.labels(image) == probs.argmax(axis=0)
    assert agree[np.abs(probs[0] - probs[1]) > 1e-5].all()


def test_a_batch_of_mixed_sizes_keeps_its_order(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (30, 30), (40, 60), (9, 70))]
    together = segmenter.labels_batch(images)
    for image, labels in zip(images, together, strict=True):
        np.testing.assert_array_equal(labels, segmenter.labels(image))


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (61, 5), (200, 300)])
def test_label_maps_in_bands_equal_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 5, 7, 9, generator=torch.Generator().manual_seed(3))
    whole = enlarge_logits(logits, size).argmax(dim=1).numpy()
    monkeypatch.setattr("denselab.engine.segmenter.BAND_BYTES", 4 * 10 * size[1] * 2)  # two rows at a time
    np.testing.assert_array_equal(np.stack(label_maps(logits, size)), whole)


def test_folder_round_trip(segmenter: Segmenter, tmp_path: Path) -> None:
    save_segmenter(segmenter, tmp_path / "run" / "model")
    loaded = load_segmenter(tmp_path / "run", device="cpu")
    assert (loaded.architecture, loaded.preprocessing, loaded.label_space) == (
        ARCHITECTURE,
        segmenter.preprocessing,
        SPACE,
    )
    image = np.random.default_rng(4).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.labels(image), segmenter.labels(image))
    assert find_model_folder(tmp_path / "run") == tmp_path / "run" / "model"
    assert "2 classes" in (tmp_path / "run" / "model" / "README.md").read_text()


def change_config(segmenter: Segmenter, folder: Path, **changes: object) -> None:
    """A model folder whose config.json differs, with a manifest that fits."""
    save_segmenter(segmenter, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    write_folder(
        folder,
        {"config.json": json.dumps(config).encode(), "model.safetensors": pack_tensors(segmenter.model.state_dict())},
    )


def test_folders_that_do_not_fit_are_refused_by_name(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(NoSuchPath, match="does not exist"):
        load_segmenter(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model"):
        load_segmenter(tmp_path / "empty")
    change_config(segmenter, tmp_path / "newer", format=99)
    with pytest.raises(CheckpointError, match=r"format 99, written by DenseLab \d.*update"):
        load_segmenter(tmp_path / "newer")
    change_config(
        segmenter,
        tmp_path / "other",
        architecture={"name": "deeplabv3plus", "num_classes": 3, "encoder": "mobilenetv3_small_050"},
    )
    with pytest.raises(
        CheckpointError, match=r"shape \(2, 256, 1, 1\).*network has \(3, 256, 1, 1\)|shape \(2,\).*\(3,\)"
    ):
        load_segmenter(tmp_path / "other")
    change_config(segmenter, tmp_path / "half", preprocessing={"imgsz": [32, 48]})
    with pytest.raises(CheckpointError, match="mean"):
        load_segmenter(tmp_path / "half")
    write_folder(tmp_path / "pickle", {"config.json": b"\x80\x04.", "model.safetensors": b"\x80\x04."})
    with pytest.raises(CheckpointError, match="not JSON"):
        load_segmenter(tmp_path / "pickle")


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="'gpu5'"):
        resolve_device("gpu5")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="0 CUDA devices"):
            resolve_device("cuda")
