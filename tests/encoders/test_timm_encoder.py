"""timm backbones as encoders: maps by stride, any size, and refusals that say what to choose."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from denselab.encoders.origin import Origin
from denselab.encoders.timm_encoder import Stage, TimmEncoder, encoder_normalisation
from denselab.encoders.weights import Weights, read_weights
from denselab.errors import CheckpointError, ConfigError


@pytest.mark.parametrize(
    ("name", "output_stride", "strides"),
    [
        ("test_resnet", None, [2, 4, 8, 16, 32]),
        ("test_resnet", 8, [2, 4, 8]),
        ("test_efficientnet", 16, [2, 4, 8, 16]),
        ("test_convnext", None, [4, 8, 16, 32]),
        ("test_vit", None, [16]),
        ("swin_tiny_patch4_window7_224", None, [4, 8, 16, 32]),
    ],
)
def test_maps_by_stride(name: str, output_stride: int | None, strides: list[int]) -> None:
    encoder = TimmEncoder(name, output_stride=output_stride).eval()
    assert list(encoder.channels) == strides
    with torch.no_grad():
        maps = encoder(torch.randn(2, 3, 37, 53))
    step = strides[-1]
    rows, columns = (max(-(-side // step), 2) * step for side in (37, 53))  # padded to whole cells, at least two
    assert {s: tuple(x.shape) for s, x in maps.items()} == {
        s: (2, encoder.channels[s], rows // s, columns // s) for s in strides
    }


def test_two_maps_of_one_stride_the_deepest_counts() -> None:
    encoder = TimmEncoder("test_resnet", output_stride=8)
    assert encoder.stages == (Stage(2, 32), Stage(4, 32), Stage(8, 48), Stage(8, 192), Stage(8, 96))
    assert encoder.channels[8] == 96


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 2)])
def test_one_tiny_picture_trains(size: tuple[int, int]) -> None:
    """At least two cells at the largest stride: a 1x1 picture leaves batch normalisation four values per channel."""
    encoder = TimmEncoder("test_resnet").train()
    deepest = encoder(torch.randn(1, 3, *size))[32]
    assert deepest.shape[-2] * deepest.shape[-1] >= 4
    assert deepest.isfinite().all()


def test_the_probe_leaves_the_statistics_alone() -> None:
    encoder = TimmEncoder("test_resnet")
    assert encoder.training
    means = [b for n, b in encoder.named_buffers() if n.endswith("running_mean")]
    assert means
    assert not any(bool(b.any()) for b in means)


def test_other_numbers_of_channels() -> None:
    encoder = TimmEncoder("test_resnet", in_channels=5).eval()
    assert encoder(torch.randn(1, 5, 32, 32))[4].shape[1] == 32


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown encoder 'resnet5O'; did you mean .*resnet50"):
        TimmEncoder("resnet5O")
    with pytest.raises(ConfigError, match=r"unknown encoder 'qqqq'; any timm model"):
        TimmEncoder("qqqq")


def test_a_network_of_one_size_says_so() -> None:
    with pytest.raises(ConfigError, match=r"'levit_128s' does not take a picture of .*resnet50"):
        TimmEncoder("levit_128s")


def test_an_output_stride_that_cannot_be_had_says_so() -> None:
    with pytest.raises(ConfigError, match=r"timm cannot build 'test_vit' as an encoder with output_stride=8"):
        TimmEncoder("test_vit", output_stride=8)
    with pytest.raises(ConfigError, match=r"timm cannot build 'resnet18' as an encoder with output_stride=5"):
        TimmEncoder("resnet18", output_stride=5)


def test_required_strides() -> None:
    encoder = TimmEncoder("test_convnext")
    encoder.require(4, 32)
    with pytest.raises(ConfigError, match=r"maps at strides \[4, 8, 16, 32\], but \[2\] is needed"):
        encoder.require(2, 4)


def test_weights_of_a_classifier_arrive(tmp_path: Path) -> None:
    """timm publishes a file with the whole classifier; the encoder takes the part it has."""
    torch.manual_seed(3)
    classifier = timm.create_model("test_resnet").eval()
    save_file(classifier.state_dict(), tmp_path / "model.safetensors")
    encoder = TimmEncoder("test_resnet", weights=read_weights(tmp_path / "model.safetensors")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[32], classifier.forward_features(image))


def test_weights_of_another_network_are_named() -> None:
    """timm loads a backbone's weights leniently: a file with other names had no effect, and nothing was said."""
    origin = Origin("file w.pth", "0" * 64)
    renamed = {f"module.{name}": tensor for name, tensor in timm.create_model("test_resnet").state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"file w\.pth: not the weights of 'test_resnet' \(they lack conv1\.0\.weight\)"
    ):
        TimmEncoder("test_resnet", weights=Weights(renamed, origin))
    wider = timm.create_model("test_efficientnet").state_dict()
    with pytest.raises(CheckpointError, match=r"file w\.pth: not the weights of 'test_resnet'"):
        TimmEncoder("test_resnet", weights=Weights(wider, origin))


def test_normalisation_is_the_backbone_s() -> None:
    assert encoder_normalisation("resnet50")[0] == (0.485, 0.456, 0.406)
    assert encoder_normalisation("xception65") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
