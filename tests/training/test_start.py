"""What a training started from is said in every record of the run, and stays said when the run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

import denselab as dl
from denselab.config import make_settings
from denselab.data import Dataset
from denselab.encoders.origin import Origin
from denselab.encoders.weights import read_weights
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError
from denselab.labels import LabelEntry, LabelSpace
from denselab.report.facts import read_run
from denselab.training.initial import read_initial
from denselab.training.network import make_network
from denselab.training.run import run_training


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with random weights of a tiny encoder."""
    torch.manual_seed(1)
    save_file(timm.create_model("test_efficientnet").state_dict(), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


def short(tiny: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**tiny, "encoder": "test_efficientnet", "epochs": 1, "validations": 1, **changed}


def origin_of(path: Path) -> Origin:
    return read_weights(path).origin


def test_every_record_says_it(tiny: dict[str, Any], weights: Path, tmp_path: Path) -> None:
    run, origin = tmp_path / "run", origin_of(weights)
    summary = dl.train(tiny["data"], out=run, settings=short(tiny, pretrained=str(weights), data=None))
    record = {"source": f"file {weights}", "sha256": origin.sha256}
    assert summary.started_from == record
    for name in ("summary.json", "env.json", "model/config.json", "model-best-loss/config.json"):
        assert json.loads((run / name).read_text())["started_from"] == record, name
    assert load_engine(run, "cpu").spec.started_from == origin
    assert f"training starts from file {weights} (sha256 {origin.sha256})" in (run / "log.txt").read_text()
    assert (
        f"Its training started from file {weights} (sha256 {origin.sha256})." in (run / "model/README.md").read_text()
    )
    assert f"Training started from file {weights} (sha256 {origin.sha256})." in (run / "report.html").read_text()
    assert read_run(run).config["pretrained"] == str(weights)  # as asked
    assert "nexpected" not in (run / "log.txt").read_text()


def test_scratch_is_said_too(tiny: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    dl.train(tiny["data"], out=run, settings=short(tiny, data=None))
    assert "training starts from scratch\n" in (run / "log.txt").read_text()
    assert json.loads((run / "summary.json").read_text())["started_from"] == {"source": "scratch", "sha256": None}
    assert "Its training started from scratch." in (run / "model/README.md").read_text()
    assert "trained from scratch on 12 pictures" in (run / "report.html").read_text()


def test_a_model_that_starts_from_another_says_whose_that_was(
    tiny: dict[str, Any], tiny_data: Dataset, weights: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_training(make_settings(short(tiny, pretrained=str(weights))), tiny_data, first)
    summary = run_training(make_settings(short(tiny, init=str(first))), tiny_data, second)
    assert summary.started_from == {
        "source": f"model {first / 'model'}, which started from file {weights}",
        "sha256": origin_of(first / "model" / "model.safetensors").sha256,
    }


def test_the_network_of_another_model_has_its_encoder(tmp_path: Path) -> None:
    """`--model deeplabv3plus --init RUN` took the recipe's encoder, so that little of RUN fitted.

    And without --model an --encoder or output_stride that was given was passed over.
    """
    architecture = Architecture("deeplabv3plus", 3, "test_efficientnet", 8)
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, i, i)) for i in range(3)))
    spec = ModelSpec(architecture, space, Preprocessing((32, 48), (0.5,) * 3, (0.25,) * 3))
    save_engine(TorchEngine(spec, architecture.create().eval(), torch.device("cpu")), tmp_path / "first")
    for given, expected in (
        ({}, ("test_efficientnet", 8)),
        ({"model": "deeplabv3plus"}, ("test_efficientnet", 8)),
        ({"model": "deeplabv3plus", "output_stride": 16}, ("test_efficientnet", 16)),
        ({"output_stride": 16}, ("test_efficientnet", 16)),
        ({"encoder": "mobilenetv3_small_050", "output_stride": 16}, ("mobilenetv3_small_050", 16)),
    ):
        settings = make_settings({"data": "d", "init": str(tmp_path / "first"), **given})
        built = make_network(settings, 3, tmp_path / "run").architecture
        assert (built.encoder, built.output_stride) == expected, given


def test_a_run_that_goes_on_looks_for_no_weights(
    tiny: dict[str, Any], tiny_data: Dataset, weights: Path, tmp_path: Path
) -> None:
    """It has all of its own: with the file gone a resume was refused, and without a cache it asked the hub again."""
    run, origin = tmp_path / "run", origin_of(weights)
    settings = make_settings(short(tiny, pretrained=str(weights)))
    run_training(settings, tiny_data, run)
    weights.unlink()
    summary = run_training(settings.model_copy(update={"epochs": 2}), tiny_data, run, resume=True)
    assert summary.started_from == {"source": f"file {weights}", "sha256": origin.sha256}


def test_frozen_normalisation_stays_frozen_without_the_file(tmp_path: Path) -> None:
    """DeepLab v2's is, because ImageNet weights came; a resume on a machine without them let it learn."""
    (tmp_path / "last").mkdir()
    start = {"started_from": {"source": "hub timm/resnet101", "sha256": "0" * 64}, "frozen_norm": True}
    (tmp_path / "env.json").write_text(json.dumps(start))
    settings = make_settings({"data": "d", "model": "deeplabv2_resnet101", "pretrained": "yes"})
    with torch.device("meta"):
        network = make_network(settings, 3, tmp_path)
    assert network.architecture.frozen_norm
    assert network.started_from == Origin("hub timm/resnet101", "0" * 64)


@pytest.mark.parametrize("name", ["unet_small", "fcn16s", "deeplabv3plus"])
def test_classes_of_the_model_it_starts_from_go_by_name(name: str, tmp_path: Path) -> None:
    """With as many classes in another order every tensor fitted, and each class began with the scores of another."""
    encoder = {"fcn16s": "test_resnet", "deeplabv3plus": "test_efficientnet"}.get(name)
    space = LabelSpace(tuple(LabelEntry(i, n, (i, i, i)) for i, n in enumerate(("sky", "road", "tree", "car"))))
    architecture = Architecture(name, 4, encoder)
    torch.manual_seed(0)
    network = architecture.create().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    spec = ModelSpec(architecture, space, Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    save_engine(TorchEngine(spec, network, torch.device("cpu")), tmp_path / "model")
    settings = make_settings({"data": "d", "init": str(tmp_path / "model"), "pretrained": "no"})
    images, order = torch.rand(1, 3, 32, 32), [2, 0, 3, 1]
    for names in (space.names, tuple(space.names[i] for i in order)):
        made = make_network(settings, 4, tmp_path / "run", classes=names)
        told = next(choice.reason for choice in made.choices if choice.key == "init")
        assert ("put in the order of these labels" in told) == (names != space.names)
        logits, wanted = made.model.eval()(images), network(images)
        assert torch.allclose(logits, wanted if names == space.names else wanted[:, order], atol=1e-5)
    others = make_network(settings, 4, tmp_path / "run", classes=("sky", "road", "tree", "bus"))
    assert "it knows car in place of classes here" in next(c.reason for c in others.choices if c.key == "init")


def test_an_exported_model_has_no_weights_to_start_from(exported_folder: Path, tmp_path: Path) -> None:
    """It was called no config of a model folder: KeyError('model.safetensors')."""
    with pytest.raises(CheckpointError, match=r"holds an exported model \(model.onnx\) without model.safetensors"):
        read_initial(exported_folder, tmp_path / "run")
