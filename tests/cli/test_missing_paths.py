"""A path that does not exist is a usage error (2) in every command, and says what lies near it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from denselab.cli.main import app
from denselab.data import Dataset
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, NoSuchPath

CASES = {
    "check DATA": (["check", "scenez"], "expected the folder of a data set"),
    "check data.yaml": (["check", "scenes/date.yaml"], "expected the folder of a data set"),
    "train DATA": (["train", "scenez"], "expected the folder of a data set"),
    "train --init": (["train", "scenes", "--init", "./modle", "--out", "run"], "expected a model folder"),
    "train --config": (["train", "scenes", "--config", "fast.yaml"], "expected a YAML file of settings"),
    "train --resume": (["train", "scenes", "--resume", "--out", "run"], "expected the run folder to resume"),
    "eval MODEL": (["eval", "modle", "scenes"], "expected a model folder"),
    "eval DATA": (["eval", "model", "scenez"], "expected the folder of a data set"),
    "predict MODEL": (["predict", "modle", "photo.png", "--out", "out"], "expected a model folder"),
    "predict INPUT": (["predict", "model", "foto.png", "--out", "out"], "expected a picture, or a folder"),
    "predict FILM": (["predict", "model", "drive.mp4", "--out", "out"], "expected a film"),
    "pseudo-label MODEL": (["pseudo-label", "modle", "scenes", "photo.png", "--out", "out"], "expected a model folder"),
    "pseudo-label DATA": (["pseudo-label", "model", "scenez", "photo.png", "--out", "out"], "expected the folder of a"),
    "pseudo-label PICTURES": (
        ["pseudo-label", "model", "scenes", "foto.png", "--out", "out"],
        "expected a picture, or a folder",
    ),
    "compare DATA": (["compare", "scenez", "--out", "out"], "expected the folder of a data set"),
    "compare --with": (
        ["compare", "scenes", "--models", "unet_small", "--with", "./modle", "--out", "out"],
        "expected a model folder",
    ),
    "diagnose MODEL": (["diagnose", "modle", "scenes"], "expected a model folder"),
    "export MODEL": (["export", "modle", "--to", "onnx", "--out", "out"], "expected a model folder"),
    "export --check": (
        ["export", "model", "--to", "onnx", "--check", "scenez", "--out", "out"],
        "expected the folder of a data set",
    ),
    "refine IMAGE": (["refine", "foto.png", "photo.png", "--out", "out"], "expected a picture, or a folder"),
    "refine PROBS": (["refine", "photo.png", "probs.npz", "--out", "out"], "expected probabilities"),
    "refine --labels": (
        ["refine", "photo.png", "photo.png", "--labels", "names.txt", "--out", "out"],
        "expected a label table",
    ),
    "crf tune MODEL": (["crf", "tune", "modle", "scenes"], "expected a model folder"),
    "crf tune DATA": (["crf", "tune", "model", "scenez"], "expected the folder of a data set"),
    "info": (["info", "./modle"], "expected a name of `denselab models`, or a model"),
    "explain MODEL": (["explain", "./modle", "photo.png", "--out", "out"], "expected a model folder"),
    "explain IMAGE": (["explain", "unet_small", "foto.png", "--out", "out"], "expected a picture file"),
    "convert FILE": (
        ["convert", "net.pth", "--from", "torch", "--model", "unet_small", "--out", "out"],
        "expected a file of weights",
    ),
    "convert tf FILE": (
        ["convert", "net.index", "--from", "tf", "--model", "deeplabv3plus", "--out", "out"],
        "expected a file of weights",
    ),
    "convert --labels": (
        ["convert", "photo.png", "--from", "torch", "--model", "unet_small", "--labels", "names.txt", "--out", "out"],
        "expected a label table",
    ),
}


@pytest.fixture(scope="module")
def place(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with scenes/, model/ and photo.png."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_data.root, folder / "scenes")
    shutil.copyfile(next((folder / "scenes" / "images" / "val").iterdir()), folder / "photo.png")
    architecture = Architecture("unet_small", tiny_data.label_space.num_classes)
    rule = Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = architecture.create().eval()
    spec = ModelSpec(architecture, tiny_data.label_space, rule)
    model = TorchEngine(spec, network, next(network.parameters()).device)
    save_engine(model, folder / "model")
    return folder


def error_of(command: Sequence[str]) -> BaseException | None:
    return CliRunner().invoke(app, [*command]).exception


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_path_is_a_usage_error(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` gave 3, `eval` 6, `info` 2 and `explain` 3 or 6 for one and the same slip of the finger."""
    command, told = CASES[name]
    monkeypatch.chdir(place)
    error = error_of(command)
    assert isinstance(error, NoSuchPath), f"{error!r}"
    assert error.exit_code == 2
    assert f"does not exist; {told}" in str(error)
    assert sorted(path.name for path in place.iterdir()) == ["model", "photo.png", "scenes"], "nothing was begun"


def test_near_names_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert "near it: scenes" in str(error_of(["check", "scenez"]))
    assert "near it: photo.png" in str(error_of(["explain", "unet_small", "foto.png", "--out", "out"]))


@pytest.mark.parametrize("out", ["photo.png", "photo.png/below"])
@pytest.mark.parametrize(
    "command",
    [
        *(["check", "scenes"], ["train", "scenes"], ["train", "scenes", "--resume"], ["eval", "model", "scenes"]),
        *(["diagnose", "model", "scenes"], ["compare", "scenes"], ["predict", "model", "scenes"], ["demo"]),
        *(["pseudo-label", "model", "scenes", "photo.png"], ["refine", "photo.png", "photo.png"]),
        *(["explain", "model", "photo.png"], ["crf", "tune", "model", "scenes"], ["export", "model", "--to", "onnx"]),
        ["convert", "photo.png", "--from", "torch", "--model", "unet_small"],
    ],
    ids=lambda command: command[0],
)
def test_a_file_in_the_place_of_a_folder_is_a_usage_error(
    command: list[str], out: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train` gave 5, as for a full disk, `compare` 2, and `eval` measured everything before it said so."""
    monkeypatch.chdir(place)
    error = error_of([*command, "--out", out])
    assert isinstance(error, ConfigError), f"{error!r}"
    assert "photo.png is a file; choose another" in str(error)
    assert sorted(path.name for path in place.iterdir()) == ["model", "photo.png", "scenes"], "nothing was begun"
