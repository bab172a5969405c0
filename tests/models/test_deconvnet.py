"""DeconvNet as its release states it: the layer table 224 - 1 - 224, the counts, the switches, the initialisation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.encoders.vgg import VGG16
from denselab.encoders.weights import read_weights
from denselab.models.base import ModelOptions
from denselab.models.deconvnet import DeconvNet, build_deconvnet, load_vgg_weights

THIN = ((4, 4), (4, 4), (6, 6, 6), (8, 8, 8), (8, 8, 8))
# DeconvNet_inference_deploy.prototxt: name, kernel, stride, pad, output channels, output size at 224x224
TABLE = [
    *((f"conv1_{i}", 3, 1, 1, 64, 224) for i in (1, 2)),
    ("pool1", 2, 2, 0, 64, 112),
    *((f"conv2_{i}", 3, 1, 1, 128, 112) for i in (1, 2)),
    ("pool2", 2, 2, 0, 128, 56),
    *((f"conv3_{i}", 3, 1, 1, 256, 56) for i in (1, 2, 3)),
    ("pool3", 2, 2, 0, 256, 28),
    *((f"conv4_{i}", 3, 1, 1, 512, 28) for i in (1, 2, 3)),
    ("pool4", 2, 2, 0, 512, 14),
    *((f"conv5_{i}", 3, 1, 1, 512, 14) for i in (1, 2, 3)),
    ("pool5", 2, 2, 0, 512, 7),
    ("fc6", 7, 1, 0, 4096, 1),
    ("fc7", 1, 1, 0, 4096, 1),
    ("fc6_deconv", 7, 1, 0, 512, 7),
    ("unpool5", None, None, None, 512, 14),
    *((f"deconv5_{i}", 3, 1, 1, 512, 14) for i in (1, 2, 3)),
    ("unpool4", None, None, None, 512, 28),
    *((f"deconv4_{i}", 3, 1, 1, out, 28) for i, out in ((1, 512), (2, 512), (3, 256))),
    ("unpool3", None, None, None, 256, 56),
    *((f"deconv3_{i}", 3, 1, 1, out, 56) for i, out in ((1, 256), (2, 256), (3, 128))),
    ("unpool2", None, None, None, 128, 112),
    *((f"deconv2_{i}", 3, 1, 1, out, 112) for i, out in ((1, 128), (2, 64))),
    ("unpool1", None, None, None, 64, 224),
    *((f"deconv1_{i}", 3, 1, 1, 64, 224) for i in (1, 2)),
    ("seg_score_voc", 1, 1, 0, 21, 224),
]


def on_meta(num_classes: int = 21, fc_channels: int = 4096) -> DeconvNet:
    with torch.device("meta"):
        return build_deconvnet(ModelOptions(num_classes), fc_channels)


def thin(num_classes: int = 3, fc_channels: int = 16) -> DeconvNet:
    torch.manual_seed(0)
    return DeconvNet(VGG16(blocks=THIN, batch_norm=True, return_indices=True), num_classes, fc_channels)


@pytest.mark.parametrize(("classes", "parameters"), [(21, 251_805_653), (11, 251_805_003)])
def test_parameters(classes: int, parameters: int) -> None:
    assert sum(p.numel() for p in on_meta(classes).parameters()) == parameters


def test_parameters_by_part() -> None:
    """Where the quarter of a billion weights of DeconvNet_inference_deploy.prototxt are."""
    parts = dict.fromkeys(("encoder and fc", "fc6_deconv", "deconvs", "score", "normalisation"), 0)
    model = on_meta()
    for path, module in model.named_modules():
        name = path.split(".")[-1]
        size = sum(p.numel() for p in module.parameters(recurse=False))
        if isinstance(module, nn.BatchNorm2d):
            parts["normalisation"] += size
        elif name == "fc6_deconv":
            parts["fc6_deconv"] += size
        elif isinstance(module, nn.ConvTranspose2d):
            parts["deconvs"] += size
        elif name == "seg_score_voc":
            parts["score"] += size
        else:
            parts["encoder and fc"] += size
    assert parts == {
        "encoder and fc": 134_260_544,
        "fc6_deconv": 102_760_960,
        "deconvs": 14_749_376,
        "score": 1_365,
        "normalisation": 33_408,
    }
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 29


def test_the_variant_of_segnet_s_benchmark() -> None:
    """About 81.9 M; the 877 MB of SegNet's table 6 do not fit that (arXiv 1511.00561)."""
    assert sum(p.numel() for p in on_meta(11, 1024).parameters()) == 81_917_259


