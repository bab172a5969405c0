"""Names to objects: every model by name, options that fit it or are refused with the remedy."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from denselab.build import create_model, inputs_of_a_score, is_normalised, model_preprocessing
from denselab.errors import ConfigError
from denselab.models import MODELS
from denselab.models.deeplab_v3plus import DeepLabV3PlusEncoder
from denselab.models.fcn import FCN
from denselab.models.unet import UNet, UNetEncoder, UNetPaper


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (2000, 30), (360, 480)])
def test_every_name_gives_logits_of_the_picture_s_size(name: str, size: tuple[int, int]) -> None:
    """The full networks, on the meta device: shapes without memory."""
    with torch.device("meta"):
        model = create_model(name, 11)
        assert model.num_classes == 11
        assert model(torch.empty(2, 3, *size)).shape == (2, 11, *size)


@pytest.mark.parametrize("name", MODELS)
def test_other_channels_and_one_class(name: str) -> None:
    with torch.device("meta"):
        assert create_model(name, 1, in_channels=4)(torch.empty(1, 4, 20, 20)).shape == (1, 1, 20, 20)


def test_classes_behind_the_names() -> None:
    with torch.device("meta"):
        assert isinstance(create_model("fcn16s", 2, encoder="vgg16"), FCN)
        assert isinstance(create_model("unet", 2), UNet)
        assert isinstance(create_model("unet", 2, encoder="test_resnet"), UNetEncoder)
        assert isinstance(create_model("unet_paper", 2), UNetPaper)
        deeplab = create_model("deeplabv3plus", 2)
        assert isinstance(deeplab, DeepLabV3PlusEncoder)
        assert deeplab.encoder.name == "mobilenetv2_100"
        assert deeplab.encoder.stages[-1].stride == 16


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_output_stride(output_stride: int) -> None:
    with torch.device("meta"):
        model = create_model("deeplabv3plus", 2, encoder="test_resnet", output_stride=output_stride)
    assert isinstance(model, DeepLabV3PlusEncoder)
    assert model.encoder.stages[-1].stride == output_stride


def test_which_networks_need_a_small_learning_rate() -> None:
    with torch.device("meta"):
        normalised = {name: is_normalised(create_model(name, 2)) for name in ("fcn8s", "unet", "unet_paper")}
        assert normalised == {"fcn8s": False, "unet": True, "unet_paper": False}
        wide = {name: inputs_of_a_score(create_model(name, 11), 11) for name in MODELS}
    assert {name: inputs for name, inputs in wide.items() if inputs > 4096} == {
        f"deeplabv2_resnet101{kind}": 9 * 2048 for kind in ("", "_s", "_largefov", "_msc")
    } | {"msra_cfm": 49 * 512, "zoomout16": 12_416, "zoomout16_deep": 12_416}
    assert inputs_of_a_score(nn.Conv2d(2, 11, 1), 12) == 0


def test_the_auxiliary_head() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv3plus", 2, encoder="test_resnet", aux=True)
        assert len(model.train_logits(torch.empty(2, 3, 32, 32))) == 2


def test_nothing_is_drawn_from_the_global_generator_but_the_weights() -> None:
    """The same seed, the same network."""
    nets = []
    for _ in range(2):
        torch.manual_seed(5)
        nets.append(create_model("deeplabv3plus", 3, encoder="test_efficientnet").state_dict())
    assert all(torch.equal(a, b) for a, b in zip(nets[0].values(), nets[1].values(), strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("fcn8", 2), r"unknown model 'fcn8'; did you mean .*fcn8s"),
        (lambda: create_model("qqqq", 2), r"unknown model 'qqqq'; did you mean .*deeplabv3plus"),
        (lambda: create_model("unet", 0), "`num_classes` is 0; expected a whole number of 1 or more"),
        (lambda: create_model("unet", 2, in_channels=0), "`in_channels` is 0; expected a whole number of 1 or more"),
        (
            lambda: create_model("fcn8s_padded", 2, encoder="resnet50"),
            r"'fcn8s_padded' stands on 'vgg16' or 'vgg16_bn', got encoder 'resnet50'",
        ),
        (lambda: create_model("unet_paper", 2, encoder="vgg16"), r"a trunk of its own, got encoder 'vgg16'"),
        (lambda: create_model("deeplabv3plus", 2, encoder="resnet5O"), r"unknown encoder.*did you mean .*resnet50"),
        (lambda: create_model("deeplabv3plus", 2, output_stride=4), r"no output_stride 4; choose one of \(8, 16, 32\)"),
        (lambda: create_model("unet", 2, output_stride=8), r"no output_stride 8; leave it out"),
        (lambda: create_model("fcn8s", 2, aux=True), r"no auxiliary head.*'deeplabv3plus'"),
        (lambda: create_model("unet", 2, pretrained="yes"), r"no ImageNet weights for 'unet'"),
        (lambda: model_preprocessing("fcn"), r"unknown model 'fcn'; did you mean .*fcn8s"),
    ],
)
def test_what_a_model_does_not_have_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("name", ["unet", "fcn8s", "deeplabv3plus"])
def test_auto_without_a_network_says_so_and_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with torch.device("meta"):
        create_model(name, 2, pretrained="auto")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "training from scratch" in err
    with torch.device("meta"), pytest.raises(ConfigError, match="`pretrained` yes"):
        create_model(name, 2, pretrained="yes")


def test_cached_weights_arrive_in_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub cache as the client lays it out, and nothing but the cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repo = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repo / "snapshots" / "0123abcd").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123abcd")
    published = timm.create_model("test_resnet").state_dict()
    save_file(published, repo / "snapshots" / "0123abcd" / "model.safetensors")
    for name in ("deeplabv3plus", "unet"):
        model = create_model(name, 2, encoder="test_resnet", pretrained="yes")
        ours = {
            n.removeprefix("encoder.backbone."): p for n, p in model.state_dict().items() if n.startswith("encoder.")
        }
        assert set(published) - set(ours) == {"fc.weight", "fc.bias"}
        assert all(torch.equal(p, published[n]) for n, p in ours.items())


def test_preprocessing_follows_the_encoder() -> None:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert model_preprocessing("fcn8s") == imagenet
    assert model_preprocessing("unet") == imagenet
    assert model_preprocessing("deeplabv3plus") == imagenet
    assert model_preprocessing("unet", "xception65") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
