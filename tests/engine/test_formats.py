"""Every form that config.json of a model folder has had, as literal configs."""

import json
from pathlib import Path

import pytest
import torch

from denselab import __version__
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.formats import FORMAT, current_config, current_weights, stamped_config
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError
from denselab.folders import read_folder, write_folder
from denselab.labels import LabelEntry, LabelSpace
from denselab.tensors import pack_tensors, unpack_tensors

LABELS = [{"id": 0, "name": "a", "colour": [0, 0, 0], "role": "class"}]
NETWORK = {
    "name": "unet_small",
    "num_classes": 1,
    "encoder": None,
    "output_stride": None,
    "in_channels": 3,
    "aux": False,
}
SEEN = {"imgsz": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "train_scale": 1.0}
CRF = {"theta_alpha": 1.0, "iterations": 5}
NEWEST = {
    "written_by": None,
    "architecture": {**NETWORK, "crf_layer": None, "frozen_norm": False},
    "labels": LABELS,
    "preprocessing": {**SEEN, "fit": "inside", "pad_to": None, "white": None, "bands": None},
    "scores": {},
    "crf": None,
    "started_from": None,
}


def test_the_first_folders_lack_what_came_later() -> None:
    first = {"format": 1, "architecture": NETWORK, "labels": LABELS, "preprocessing": SEEN}
    assert current_config(first, "config.json") == NEWEST


def test_what_the_later_ones_of_format_1_say_stays() -> None:
    later = {
        "format": 1,
        "architecture": {**NETWORK, "crf_layer": {"iterations": 5}, "frozen_norm": True},
        "labels": LABELS,
        "preprocessing": {**SEEN, "fit": "shrink", "pad_to": [513, 513], "white": 4095},
        "scores": {"miou": 0.5},
        "crf": CRF,
    }
    assert {**current_config(later, "config.json"), "format": 1} == {
        **later,
        "preprocessing": {**later["preprocessing"], "bands": None},  # type: ignore[dict-item]
        "written_by": None,
        "started_from": None,
    }


def test_the_newest_is_read_as_it_is_written() -> None:
    written = stamped_config({key: value for key, value in NEWEST.items() if key != "written_by"})
    assert (written["format"], written["written_by"]) == (FORMAT - 1, __version__)
    assert current_config(written, "config.json") == {**NEWEST, "written_by": __version__}


def test_bands_ask_for_the_newest_version_and_rgb_does_not() -> None:
    """An earlier version would read a picture of other bands as RGB, without a word."""
    preprocessing = {**SEEN, "fit": "inside", "pad_to": None, "white": None, "bands": {"names": ["nir"]}}
    config = {**NEWEST, "preprocessing": preprocessing, "written_by": __version__}
    written = stamped_config(config)
    assert written["format"] == FORMAT
    assert current_config(written, "config.json") == config
    assert "bands" not in stamped_config(NEWEST)["preprocessing"]


def test_unet_release_of_format_1_is_turned_as_it_is_read() -> None:
    """It joined the skip first; its authors join the up-convolved map first. Weights stored before give the same logits."""
    network = {**NETWORK, "name": "unet_release"}
    config = current_config(
        {"format": 1, "architecture": network, "labels": LABELS, "preprocessing": SEEN}, "config.json"
    )
    stored = {
        "core.up.0.upconv.bias": torch.zeros(1),
        "core.up.0.conv.conv1.weight": torch.arange(3.0).reshape(1, 3, 1, 1),
    }
    turned = current_weights(stored, config)["core.up.0.conv.conv1.weight"]
    assert turned.flatten().tolist() == [2.0, 0.0, 1.0]
    newest = current_config(
        stamped_config({**NEWEST, "architecture": {**NEWEST["architecture"], "name": "unet_release"}}), ""
    )
    assert current_weights(stored, newest) is stored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    architecture = Architecture("unet_small", 2)
    space = LabelSpace((LabelEntry(0, "a", (0, 0, 0)), LabelEntry(1, "b", (1, 1, 1))))
    rule = Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    save_engine(
        TorchEngine(ModelSpec(architecture, space, rule), architecture.create().eval(), torch.device("cpu")),
        tmp_path / "m",
    )
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("version", "told"), [("0.0.9", r"DenseLab 0\.0\.9"), (None, "a DenseLab that did not note its")]
)
def test_layers_that_were_renamed_say_which_version_wrote_them(folder: Path, version: str | None, told: str) -> None:
    """DeepLab v3+ folders from before its layers got the release's names said "the weights are of another network"."""
    files = read_folder(folder)
    tensors = unpack_tensors(files["model.safetensors"], "m")
    renamed = {f"old_{name}": tensor for name, tensor in tensors.items()}
    config = {**json.loads(files["config.json"]), "written_by": version}
    write_folder(folder, {"config.json": json.dumps(config).encode(), "model.safetensors": pack_tensors(renamed)})
    expected = rf"written by {told}.* unet_small has other layers in DenseLab {__version__}: use"
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_engine(folder, "cpu")
    assert "another network" not in str(caught.value)
