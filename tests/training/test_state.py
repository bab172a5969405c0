"""last/: what does not fit the run that takes it up is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from denselab.errors import CheckpointError
from denselab.folders import read_folder, write_folder
from denselab.tensors import pack_tensors
from denselab.training.state import RunState, load_last, save_last


def network(width: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))


def optimizer_of(model: nn.Module, *groups: str) -> Optimizer:
    """AdamW, fused, over the parameters whose names end in each of `groups`, group by group."""
    named = list(model.named_parameters())
    return AdamW([{"params": [p for name, p in named if name.endswith(group)]} for group in groups], fused=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one step whose optimiser has the weights in its first group and the biases in its second."""
    model = network()
    optimizer = optimizer_of(model, "weight", "bias")
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_last(tmp_path, RunState(step=1), model, network(), optimizer)
    return tmp_path


def test_a_run_is_taken_up(run: Path) -> None:
    model, average = network(), network()
    optimizer = optimizer_of(model, "weight", "bias")
    state, damage = load_last(run, model, average, optimizer)
    assert (state.step, damage) == (1, None)
    moments = optimizer.state[model[0].weight]
    assert moments["exp_avg"].shape == (4, 3)
    assert moments["step"] == 1


def test_moments_in_another_order_are_refused(run: Path) -> None:
    """The state goes by position. A network whose parameters were grouped otherwise got the moments of others, of any shape:
    the fused step then read beyond their end, and `--resume` died by a segmentation fault (exit 139).
    """
    model = network()
    with pytest.raises(CheckpointError, match=r"exp_avg of 0\.bias is stored as \(4, 3\), the network has \(4,\)"):
        load_last(run, model, network(), optimizer_of(model, "bias", "weight"))


def test_moments_of_more_parameters_are_refused(run: Path) -> None:
    """As after `encoder_lr_factor` began to freeze what it had not: an IndexError, which nobody caught."""
    model = network()
    with pytest.raises(CheckpointError, match="state is of 4 parameters, the network learns 2"):
        load_last(run, model, network(), optimizer_of(model, "weight"))


@pytest.mark.parametrize("which", ["model", "average"])
def test_weights_of_another_shape_are_named(run: Path, which: str) -> None:
    """It said "Error(s) in loading state_dict for Sequential:" and nothing more."""
    model, average = network(5 if which == "model" else 4), network(5 if which == "average" else 4)
    with pytest.raises(CheckpointError, match=r"0\.weight is stored as \(4, 3\), the network has \(5, 3\)"):
        load_last(run, model, average, optimizer_of(model, "weight", "bias"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("splits", 0),
        ("step", -1),
        ("step", "text"),
        ("best_miou", [1]),
        ("best_miou", {"miou": 0.5}),
        ("seconds", float("nan")),
        ("metrics_bytes", 1.5),
        ("scaler", 3),
        ("unknown", 1),
    ],
)
def test_a_state_that_no_run_has_is_refused_by_name(run: Path, key: str, value: object) -> None:
    """Each of these ended as a fault of ours, some of them only after the first step."""
    files = read_folder(run / "last")
    write_folder(
        run / "last", {**files, "state.json": json.dumps({**json.loads(files["state.json"]), key: value}).encode()}
    )
    model = network()
    with pytest.raises(CheckpointError, match=rf"state\.json is damaged: {key}"):
        load_last(run, model, None, optimizer_of(model, "weight", "bias"))


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.safetensors", "average.safetensors"])
def test_a_file_that_the_manifest_leaves_out_is_named(run: Path, name: str) -> None:
    files = read_folder(run / "last")
    del files[name]
    write_folder(run / "last", files)
    model = network()
    with pytest.raises(CheckpointError, match=f"has no {name} in its manifest"):
        load_last(run, model, network(), optimizer_of(model, "weight", "bias"))


def test_weights_with_nan_are_not_taken_up(run: Path) -> None:
    files = read_folder(run / "last")
    broken = {key: torch.full_like(value, torch.nan) for key, value in network().state_dict().items()}
    write_folder(run / "last", {**files, "model.safetensors": pack_tensors(broken)})
    model = network()
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        load_last(run, model, None, optimizer_of(model, "weight", "bias"))
