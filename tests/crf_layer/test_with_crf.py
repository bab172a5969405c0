"""A CRF behind a network: the contract of every network, and the way from settings to a model folder and back."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from denselab.config import make_settings
from denselab.crf_layer.crf_rnn import CRFSettings
from denselab.crf_layer.with_crf import WithCRF
from denselab.data import Dataset
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.engine.folder import load_engine, save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference import Predictor
from denselab.memory import map_bytes
from denselab.models import MODELS
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v3plus import DeepLabV3PlusEncoder
from denselab.models.fcn import FCN, Decapitated
from denselab.models.unet import UNet, UNetCore
from denselab.training.optim import make_optimizer
from denselab.training.recipe import Facts, choose_recipe
from denselab.training.records import read_metrics
from denselab.training.run import run_training

K = 3
SETTINGS = CRFSettings(iterations=2, test_iterations=3, theta_alpha=20.0, theta_beta=10.0)
NORMALISATION = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
CRF: dict[str, Any] = {"crf_theta_alpha": 20.0, "crf_theta_beta": 10.0}


def wrapped(network: SegmentationModel) -> WithCRF:
    model = WithCRF(network, SETTINGS)
    model.set_normalisation(*NORMALISATION)
    return model


CASES = {
    "fcn8s": lambda: wrapped(FCN(TimmEncoder("test_efficientnet"), Decapitated(64), K, 8)),
    "unet": lambda: wrapped(UNet(UNetCore(3, K, padded=True, batch_norm=True, dropout=0.0, widths=(4, 4, 8, 8, 8)))),
    "deeplabv3plus": lambda: wrapped(
        DeepLabV3PlusEncoder(TimmEncoder("test_efficientnet", output_stride=16), K, channels=16, aux=True)
    ),
}
names = pytest.mark.parametrize("name", CASES)


def normalised(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in NORMALISATION)
    return (pictures / 255 - mean) / std


@names
@pytest.mark.parametrize("size", [(1, 1), (2, 33), (37, 53), (120, 3)])
def test_any_size_in_any_mode(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model, images = CASES[name](), torch.randn(1, 3, *size)
    for training in (True, False):
        model.train(training)
        full = model(images)
        assert full.shape == model.enlarge(model.coarse_logits(images), size).shape == (1, K, *size)
        assert full.dtype == torch.float32
        assert full.isfinite().all()
        torch.testing.assert_close(full.exp().sum(1), torch.ones(1, *size))
        assert [x.shape for x in model.train_logits(images)] == [full.shape] * (2 if name == "deeplabv3plus" else 1)


@names
def test_it_is_the_crf_of_the_networks_logits_and_the_picture_in_0_to_255(name: str) -> None:
    torch.manual_seed(0)
    model = CASES[name]().eval()
    for parameter in model.network.parameters():
        if not parameter.any():  # an FCN's scores start at zero
            torch.nn.init.normal_(parameter, std=0.5)
    pictures = F.interpolate(torch.rand(2, 3, 5, 7) * 255, size=(37, 53), mode="bilinear").round()
    with torch.no_grad():
        expected = model.crf(model.network(normalised(pictures)), pictures)
        refined = model(normalised(pictures))
        torch.testing.assert_close(refined, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.train_logits(normalised(pictures))[0], refined)
        assert not torch.allclose(refined, model.network(normalised(pictures)).log_softmax(1), atol=0.1)


@names
def test_gradients_reach_every_parameter_through_the_crf(name: str) -> None:
    torch.manual_seed(0)
    model = CASES[name]().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # an FCN's scores start at zero and hide the trunk
        optimiser.zero_grad()
        labels = torch.randint(0, K, (2, 33, 41))
        sum(F.cross_entropy(x, labels) for x in model.train_logits(torch.randn(2, 3, 33, 41))).backward()
        optimiser.step()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
    alive = [n for n, grad in gradients.items() if float(grad.abs().sum()) > 0]
    assert {"crf.spatial_weights", "crf.bilateral_weights", "crf.compatibility"} <= set(alive)
    assert len(alive) > 0.9 * len(gradients)


@names
def test_save_and_load_onto_a_network_without_memory(name: str, tmp_path: Path) -> None:
    model, images = CASES[name]().eval(), torch.randn(1, 3, 37, 53)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        other = CASES[name]()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"), assign=True)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), model(images))


def test_landmarks_are_the_networks_and_the_crf() -> None:
    model = CASES["fcn8s"]()
    paths = list(model.landmarks())
    assert paths[-1] == "crf"
    assert len(paths) == 1 + len(model.network.landmarks()) > 1
    assert all(model.get_submodule(path) for path in paths)


@pytest.mark.parametrize("name", MODELS)
def test_behind_every_network_of_the_package(name: str) -> None:
    """On the meta device: the CRF accepts the output of the full networks, including their auxiliary heads."""
    with torch.device("meta"):
        model = Architecture(name, K, aux=MODELS[name].aux, crf_layer=SETTINGS).create()
        logits = model.train().train_logits(torch.empty(2, 3, 64, 96))
    assert isinstance(model, WithCRF)
    assert all(x.shape == (2, K, 64, 96) for x in logits)


def test_pictures_of_other_channels_are_refused() -> None:
    model = wrapped(UNet(UNetCore(5, K, padded=True, batch_norm=True, dropout=0.0, widths=(4, 4, 8, 8, 8))))
    with pytest.raises(ConfigError, match="have 5 channels"):
        model(torch.randn(1, 5, 32, 32))


def test_its_parameters_are_a_group_of_their_own_and_the_encoder_is_found_behind_the_prefix() -> None:
    facts = Facts(10, (32, 32), num_classes=K, device="cpu", cores=2, normalised=True, score_inputs=256)
    settings = make_settings({"data": "d", "epochs": 1, "encoder_lr_factor": 0.5, "crf_lr_factor": 3})
    config, _ = choose_recipe(settings, facts, None)
    model = CASES["deeplabv3plus"]()
    groups = make_optimizer(model, config).param_groups
    (own,) = [group for group in groups if group["lr_factor"] == 3]
    assert {id(p) for p in own["params"]} == {id(p) for p in model.crf.parameters()}
    assert own["weight_decay"] == 0
    slow = {id(p) for group in groups if group["lr_factor"] == 0.5 for p in group["params"]}
    assert slow == {id(p) for p in model.network.encoder.parameters()}


def test_the_estimate_of_memory_counts_what_the_iterations_keep() -> None:
    """Per picture, in float32: log-marginals, and for each of two iterations marginals, two filtered forms, message.

    Also the picture, whose normalisation is undone in four operations.
    """
    model = CASES["unet"]()
    more = map_bytes(model, (32, 48)) - map_bytes(model.network, (32, 48))
    assert more == 4 * 32 * 48 * (K * (1 + 2 * 4) + 3 * 4)


@pytest.fixture(scope="module")
def run(tiny: dict[str, Any], tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a network with a CRF."""
    folder = tmp_path_factory.mktemp("run") / "crf"
    run_training(make_settings({**tiny, **CRF, "crf_layer": True, "epochs": 6}), tiny_data, folder)
    return folder


