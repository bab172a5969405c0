"""Model folders: a round trip, and those that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from denselab.crf import Parameters
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.stored_spec import read_spec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError, NoSuchPath
from denselab.folders import write_folder
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
FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")
ARCHITECTURE = Architecture("deeplabv3plus", 2, "mobilenetv3_small_050")


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    torch.manual_seed(0)
    preprocessing = Preprocessing((32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return TorchEngine(
        ModelSpec(ARCHITECTURE, SPACE, preprocessing, {"miou": 0.5}), ARCHITECTURE.create().eval(), torch.device("cpu")
    )


def test_folder_round_trip(engine: TorchEngine, tmp_path: Path) -> None:
    save_engine(engine, tmp_path / "run" / "model")
    loaded = load_engine(tmp_path / "run", device="cpu")
    assert (loaded.spec.architecture, loaded.spec.preprocessing, loaded.spec.label_space) == (
        ARCHITECTURE,
        engine.spec.preprocessing,
        SPACE,
    )
    image = np.random.default_rng(4).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(loaded.logits(image[None]), engine.logits(image[None]), atol=1e-6)
    assert find_model_folder(tmp_path / "run") == tmp_path / "run" / "model"
    assert "2 classes" in (tmp_path / "run" / "model" / "README.md").read_text()


def change_config(engine: TorchEngine, folder: Path, **changes: object) -> None:
    """A model folder whose config.json differs, with a manifest that fits."""
    save_engine(engine, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    write_folder(
        folder,
        {"config.json": json.dumps(config).encode(), "model.safetensors": pack_tensors(engine.network.state_dict())},
    )


def test_folders_that_do_not_fit_are_refused_by_name(engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(NoSuchPath, match="does not exist"):
        load_engine(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model"):
        load_engine(tmp_path / "empty")
    change_config(engine, tmp_path / "newer", format=99)
    with pytest.raises(CheckpointError, match="format 99"):
        load_engine(tmp_path / "newer")
    change_config(
        engine,
        tmp_path / "other",
        architecture={"name": "deeplabv3plus", "num_classes": 3, "encoder": "mobilenetv3_small_050"},
    )
    with pytest.raises(CheckpointError, match="the label table has 2 classes, the network 3"):
        load_engine(tmp_path / "other")
    change_config(engine, tmp_path / "half", preprocessing={"imgsz": [32, 48]})
    with pytest.raises(CheckpointError, match="mean"):
        load_engine(tmp_path / "half")
    write_folder(tmp_path / "pickle", {"config.json": b"\x80\x04.", "model.safetensors": b"\x80\x04."})
    with pytest.raises(CheckpointError, match="not JSON"):
        load_engine(tmp_path / "pickle")


def test_what_a_model_is_can_be_read_without_its_weights(engine: TorchEngine, tmp_path: Path) -> None:
    save_engine(engine, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    assert read_spec(tmp_path / "m") == engine.spec


def test_an_engine_without_a_network_is_not_saved(engine: TorchEngine, tmp_path: Path) -> None:
    class Other:
        spec = engine.spec

    with pytest.raises(ConfigError, match="Other has no network"):
        save_engine(Other(), tmp_path / "m")  # type: ignore[arg-type]


def test_a_config_of_any_depth_is_refused(engine: TorchEngine, tmp_path: Path) -> None:
    """The look whether a folder is an ensemble ended as a fault of ours: RecursionError."""
    save_engine(engine, tmp_path)
    write_folder(tmp_path, {"config.json": b"[" * 100_000, "model.safetensors": b""})
    for read in (read_spec, load_engine):
        with pytest.raises(CheckpointError, match=r"config\.json"):
            read(tmp_path)


def set_deep(config: dict, path: str, value: object) -> dict:
    """A copy of the config in which the key at a dotted path has another value."""
    changed = json.loads(json.dumps(config))
    *parents, last = path.split(".")
    at = changed
    for key in parents:
        at = at[key]
    at[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("architecture.num_classes", 10**9, "num_classes"),
        ("architecture.num_classes", 0, "num_classes"),
        ("architecture.num_classes", 3, "the label table has 2 classes, the network 3"),
        ("architecture.in_channels", 10**8, "in_channels"),
        ("architecture.encoder", {"a": 1}, "encoder"),
        ("architecture.output_stride", -8, "output_stride"),
        ("architecture.crf_layer", {"iterations": 10**9}, "crf_layer.iterations"),
        ("preprocessing.imgsz", [0, 0], "imgsz"),
        ("preprocessing.imgsz", [-5, 32], "imgsz"),
        ("preprocessing.imgsz", [32], "imgsz"),
        ("preprocessing.std", [0.0, 0.0, 0.0], "std"),
        ("preprocessing.std", [float("nan"), 1, 1], "std"),
        ("preprocessing.mean", [0.5, 0.5], "mean has 2 and std 3 numbers"),
        ("preprocessing.pad_to", [10**6, 10**6], "pad_to"),
        ("preprocessing.train_scale", 0, "train_scale"),
        ("labels", [{"id": 0, "name": "one"}], "the label table has 1 classes, the network 2"),
        ("labels", "road", "labels"),
        ("crf", {"iterations": 10**9}, "crf.iterations"),
        ("scores", [], "scores"),
    ],
)
def test_numbers_that_no_model_has_are_refused_before_anything_is_built(
    engine: TorchEngine, tmp_path: Path, path: str, value: object, told: str
) -> None:
    """10^9 classes asked for 128 GB, a size of 0 ended inside torch, and a std of 0 predicted nonsense without a word."""
    save_engine(engine, tmp_path)
    config = set_deep(json.loads((tmp_path / "config.json").read_text()), path, value)
    write_folder(tmp_path, {"config.json": json.dumps(config).encode(), "model.safetensors": b""})
    for read in (read_spec, load_engine):
        with pytest.raises(CheckpointError, match=told):
            read(tmp_path)
