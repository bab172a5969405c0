"""Batch normalisation that converted DeepLab v2 brings frozen (use_global_stats, learning rate 0) and training keeps so."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import Interrupted
from denselab.folders import read_folder, write_folder
from denselab.models import MODELS
from denselab.models.base import ModelEntry, ModelOptions
from denselab.models.deeplab_v2 import DeepLabV2, caffe_resnet, resnet_score_layers
from denselab.training import loop
from denselab.training.resume import resumed_settings
from denselab.training.run import run_training

Settings = dict[str, Any]
NAME = "thin_deeplabv2"


def build(options: ModelOptions) -> DeepLabV2:
    """DeepLab v2 on the release's kind of ResNet with 50 layers of a sixteenth of the width."""
    layers = resnet_score_layers(128, options.num_classes)
    return DeepLabV2(caffe_resnet(depth=50, width=4), layers, options.num_classes)


@pytest.fixture(autouse=True)
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelEntry(build=build, title="thin DeepLab v2", paper="", year=2016, use="tests")
    monkeypatch.setitem(MODELS, NAME, entry)


@pytest.fixture
def converted(tiny_data: Dataset, tmp_path: Path) -> Path:
    """A model folder as `denselab convert` writes it, with statistics that no training has near it."""
    torch.manual_seed(0)
    architecture = Architecture(NAME, tiny_data.label_space.num_classes, frozen_norm=True)
    model = architecture.create().eval()
    for tensor in norms(model).values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    preprocessing = Preprocessing((513, 513), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2), fit="shrink", pad_to=(513, 513))
    engine = TorchEngine(ModelSpec(architecture, tiny_data.label_space, preprocessing), model, torch.device("cpu"))
    save_engine(engine, tmp_path / "converted")
    return tmp_path / "converted"


@pytest.fixture
def settings(tiny: Settings) -> Settings:
    """Three steps at a rate that is felt."""
    return {**tiny, "model": None, "encoder": None, "epochs": 1, "validations": 1, "lr": 1e-2}


def norms(model: nn.Module) -> dict[str, Tensor]:
    """Weights, biases and statistics of all batch normalisation, by name; the tensors themselves."""
    return {
        f"{path.removeprefix('network.')}.{name}": tensor.detach()
        for path, layer in model.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
        for name, tensor in layer.state_dict(keep_vars=True).items()
    }


def same_norms(run: Path, other: Path) -> bool:
    found, expected = (norms(load_engine(folder, "cpu").network) for folder in (run, other))
    assert found.keys() == expected.keys()
    assert len(found) == 53 * 5
    return all(torch.equal(found[name], expected[name]) for name in found)


def test_the_flag_is_saved_and_older_folders_have_none(converted: Path, tmp_path: Path) -> None:
    assert load_engine(converted, "cpu").spec.architecture.frozen_norm
    assert load_engine(converted, "cpu").network.norm_is_frozen
    files = read_folder(converted)
    config = json.loads(files["config.json"])
    config["format"] = 1
    del config["architecture"]["frozen_norm"], config["preprocessing"]["pad_to"]
    write_folder(tmp_path / "old", {**files, "config.json": json.dumps(config).encode()})
    old = load_engine(tmp_path / "old", "cpu")
    assert not old.spec.architecture.frozen_norm
    assert not old.network.norm_is_frozen
    assert old.spec.preprocessing.pad_to is None


@pytest.mark.parametrize(
    "more",
    [{}, {"ema": 0.0}, {"bn_statistics": "cumulative"}, {"model": NAME}, {"crf_layer": True}],
    ids=["plain", "no-ema", "cumulative", "model-named", "crf-layer"],
)
def test_training_on_keeps_it_and_trains_the_rest(
    converted: Path, tiny_data: Dataset, settings: Settings, tmp_path: Path, more: Settings
) -> None:
    """`--init` used to build the network anew with batch normalisation awake: three steps left no statistic of the file's."""
    run_training(make_settings({**settings, "init": str(converted), **more}), tiny_data, tmp_path / "run")
    assert same_norms(tmp_path / "run", converted)
    before, after = (load_engine(folder, "cpu") for folder in (converted, tmp_path / "run"))
    assert after.spec.architecture.frozen_norm, "a run that goes on from this one keeps it too"
    assert after.spec.preprocessing.pad_to is None, "it is validated as DenseLab trains"
    old, new = (
        before.network.state_dict(),
        {n.removeprefix("network."): t for n, t in after.network.state_dict().items()},
    )
    for name in ("encoder.conv1.weight", "encoder.layer4.2.conv3.weight", "fc1_c0.weight"):
        assert not torch.equal(old[name], new[name]), name
    assert "batch normalisation stays frozen" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("kept", [True, False])
def test_it_stays_so_after_a_resume(
    converted: Path,
    tiny_data: Dataset,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
) -> None:
    """Also where the folder of --init is gone: the run's own model knows it. The end is that of a run without a stop."""
    shutil.copytree(converted, tmp_path / "source")
    whole = {**settings, "epochs": 2, "validations": 6, "init": str(tmp_path / "source")}
    run_training(make_settings(whole), tiny_data, tmp_path / "straight")
    original = loop.train_step

    def stepping(stepper: Any, batches: Any, seed: int, number: int) -> float:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(stepper, batches, seed, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        with pytest.raises(Interrupted):
            run_training(make_settings(whole), tiny_data, tmp_path / "run")
    if not kept:
        shutil.rmtree(tmp_path / "source")
    run_training(resumed_settings(make_settings({}), tmp_path / "run"), tiny_data, tmp_path / "run", resume=True)
    assert same_norms(tmp_path / "run", converted)
    straight, resumed = (tmp_path / name / "last" / "model.safetensors" for name in ("straight", "run"))
    assert straight.read_bytes() == resumed.read_bytes()


def test_from_scratch_it_learns(tiny_data: Dataset, settings: Settings, tmp_path: Path) -> None:
    run_training(make_settings({**settings, "model": NAME}), tiny_data, tmp_path / "run")
    model = load_engine(tmp_path / "run", "cpu").network
    fresh = norms(build(ModelOptions(tiny_data.label_space.num_classes)))
    assert not model.norm_is_frozen
    assert all(not torch.equal(tensor, fresh[name]) for name, tensor in norms(model).items())


def test_a_network_that_cannot_freeze_says_nothing_of_it(tiny_data: Dataset) -> None:
    assert Architecture("unet_small", 3, frozen_norm=True).create().get_submodule("core").training
