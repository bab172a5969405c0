"""`denselab info` and `denselab models` as functions."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from denselab.cli.info import info
from denselab.cli.main import app
from denselab.cli.models import models, table_lines
from denselab.cli.options import read_size
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError, DenseLabError, ResourceError
from denselab.inspection.subject import find_subject
from denselab.inspection.summary import facts_of
from denselab.labels import LabelEntry, LabelSpace
from denselab.models import MODELS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained network of five classes."""
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, i, i)) for i in range(5)))
    architecture = Architecture("unet_small", 5)
    preprocessing = Preprocessing((48, 64), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    folder = tmp_path_factory.mktemp("runs") / "streets"
    model = architecture.create().eval()
    save_engine(
        TorchEngine(ModelSpec(architecture, space, preprocessing), model, torch.device("cpu")), folder / "model"
    )
    return folder


def test_the_paper_s_table(capsys: pytest.CaptureFixture[str]) -> None:
    info("fcn32s", imgsz="500")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "fcn32s: FCN-32s, Caffe geometry",
        "Long, Shelhamer, Darrell: Fully Convolutional Networks, 2015",
        "picture 500x500, 21 classes, encoder vgg16",
    ]
    layers = {line.split()[0]: line.split() for line in lines[5:] if line}
    assert layers["encoder.conv1_1"][1:6] == ["conv", "3", "1", "100", "3"]
    assert "698x698" in layers["encoder.conv1_1"]
    fc6 = next(words for name, words in layers.items() if name.endswith("fc6"))
    assert fc6[1:5] == ["conv", "7", "1", "0"]
    assert fc6[-1] == "404"
    assert "102,764,544" in fc6
    totals = "\n".join(lines)
    assert "134,346,581 learnable; 86,016 fixed" in totals
    assert "receptive field  404 pixels" in totals