def test_a_run_learns_and_the_crf_with_it(run: Path) -> None:
    losses = [row["loss"] for row in read_metrics(run, "step")]
    validations = [row["train_loss"] for row in read_metrics(run, "validation")]
    assert validations[-1] < validations[0], (validations, losses)
    model = load_engine(run, "cpu").network
    assert isinstance(model, WithCRF)
    started = WithCRF(copy.deepcopy(model.network), model.crf.settings).crf
    for name, value in model.crf.named_parameters():
        assert not torch.equal(value, started.get_parameter(name)), f"{name} has not moved"
        assert (value - started.get_parameter(name)).abs().max() < 2, f"{name} has run away"


def test_a_model_folder_builds_it_again(run: Path, tiny_data: Dataset) -> None:
    """config.json holds the CRF's numbers; the weights hold its parameters and the normalisation."""
    engine = load_engine(run, "cpu")
    chosen = engine.spec.architecture.crf_layer
    assert chosen == CRFSettings(theta_alpha=20.0, theta_beta=10.0)
    assert isinstance(engine.network, WithCRF)
    assert engine.network.crf.settings == chosen
    torch.testing.assert_close(engine.network.mean, torch.tensor(engine.spec.preprocessing.mean))
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    np.testing.assert_allclose(Predictor(engine).probs(image).sum(0), 1, atol=1e-5)
    assert "with a CRF layer" in (run / "model" / "README.md").read_text()


def test_a_folder_from_before_there_was_a_crf_layer_is_read(tmp_path: Path, tiny_data: Dataset) -> None:
    architecture = {"name": "unet_small", "num_classes": K, "encoder": None, "output_stride": None}
    assert Architecture(**architecture).crf_layer is None  # type: ignore[arg-type]


def test_init_from_the_plain_network_and_back(
    tiny: dict[str, Any], tiny_data: Dataset, tmp_path: Path, run: Path
) -> None:
    """The paper's two stages: the network first, then network and CRF together; and a CRF can be left out again."""
    plain = Architecture("deeplabv3plus", tiny_data.label_space.num_classes, "mobilenetv3_small_050")
    preprocessing = Preprocessing((32, 48), *NORMALISATION)
    first = TorchEngine(ModelSpec(plain, tiny_data.label_space, preprocessing), plain.create(), torch.device("cpu"))
    save_engine(first, tmp_path / "plain")
    still = {**tiny, **CRF, "lr": 1e-12, "epochs": 1, "validations": 1, "ema": 0}
    whole = {**still, "init": str(tmp_path / "plain"), "crf_layer": True, "model": None, "encoder": None}
    run_training(make_settings(whole), tiny_data, tmp_path / "whole")
    found = load_engine(tmp_path / "whole", "cpu")
    assert isinstance(found.network, WithCRF)
    assert found.spec.preprocessing.mean == NORMALISATION[0]
    torch.testing.assert_close(found.network.mean, torch.tensor(NORMALISATION[0]))
    assert "start fresh: crf." in (tmp_path / "whole" / "log.txt").read_text()
    same = first.network.state_dict()
    for name, value in found.network.network.named_parameters():
        torch.testing.assert_close(value, same[name])
    run_training(make_settings({**still, "init": str(run), "crf_layer": False}), tiny_data, tmp_path / "without")
    assert not isinstance(load_engine(tmp_path / "without", "cpu").network, WithCRF)


def test_init_from_a_network_with_a_crf_goes_on_with_it(
    tiny: dict[str, Any], tiny_data: Dataset, tmp_path: Path, run: Path
) -> None:
    """If no network is named, the run uses its CRF's numbers unless others are given."""
    settings = {**tiny, **CRF, "lr": 1e-12, "epochs": 1, "validations": 1, "ema": 0}
    del settings["crf_theta_beta"]
    going_on = {**settings, "init": str(run), "model": None, "encoder": None, "crf_theta_alpha": 30.0}
    run_training(make_settings(going_on), tiny_data, tmp_path / "on")
    before, after = (load_engine(folder, "cpu") for folder in (run, tmp_path / "on"))
    assert after.spec.architecture.crf_layer == CRFSettings(theta_alpha=30.0, theta_beta=10.0)
    for name, value in before.network.named_parameters():
        torch.testing.assert_close(after.network.get_parameter(name), value)
