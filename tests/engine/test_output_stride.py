"""Weights trained at one output stride, used at another: from Python, `eval --output-stride`, `predict --output-stride`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import denselab as dl
from denselab.cli.evaluate import evaluate
from denselab.cli.predict import predict
from denselab.data import open_dataset
from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference import Predictor
from denselab.models.base import SegmentationModel

SIZE = (49, 65)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("scenes"), train=2, val=2, size=SIZE, seed=1)


@torch.no_grad()
def show_pictures(network: SegmentationModel, data: Path) -> None:
    """Untrained as it is, it tells pixels apart: its normalisation knows its statistics, and its logits have mean 0."""
    dataset = open_dataset(data)
    stack = np.stack([dataset.read(item).image for item in dataset.of_split("val")])
    images = (torch.from_numpy(stack).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    network(images)
    logits = network.eval().get_submodule("logits")
    torch.nn.init.normal_(logits.weight)
    logits.bias.sub_(network.coarse_logits(images).mean(dim=(0, 2, 3)))


def write_model(folder: Path, data: Path, architecture: Architecture) -> Path:
    """A run folder with an untrained network for the scenes."""
    torch.manual_seed(0)
    network = architecture.create()
    if architecture.name == "deeplabv3plus_mobilenetv2":
        show_pictures(network, data)
    preprocessing = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    space = open_dataset(data).label_space
    engine = TorchEngine(ModelSpec(architecture, space, preprocessing), network.eval(), torch.device("cpu"))
    save_engine(engine, folder / "model")
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest of the networks with dilation of our own."""
    classes = open_dataset(data).label_space.num_classes
    folder = tmp_path_factory.mktemp("runs") / "streets"
    return write_model(folder, data, Architecture("deeplabv3plus_mobilenetv2", classes))


def test_the_same_weights_on_a_grid_twice_as_fine(run: Path) -> None:
    stored, finer = load_engine(run, "cpu"), load_engine(run, "cpu", output_stride=8)
    assert (stored.spec.architecture.output_stride, finer.spec.architecture.output_stride) == (None, 8)
    ours, theirs = finer.network.state_dict(), stored.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    images = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        assert stored.network.coarse_logits(images).shape[-2:] == (4, 5)
        assert finer.network.coarse_logits(images).shape[-2:] == (7, 9)
        assert not finer.network.training


def test_asking_for_the_stride_of_the_training_changes_nothing(run: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    stored, same = dl.load(run, device="cpu"), dl.load(run, device="cpu", output_stride=16)
    np.testing.assert_allclose(stored.probs(image), same.probs(image), atol=1e-6)
    assert np.abs(stored.probs(image) - dl.load(run, device="cpu", output_stride=8).probs(image)).max() > 1e-4


def test_the_other_stride_is_saved_with_the_model(run: Path, tmp_path: Path) -> None:
    """Not the folder that it was loaded from, which tells the stride of the training."""
    dl.load(run, device="cpu", output_stride=8).save_pretrained(tmp_path / "finer")
    stored = json.loads((tmp_path / "finer" / "config.json").read_text())
    assert stored["architecture"]["output_stride"] == 8
    assert load_engine(tmp_path / "finer", "cpu").spec.architecture.output_stride == 8


def test_a_timm_encoder_s_weights_serve_both_as_well(data: Path, tmp_path: Path) -> None:
    classes = open_dataset(data).label_space.num_classes
    folder = write_model(tmp_path / "run", data, Architecture("deeplabv3plus", classes, "test_efficientnet", 16))
    model = load_engine(folder, "cpu", output_stride=8).network
    assert model.encoder.stages[-1].stride == 8
    assert model.aspp.atrous_rates == (12, 24, 36)


def test_a_network_without_a_choice_refuses_it(data: Path, tmp_path: Path) -> None:
    classes = open_dataset(data).label_space.num_classes
    folder = write_model(tmp_path / "run", data, Architecture("unet_small", classes))
    with pytest.raises(ConfigError, match="model 'unet_small' has no output_stride 8; leave it out"):
        load_engine(folder, "cpu", output_stride=8)


def test_a_stride_that_does_not_exist_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"no output_stride 4; choose one of \(8, 16, 32\)"):
        dl.load(run, device="cpu", output_stride=4)


def test_eval_measures_at_the_stride_asked_for(run: Path, data: Path) -> None:
    """Into a folder of its own, so that the results of both can be compared."""
    evaluate(str(run), str(data), device="cpu")
    evaluate(str(run), str(data), device="cpu", output_stride=8)
    plain, finer = (run / name / "evaluation.json" for name in ("eval-val", "eval-val-os8"))
    assert json.loads(plain.read_text()) != json.loads(finer.read_text())


def test_predict_runs_at_the_stride_asked_for(run: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    predict(str(run), [str(tmp_path / "a.png")], tmp_path / "out", device="cpu", output_stride=8)
    engine = load_engine(run, "cpu", output_stride=8)
    written = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "a.png"))
    ids = np.array([entry.id for entry in engine.spec.label_space.classes])
    np.testing.assert_array_equal(written, ids[Predictor(engine).labels(image)])
