"""FCN on AlexNet, GoogLeNet, vgg16_bn and timm's encoders: sizes, counts, offsets, receptive fields of table 1."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from denselab.build import create_model
from denselab.encoders.alexnet import AlexNet
from denselab.encoders.googlenet import INCEPTIONS, GoogLeNet
from denselab.encoders.timm_encoder import TimmEncoder
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.errors import ConfigError
from denselab.models.base import ModelOptions
from denselab.models.fcn import FCN, Decapitated, Stride, build_fcn

STRIDES: tuple[Stride, ...] = (32, 16, 8)


def on_meta(encoder: str, stride: Stride, num_classes: int = 21) -> FCN:
    with torch.device("meta"):
        return build_fcn(ModelOptions(num_classes, encoder=encoder), stride)


def learnable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def output_sizes(model: FCN, size: int) -> dict[str, int]:
    """{layer: width of its output} for a square picture."""
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    return {name.split(".")[-1]: shape[-1] for name, shape in output_shapes(model, leaves, size).items()}


def output_shapes(model: FCN, paths: list[str], size: int) -> dict[str, torch.Size]:
    """The output shapes of modules, in the order of computation."""
    shapes: dict[str, torch.Size] = {}

    def note(name: str, out: Tensor) -> None:
        shapes[name] = out.shape

    for name in paths:
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: note(name, out))
    model(torch.empty(1, 3, size, size, device="meta"))
    return shapes


@pytest.mark.parametrize(
    ("size", "expected"),
    [(500, (173, 86, 86, 43, 43, 21, 16, 543)), (227, (105, 52, 52, 26, 26, 13, 8, 287))],
)
def test_alexnet_s_sizes(size: int, expected: tuple[int, ...]) -> None:
    """voc-fcn-alexnet/net.py."""
    sizes = output_sizes(on_meta("alexnet", 32), size)
    assert tuple(sizes[n] for n in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5", "fc6", "upscore")) == expected


def test_alexnet_s_layers() -> None:
    """voc-fcn-alexnet/net.py: the pool comes before the normalisation, as in CaffeNet."""
    model = on_meta("alexnet", 32)
    assert [n for n, _ in model.encoder.named_children()] == [
        *("conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv3", "conv4", "conv5", "pool5")
    ]
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if n.endswith("weight")}
    assert shapes == {
        "encoder.conv1.weight": (96, 3, 11, 11),
        "encoder.conv2.weight": (256, 48, 5, 5),
        "encoder.conv3.weight": (384, 256, 3, 3),
        "encoder.conv4.weight": (384, 192, 3, 3),
        "encoder.conv5.weight": (256, 192, 3, 3),
        "classifier.fc6.weight": (4096, 256, 6, 6),
        "classifier.fc7.weight": (4096, 4096, 1, 1),
        "score_fr.weight": (21, 4096, 1, 1),
        "upscore.weight": (21, 1, 63, 63),
    }
    assert learnable(model) == 56_954_261
    assert learnable(model.encoder) == 2_334_080
    assert model.get_parameter("upscore.weight").numel() * 21 == 1_750_329, "dense, as released"
    assert model.crop == 18


def test_local_response_normalisation_is_caffe_s() -> None:
    """x / (1 + alpha/n * sum of squares over n channels)^beta, by hand (Caffe divides alpha by n as torch does)."""
    norm = AlexNet(channels=(8, 8, 8, 8, 8)).get_submodule("norm1")
    x = 100 * torch.rand(1, 8, 2, 2)
    window = x[:, 1:6].square().sum(1)
    torch.testing.assert_close(norm(x)[:, 3], x[:, 3] / (1 + 1e-4 / 5 * window) ** 0.75)


def test_googlenet_s_stages() -> None:
    """Sizes and channels of table 1 at 224, and each inception's parameters in K = 1024, to the paper's rounding.

    The table prints 463 K for 4c and 1072 K for 5a, where its own columns give 498 K and 1019 K.
    """
    trunk = on_meta("googlenet", 32).encoder
    assert isinstance(trunk, GoogLeNet)
    maps = trunk(torch.empty(1, 3, 224, 224, device="meta"))
    shapes = {name: (x.shape[1], x.shape[-1]) for name, x in maps.items()}
    assert shapes == {"pool1": (64, 56), "pool2": (192, 28), "pool3": (480, 14), "inception_5b": (1024, 7)}
    outputs = [trunk.channels[name] for name in INCEPTIONS]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    told = (159, 380, 364, 437, 498, 580, 840, 1019, 1388)
    counted = [learnable(trunk.get_submodule(name)) / 1024 for name in INCEPTIONS]
    assert counted == pytest.approx(told, rel=0.035)
    assert learnable(on_meta("googlenet", 32)) == pytest.approx(6e6, rel=0.01), "FCN, table 1: 6 M"


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(
    ("encoder", "crop", "offsets"),
    [("vgg16_bn", {32: 19, 16: 27, 8: 31}, (5, 9)), ("alexnet", {32: 18, 16: 18, 8: 18}, (5, 10)),
     ("googlenet", {32: 1, 16: 1, 8: 1}, (0, 0)), ("test_resnet", {32: 0, 16: 0, 8: 0}, (0, 0))],
)  # fmt: skip
def test_offsets_are_whole_cells(encoder: str, crop: dict[int, int], offsets: tuple[int, int], stride: Stride) -> None:
    """The odd kernels 63, 31, 15, 3 for 3x3 pools, the even ones for 2x2 pools and for padded encoders."""
    model = on_meta(encoder, stride)
    assert model.crop == crop[stride]
    assert tuple(skip.offset for skip in model.skips) == offsets[: STRIDES.index(stride)]
    kernels = {m.kernel_size[0] for m in model.modules() if isinstance(m, nn.ConvTranspose2d)}
    assert {k % 2 for k in kernels} == ({1} if encoder in ("alexnet", "googlenet") else {0})


def test_where_the_skips_come_from() -> None:
    names = {e: [s.score for s in on_meta(e, 8).skips] for e in ("vgg16_bn", "alexnet", "googlenet", "test_resnet")}
    assert names == {
        "vgg16_bn": ["score_pool4", "score_pool3"],
        "alexnet": ["score_pool2", "score_pool1"],
        "googlenet": ["score_pool3", "score_pool2"],
        "test_resnet": ["score_stride16", "score_stride8"],
    }


@cache
def thin_on_meta(name: str, stride: Stride) -> FCN:
    with torch.device("meta"):
        if name == "alexnet":
            return FCN(AlexNet(channels=(2,) * 5), VGG16Classifier(0, 2, 2, kernel=6), 2, stride)
        if name == "googlenet":
            trunk = GoogLeNet(stem=(1, 1, 1), inceptions=dict.fromkeys(INCEPTIONS, (1,) * 6))
            return FCN(trunk, Decapitated(4), 2, stride)
        return FCN(TimmEncoder("test_resnet"), Decapitated(512), 2, stride)


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
@pytest.mark.parametrize("stride", STRIDES)
@settings(max_examples=20)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_crop_always_covers_the_picture(name: str, stride: Stride, height: int, width: int) -> None:
    model = thin_on_meta(name, stride)
    assert model(torch.empty(1, 3, height, width, device="meta")).shape == (1, 2, height, width)


def reach(network: nn.Module, size: int) -> int:
    """Width of the pixels that affect the middle cell of a map: the nonzero gradient with all weights positive.

    A maximum depends on one pixel of its window, so pools become sums first: the reach of a pool is its window.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            kernel, stride, pad = int(module.kernel_size), int(module.stride), int(module.padding)
            parent, _, last = name.rpartition(".")
            network.get_submodule(parent).add_module(last, nn.AvgPool2d(kernel, stride, pad, ceil_mode=True))
    for p in network.parameters():
        nn.init.constant_(p, 1.0 / p[0].numel() if p.ndim == 4 else 0.0)
    image = torch.ones(1, 3, 240, size, dtype=torch.float64, requires_grad=True)  # seven cells high: enough for fc6
    x = network.double().eval()(image)
    x[0, :, x.shape[-2] // 2, x.shape[-1] // 2].sum().backward()
    assert image.grad is not None
    seen = image.grad[0, 0].abs() > 0
    columns = seen.any(0).nonzero().flatten()
    return int(columns[-1] - columns[0] + 1)


class Trunk(nn.Module):
    """An encoder's last map, and a classifier on it."""

    def __init__(self, encoder: VGG16 | AlexNet | GoogLeNet, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, images: Tensor) -> Tensor:
        maps = self.encoder(images)
        out: Tensor = self.classifier(maps[self.encoder.taps[32].key])
        return out


def test_receptive_fields_are_those_of_table_1() -> None:
    """AlexNet 355, VGG-16 404, GoogLeNet 907; the last with the average pool that the text drops, otherwise 715."""
    vgg = VGG16(first_pad=1, blocks=((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
    assert reach(Trunk(vgg, VGG16Classifier(0, 1, 1)), 900) == 404
    assert reach(Trunk(AlexNet(first_pad=0, channels=(2,) * 5), VGG16Classifier(0, 2, 1, kernel=6)), 800) == 355

    def google() -> GoogLeNet:
        return GoogLeNet(stem=(1, 1, 1), inceptions=dict.fromkeys(INCEPTIONS, (1,) * 6))

    assert reach(Trunk(google(), nn.AvgPool2d(7, 1)), 1600) == 907
    assert reach(Trunk(google(), nn.Identity()), 1440) == 715


def test_vgg16_bn_counts() -> None:
    """The plain net's, and two numbers per normalised channel: 4,224 in the trunk, 4,096 in each of fc6 and fc7."""
    model = on_meta("vgg16_bn", 8)
    assert learnable(model) == 134_362_751 + 2 * (4_224 + 2 * 4_096)


def test_an_encoder_without_a_map_at_a_needed_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'test_vit.*choose"), torch.device("meta"):
        create_model("fcn8s", 2, encoder="test_vit")


@pytest.mark.parametrize("name", ["fcn8s", "fcn8s_learnt", "fcn8s_atonce"])
def test_landmarks_are_modules_with_one_map(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, 3)
    assert isinstance(model, FCN)
    shapes = {path: shape[1] for path, shape in output_shapes(model, list(model.landmarks()), 64).items()}
    assert list(shapes.items()) == [
        *(("score_fr", 3), ("upscore2", 3), ("score_pool4", 3), ("fuse_pool4", 3)),
        *(("upscore_pool4", 3), ("score_pool3", 3), ("fuse_pool3", 3)),
    ]
