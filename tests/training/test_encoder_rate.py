"""`encoder_lr_factor: 0` in whole runs: what the pretrained part was, it is in the model folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from denselab.build import create_model
from denselab.config import make_settings
from denselab.data import Dataset
from denselab.engine.folder import load_engine
from denselab.engine.spec import Architecture
from denselab.errors import ConfigError
from denselab.training.optim import brings_statistics
from denselab.training.run import run_training

Settings = dict[str, Any]


@pytest.mark.parametrize(
    "more", [{"bn_statistics": "cumulative"}, {"ema": 0.0, "crf_layer": True}], ids=["mean-of-weights", "crf-layer"]
)
def test_the_pretrained_part_is_in_the_end_what_it_was(
    tiny: Settings, tiny_data: Dataset, tmp_path: Path, more: Settings
) -> None:
    """Batch normalisation went on gathering statistics of the new pictures; config.py says "stays as it is"."""
    settings = {**tiny, "epochs": 1, "validations": 1, "lr": 1e-2, "encoder_lr_factor": 0, **more}
    run_training(make_settings(settings), tiny_data, tmp_path / "run")
    trained = load_engine(tmp_path / "run", "cpu")
    torch.manual_seed(settings.get("seed", 0))
    first = Architecture(
        trained.spec.architecture.name, trained.spec.architecture.num_classes, tiny["encoder"]
    ).create()
    before, after = first.state_dict(), trained.network.state_dict()
    after = {name.removeprefix("network."): tensor for name, tensor in after.items()}
    stays = first.pretrained_tensors().keys()
    assert any(name.endswith("running_mean") for name in stays)
    assert [name for name in stays if not torch.equal(before[name], after[name])] == []
    assert all(not torch.equal(before[name], after[name]) for name, _ in first.named_parameters() if name not in stays)


def test_a_network_without_one_is_refused_before_it_trains(tiny: Settings, tiny_data: Dataset, tmp_path: Path) -> None:
    settings = {**tiny, "model": "unet_small", "encoder": None, "encoder_lr_factor": 0.1}
    with pytest.raises(ConfigError, match="encoder_lr_factor is 0.1, but no part of 'unet_small'"):
        run_training(make_settings(settings), tiny_data, tmp_path / "run")


def test_statistics_of_the_weights_stay_while_the_weights_learn(
    tiny: Settings, tiny_data: Dataset, tmp_path: Path
) -> None:
    settings = {**tiny, "epochs": 1, "validations": 1, "lr": 1e-2, "bn_statistics": "pretrained"}
    run_training(make_settings(settings), tiny_data, tmp_path / "run")
    trained = load_engine(tmp_path / "run", "cpu")
    torch.manual_seed(settings.get("seed", 0))
    architecture = trained.spec.architecture
    first = Architecture(architecture.name, architecture.num_classes, tiny["encoder"]).create()
    before, after = first.state_dict(), trained.network.state_dict()
    pretrained = first.pretrained_tensors().keys()
    statistics = {name for name in before if name.endswith(("running_mean", "running_var"))}
    assert {name for name in statistics if torch.equal(before[name], after[name])} == statistics & pretrained
    assert all(not torch.equal(before[name], after[name]) for name, _ in first.named_parameters())


def test_statistics_are_the_weights_own_only_where_all_layers_have_some() -> None:
    model = create_model("unet", 3, encoder="test_efficientnet")
    assert not brings_statistics(model)
    means = [tensor for name, tensor in model.pretrained_tensors().items() if name.endswith("running_mean")]
    for mean in means[1:]:
        mean.fill_(0.5)
    assert not brings_statistics(model)
    means[0].fill_(0.5)
    assert brings_statistics(model)
    assert not brings_statistics(create_model("unet_small", 3))