def test_the_layer_table(recorded: Any) -> None:
    model = on_meta().eval()
    with recorded(model) as calls:
        assert model(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 21, 224, 224)
    rows = [
        (call.name, *call.geometry, call.output.shape[1], call.output.shape[-1])
        for call in calls
        if not isinstance(call.layer, nn.BatchNorm2d)
    ]
    assert rows == TABLE


def test_normalisation_follows_every_convolution_but_the_last(recorded: Any) -> None:
    """Under the release's names; ReLU comes after it, so nothing below zero reaches the next layer."""
    model = thin().train()
    with recorded(model) as calls:
        model(torch.randn(2, 3, 224, 224))
    expected = {f"conv{b}_{i}": f"bn{b}_{i}" for b, block in enumerate(THIN, 1) for i in range(1, len(block) + 1)}
    expected |= {f"de{conv}": f"de{norm}" for conv, norm in expected.items()}
    expected |= {"fc6": "bnfc6", "fc7": "bnfc7", "fc6_deconv": "fc6_deconv_bn"}
    names = [call.name for call in calls]
    layers = [i for i, call in enumerate(calls) if isinstance(call.layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert {names[i]: names[i + 1] for i in layers[:-1]} == expected
    assert names[-1] == "seg_score_voc"
    for call in calls[1:]:
        assert isinstance(call.layer, nn.BatchNorm2d) or float(call.inputs[0].min()) >= 0


def test_the_decoder_s_layers_are_transposed_convolutions() -> None:
    layers = {name: layer for name, layer in on_meta().named_modules() if "deconv" in name and "bn" not in name}
    assert len(layers) == 14
    assert all(isinstance(layer, nn.ConvTranspose2d) for layer in layers.values())
    assert {name: tuple(layers[name].weight.shape) for name in ("deconv4_3", "deconv3_3", "deconv2_2")} == {
        "deconv4_3": (512, 256, 3, 3),  # (in, out, k, k), as Caffe stores them
        "deconv3_3": (256, 128, 3, 3),
        "deconv2_2": (128, 64, 3, 3),
    }


def test_a_transposed_convolution_of_stride_1_is_a_convolution() -> None:
    """With its kernel rotated and its channels exchanged: the "deconvolution" undoes nothing, it only learns."""
    layer, x = thin().get_submodule("deconv4_3"), torch.randn(2, 8, 7, 9)
    assert isinstance(layer, nn.ConvTranspose2d)
    turned = layer.weight.flip(2, 3).transpose(0, 1)
    torch.testing.assert_close(F.conv2d(x, turned, layer.bias, padding=1), layer(x), atol=1e-6, rtol=1e-5)


def test_each_unpooling_uses_the_switches_of_its_own_pool(recorded: Any) -> None:
    model = thin().eval()
    with recorded(model) as calls:
        model(torch.randn(1, 3, 224, 256))
    pools = {call.name: call.result for call in calls if call.name.startswith("pool")}
    unpools = [call for call in calls if call.name.startswith("unpool")]
    assert [call.name for call in unpools] == [f"unpool{b}" for b in (5, 4, 3, 2, 1)]
    for call in unpools:
        values, indices, size = call.inputs
        maxima, places = pools[call.name.removeprefix("un")]
        block = int(call.name.removeprefix("unpool"))
        assert torch.equal(indices, places)
        assert values.shape == maxima.shape
        assert size == call.output.shape[-2:] == (224 >> (block - 1), 256 >> (block - 1))
        assert torch.equal(call.output.flatten(2).gather(2, places.flatten(2)), values.flatten(2))


@pytest.mark.parametrize(
    ("size", "cells"), [((1, 1), (7, 7)), ((224, 225), (7, 8)), ((360, 480), (12, 15)), ((500, 333), (16, 11))]
)
def test_whole_pictures_of_any_size(size: tuple[int, int], cells: tuple[int, int], recorded: Any) -> None:
    """Padded to whole cells of 32 pixels, at least 7; fc6 takes off 6 of them and fc6_deconv restores them."""
    model = on_meta().eval()
    with recorded(model) as calls:
        assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 21, *size)
    sizes = {call.name: tuple(call.output.shape[-2:]) for call in calls}
    assert sizes["pool5"] == sizes["fc6_deconv"] == cells
    assert sizes["fc6"] == sizes["fc7"] == (cells[0] - 6, cells[1] - 6)


def test_it_starts_as_released() -> None:
    model = thin()
    assert all((m.bias == 0.001).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    for layer in (model.fc6_deconv, model.seg_score_voc, model.get_submodule("deconv5_1")):
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.25)
        assert not layer.bias.any()
    assert float(model.fc6.weight.detach().std()) == pytest.approx((2 / (8 * 49)) ** 0.5, rel=0.1)


def test_folded_normalisation_of_the_release_is_exact() -> None:
    """Only scale and shift are stored; running_mean 0 and running_var 1 - eps make torch compute scale * x + shift."""
    norm = thin().get_submodule("debn5_1").eval()
    assert isinstance(norm, nn.BatchNorm2d)
    scale, shift, x = torch.rand(8) + 0.5, torch.randn(8), torch.randn(2, 8, 4, 4)
    values = {"weight": scale, "bias": shift, "running_mean": torch.zeros(8), "running_var": torch.ones(8) - norm.eps}
    norm.load_state_dict({**values, "num_batches_tracked": torch.tensor(0)})
    torch.testing.assert_close(norm(x), x * scale[:, None, None] + shift[:, None, None])


def vgg_file(path: Path, *, batch_norm: bool) -> dict[str, Tensor]:
    """A thin VGG-16 with torchvision's names: features.N counts every layer, the classifier is fully connected."""
    state: dict[str, Tensor] = {}
    index, channels = 0, 3
    for block in THIN:
        for out in block:
            state[f"features.{index}.weight"] = torch.randn(out, channels, 3, 3)
            state[f"features.{index}.bias"] = torch.randn(out)
            if batch_norm:
                index += 1
                for name in ("weight", "bias", "running_mean", "running_var"):
                    state[f"features.{index}.{name}"] = torch.rand(out) + 0.1
                state[f"features.{index}.num_batches_tracked"] = torch.tensor(7)
            index, channels = index + 2, out
        index += 1
    state |= {"classifier.0.weight": torch.randn(16, 8 * 49), "classifier.0.bias": torch.randn(16)}
    state |= {"classifier.3.weight": torch.randn(16, 16), "classifier.3.bias": torch.randn(16)}
    save_file(state, path)
    return state


@pytest.mark.parametrize("batch_norm", [False, True])
def test_imagenet_weights(batch_norm: bool, tmp_path: Path) -> None:
    """The encoder, fc6 and fc7 start from VGG-16; only a vgg16_bn file also provides normalisation."""
    state, model = vgg_file(tmp_path / "vgg.safetensors", batch_norm=batch_norm), thin()
    load_vgg_weights(model, read_weights(tmp_path / "vgg.safetensors"), batch_norm=batch_norm)
    own = model.state_dict()
    last = 40 if batch_norm else 28  # of features.N: conv5_3
    assert torch.equal(own["encoder.conv1_1.weight"], state["features.0.weight"])
    assert torch.equal(own["encoder.conv5_3.bias"], state[f"features.{last}.bias"])
    assert torch.equal(own["fc6.weight"], state["classifier.0.weight"].view(16, 8, 7, 7))
    assert torch.equal(own["fc7.bias"], state["classifier.3.bias"])
    if batch_norm:
        assert torch.equal(own["encoder.bn5_3.running_var"], state[f"features.{last + 1}.running_var"])
    else:
        assert (own["encoder.bn5_3.bias"] == 0.001).all()


def test_the_narrow_variant_takes_the_encoder_s_weights_only(tmp_path: Path) -> None:
    state, model = vgg_file(tmp_path / "vgg.safetensors", batch_norm=False), thin(fc_channels=10)
    before = model.fc7.weight.clone()
    load_vgg_weights(model, read_weights(tmp_path / "vgg.safetensors"), batch_norm=False)
    assert torch.equal(model.state_dict()["encoder.conv2_1.weight"], state["features.5.weight"])
    assert torch.equal(model.fc7.weight, before)


def test_landmarks_are_layers_in_the_order_of_computation(recorded: Any) -> None:
    model = thin().eval()
    with recorded(model) as calls:
        model(torch.randn(1, 3, 40, 40))
    marks = list(model.landmarks())
    assert [call.name for call in calls if call.name in marks] == marks
    assert len(marks) == 1 + 5 + 13  # fc6_deconv, each unpooling, each transposed convolution