def test_json_has_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    info("deeplabv3plus", imgsz="64x96", classes=4, encoder="test_resnet", output_stride=8, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["architecture"] == {
        "name": "deeplabv3plus",
        "num_classes": 4,
        "encoder": "test_resnet",
        "output_stride": 8,
        "in_channels": 3,
        "aux": False,
        "crf_layer": None,
        "frozen_norm": False,
    }
    assert (facts["imgsz"], facts["year"]) == ([64, 96], 2018)
    assert facts["totals"]["output_stride"] == 8
    assert facts["totals"]["receptive_field"] is None
    kinds = {layer["kind"] for layer in facts["layers"]}
    assert {"conv", "norm", "global pool", "interpolation"} <= kinds
    counted = sum(layer["parameters"] for layer in facts["layers"])
    assert counted == facts["totals"]["learnable"] + facts["totals"]["fixed"]


def test_a_trained_model_has_its_own_classes_and_size(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (run, run / "model"):
        info(str(folder))
        out = capsys.readouterr().out
        assert f"trained model in {run / 'model'}" in out
        assert "picture 48x64, 5 classes" in out
    info(str(run), imgsz="96", as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["imgsz"] == [96, 96]
    assert facts["folder"] == str(run / "model")
    assert facts["layers"][-1]["out_channels"] == 5


def test_options_of_another_shape_are_refused_for_a_trained_model(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"shape of its own; leave `encoder`, `classes` out"):
        find_subject(str(run), encoder="resnet50", num_classes=3)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("fcn8", ConfigError, "unknown model 'fcn8'; did you mean .*fcn8s"),
        ("runs/none", ConfigError, r"runs/none does not exist; expected a name of `denselab models`"),
    ],
)
def test_unknown_names(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_subject(name)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no model"):
        find_subject(str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": {"name": "unet"}, "preprocessing": {"imgsz": [1, 1]}}')
    with pytest.raises(CheckpointError, match="not the config of a model folder"):
        find_subject(str(tmp_path))
    (tmp_path / "config.json").write_text('{"ensemble": {}}')
    with pytest.raises(CheckpointError, match="is an ensemble; give one of its models, .*members/"):
        find_subject(str(tmp_path))


def test_sizes_in_words() -> None:
    assert [read_size(text) for text in (None, "224", "360x480")] == [None, (224, 224), (360, 480)]
    for text in ("0", "a", "12x", "0x5"):
        with pytest.raises(ConfigError, match="--imgsz"):
            read_size(text)


def test_the_list_of_models() -> None:
    """Names, years and costs in one line each, under their papers."""
    rows = [facts_of(name, 21, (512, 512)) for name in ("fcn32s", "unet", "deeplabv3plus")]
    lines = table_lines(rows)
    assert lines[0].split()[:5] == ["name", "year", "parameters", "mult-adds", "sees"]
    assert lines[1:3] == ["", "Long, Shelhamer, Darrell: Fully Convolutional Networks"]
    assert lines[3].split()[:7] == ["fcn32s", "2015", "134,346,581", "190", "G", "404", "32"]
    assert lines[6].split()[:7] == ["unet", "2015", "31,038,933", "193", "G", "204", "16"]
    assert lines[9].split()[5:7] == ["all", "16"]
    assert lines[9].endswith(MODELS["deeplabv3plus"].use)


def test_the_list_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of two networks; that all of MODELS can be traced is tested in inspection/test_layer_table.py."""
    names = ("unet_small", "fcn8s")
    monkeypatch.setattr("denselab.inspection.summary.MODELS", {name: MODELS[name] for name in names})
    models(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(names)
    assert set(rows[0]) == {
        *("name", "title", "paper", "year", "use", "encoder", "imgsz", "num_classes", "learnable", "fixed"),
        *("norm_layers", "norm_parameters", "multiply_adds", "receptive_field", "output_stride", "logits_stride"),
        *("memory_forward", "memory_training"),
    }
    assert (rows[1]["learnable"], rows[1]["receptive_field"], rows[1]["logits_stride"]) == (134_362_751, 468, 8)
    models()
    assert "unet_small" in capsys.readouterr().out


def test_a_diagram(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NAME.svg in this folder at the figure's own size, or the file and size that are named."""
    monkeypatch.chdir(tmp_path)
    info("unet_release", diagram=True)
    assert capsys.readouterr().out == "unet_release.svg\n"
    assert "3 @ 572x572" in Path("unet_release.svg").read_text()
    info("segnet_basic", Path("drawn/segnet.svg"), imgsz="64x96", diagram=True, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["diagram"], facts["imgsz"]) == ("drawn/segnet.svg", [64, 96])
    assert "64 @ 64x96" in Path("drawn/segnet.svg").read_text()
    info(str(run), diagram=True)
    assert "5 @ 48x64" in Path("unet_small.svg").read_text()


def test_diagrams_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not end in \.svg.*write .*a\.svg"):
        info("unet_small", tmp_path / "a.png", imgsz="64", diagram=True)
    with pytest.raises(ConfigError, match=r"does not end in \.svg.*write unet_small\.svg"):
        info("unet_small", Path("."), imgsz="64", diagram=True)  # was a ValueError: it has no name to change
    with pytest.raises(
        ConfigError, match=r"is a file for --diagram; write `denselab info unet_small a\.svg --diagram`"
    ):
        info("unet_small", Path("a.svg"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        info("unet_small", tmp_path / "file" / "a.svg", imgsz="64", diagram=True)


@pytest.mark.parametrize(
    ("words", "code"),
    [(["unet_small", "--diagram", "a.svg"], 0), (["unet_small", "a.svg"], 2), (["unet_smal", "--diagram"], 2),
     (["unet_small", "a.pdf", "--diagram"], 2)],
)  # fmt: skip
def test_exit_codes_of_diagrams(words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["info", *words, *(["--imgsz", "64"] if code == 0 else [])])
    error = result.exception
    assert (error.exit_code if isinstance(error, DenseLabError) else result.exit_code) == code
