"""A training whose numbers become NaN: nothing broken is kept, and what is said of the rest is so."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.engine.folder import load_engine, save_engine
from denselab.errors import CheckpointError, TrainingDiverged
from denselab.folders import read_folder
from denselab.run_folder import LAST, METRICS, MODEL, WEIGHTS
from denselab.tensors import not_finite, unpack_tensors
from denselab.training import loop
from denselab.training.run import run_training
from denselab.training.step import Stepper


def kept(run: Path) -> dict[str, str | None]:
    """The first tensor that is not finite, by file of the run."""
    return {str(p.relative_to(run)): not_finite(unpack_tensors(p.read_bytes(), "")) for p in run.rglob("*.safetensors")}


def break_weights(after: int, monkeypatch: pytest.MonkeyPatch, what: str = "weights") -> None:
    """After this many steps a weight becomes NaN, as by a gradient that overflowed, while the loss is still finite."""
    original = loop.train_step

    def stepping(stepper: Stepper, batches: Any, seed: int, number: int) -> float:
        loss = original(stepper, batches, seed, number)
        if number + 1 == after:
            if what == "weights":
                next(iter(stepper.network.parameters())).data.fill_(torch.nan)
            else:
                next(iter(stepper.optimizer.state.values()))["exp_avg"].fill_(torch.inf)
        return loss

    monkeypatch.setattr(loop, "train_step", stepping)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("what", ["weights", "moments"])
def test_nothing_broken_is_kept_and_the_message_says_what_is(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float, what: str
) -> None:
    break_weights(4, monkeypatch, what)
    settings = make_settings({**tiny, "ema": ema, "save_every": 1e-9, "validations": 6})
    with pytest.raises(TrainingDiverged, match=r"after step 4\. Start a new run with a lower `lr`.*") as raised:
        run_training(settings, tiny_data, tmp_path / "run")
    assert set(kept(tmp_path / "run").values()) == {None}
    state = json.loads(read_folder(tmp_path / "run" / LAST)["state.json"])
    assert f"last/ holds step {state['step']}, before it" in str(raised.value)
    assert state["step"] == 3
    assert f"model/ holds the best network until then, of step {state['best_miou']['step']}" in str(raised.value)


def test_before_the_first_save_nothing_is_promised(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_weights(1, monkeypatch)
    with pytest.raises(TrainingDiverged, match="nothing was saved before it$"):
        run_training(make_settings({**tiny, "validations": 6}), tiny_data, tmp_path / "run")
    assert not (tmp_path / "run" / LAST).exists()
    assert not (tmp_path / "run" / MODEL).exists()


def test_a_huge_rate_diverges_with_the_exit_code_of_a_setting_and_valid_json(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    settings = make_settings({**tiny, "lr": 1e9, "optimizer": "sgd", "clip_norm": 0, "epochs": 20, "validations": 60})
    with pytest.raises(TrainingDiverged) as raised:
        run_training(settings, tiny_data, tmp_path / "run")
    assert raised.value.exit_code == 2
    assert set(kept(tmp_path / "run").values()) <= {None}
    for line in (tmp_path / "run" / METRICS).read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_weights_with_nan_are_neither_written_nor_loaded(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path
) -> None:
    from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
    from denselab.engine.torch_engine import TorchEngine

    architecture = Architecture("pixelwise", tiny_data.label_space.num_classes)
    spec = ModelSpec(architecture, tiny_data.label_space, Preprocessing((32, 48), (0.5,) * 3, (0.2,) * 3))
    engine = TorchEngine(spec, architecture.create(), torch.device("cpu"))
    save_engine(engine, tmp_path / "sound")
    name, tensor = next((n, t) for n, t in engine.network.state_dict().items() if t.is_floating_point())
    tensor.view(-1)[0] = torch.nan
    with pytest.raises(CheckpointError, match=f"{name} holds NaN"):
        save_engine(engine, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    from denselab.folders import write_folder
    from denselab.tensors import pack_tensors

    files = read_folder(tmp_path / "sound")
    write_folder(tmp_path / "sound", {**files, WEIGHTS: pack_tensors(engine.network.state_dict())})
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: {name} holds NaN or infinity"):
        load_engine(tmp_path / "sound")
    with pytest.raises(CheckpointError, match=f"{name} holds NaN"):
        run_training(make_settings({**tiny, "init": str(tmp_path / "sound"), "model": "pixelwise", "encoder": None}),
                     tiny_data, tmp_path / "run")  # fmt: skip
