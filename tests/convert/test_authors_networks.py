"""Files as their authors' programs write them give the logits of their authors' networks.

Each network is written down here a second time, from the authors' definition (the .prototxt, TensorFlow's code, a port's code)
and with functions only: no layer, name table or geometry of the package is in it. Pictures are what the authors' programs show
their networks: BGR in 0..255 for Caffe. Widths are thin where the network lets one choose; every name is the authors'.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from denselab.convert.conversion import convert_file
from denselab.convert.mapping import Reading, check_fit
from denselab.convert.names_caffe import map_caffe
from denselab.convert.names_torch import map_state
from denselab.encoders.caffe import read_caffemodel
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.folder import load_engine
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.layers.upsample import bilinear_kernel
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v1 import LARGE_FOV, DeepLabMSc, VGG16FieldOfView
from denselab.models.fcn import FCN
from denselab.models.release import AS_THEY_ARE, CAFFE, UNSCALED
from denselab.models.segnet import SegNet
from denselab.models.unet import UNetCore, UNetPaper

CAFFE_MEAN = tuple(255 * value for value in CAFFE[0])  # RGB, 0..255

Weights = dict[str, list[np.ndarray]]
THIN = ((4, 4), (4, 6), (6, 6, 6), (8, 8, 8), (8, 8, 8))
K = 3
CPU = torch.device("cpu")
LEAVES = ("weight", "bias")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def conv(rng: np.random.Generator, out: int, incoming: int, k: int = 3, *, gain: float = 1.0) -> list[np.ndarray]:
    """Weight and bias of a convolution, so that values keep their size."""
    std = gain * (2 / (incoming * k * k)) ** 0.5
    return [
        rng.normal(size=(out, incoming, k, k), scale=std).astype("f4"),
        rng.normal(size=out, scale=0.1).astype("f4"),
    ]


def bn(rng: np.random.Generator, width: int) -> list[np.ndarray]:
    """Scale and shift of the forks' BN layer, statistics folded in."""
    return [rng.uniform(0.5, 1.5, (1, width, 1, 1)).astype("f4"), rng.normal(size=(1, width, 1, 1)).astype("f4")]


def vgg(rng: np.random.Generator, gain: float = 1 / 60) -> Weights:
    """conv1_1 ... conv5_3, thin; gain: of the first, whose pictures come in 0..255."""
    weights, before = {}, 3
    for b, block in enumerate(THIN, 1):
        for i, width in enumerate(block, 1):
            weights[f"conv{b}_{i}"] = conv(rng, width, before, gain=gain if before == 3 else 1)
            before = width
    return weights


def as_state(weights: Weights) -> dict[str, Tensor]:
    """The same weights as a port of PyTorch names them."""
    named = (
        (f"{name}.{leaf}", array)
        for name, arrays in weights.items()
        for leaf, array in zip(LEAVES, arrays, strict=False)
    )
    return {name: torch.from_numpy(array) for name, array in named}


class Layers:
    """A file's arrays as functions: layers("fc7", x) is that convolution, with F.conv2d's stride, padding, dilation."""

    def __init__(self, weights: Weights) -> None:
        self.arrays = {name: [torch.from_numpy(a) for a in arrays] for name, arrays in weights.items()}

    def __call__(self, name: str, x: Tensor, **geometry: int) -> Tensor:
        return F.conv2d(x, *self.arrays[name], **geometry)

    def deconv(self, name: str, x: Tensor, stride: int) -> Tensor:
        return F.conv_transpose2d(x, *self.arrays[name], stride=stride)

    def bn(self, name: str, x: Tensor) -> Tensor:
        scale, shift = self.arrays[name]
        return x * scale + shift


def picture(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """(1, 3, H, W) uint8 RGB."""
    return torch.from_numpy(rng.integers(0, 256, (1, 3, height, width), dtype=np.uint8))


def bgr(images: Tensor, mean: tuple[float, ...] = CAFFE_MEAN) -> Tensor:
    """What Caffe's data layers give: 0..255, minus a mean that is given as RGB here."""
    return (images.float() - torch.tensor(mean).view(1, 3, 1, 1)).flip(1)


def filled(model: SegmentationModel, reading: Reading) -> SegmentationModel:
    """The network with what was read, all of which must fit."""
    own = model.state_dict()
    check_fit(own, reading.mapped, reading.unused, {n for n in own if n.endswith("num_batches_tracked")}, "test")
    model.load_state_dict({**own, **{m.target: m.tensor for m in reading.mapped}})
    return model.eval()


@pytest.fixture
def from_caffe(write, tmp_path: Path) -> Callable[[SegmentationModel, Weights], SegmentationModel]:
    """The network with the weights of a .caffemodel that is written and read again."""

    def converted(model: SegmentationModel, weights: Weights) -> SegmentationModel:
        path = tmp_path / "authors.caffemodel"
        path.write_bytes(write.caffemodel(weights))
        return filled(model, map_caffe(read_caffemodel(path), model))

    return converted


def ours(
    model: SegmentationModel, images: Tensor, normalisation: tuple[tuple[float, ...], tuple[float, ...]]
) -> Tensor:
    with torch.no_grad():
        return forward_images(model, images, Preprocessing((1, 1), *normalisation), CPU)


def assert_equal_logits(actual: Tensor, expected: Tensor) -> None:
    assert float(expected.std()) > 0.05, "else this test would prove nothing"
    torch.testing.assert_close(actual, expected, atol=3e-4, rtol=1e-3)


# DeepLab-MSc-LargeFOV ---------------------------------------------------------------------------------------------------


def msc_weights(rng: np.random.Generator) -> Weights:
    weights = vgg(rng) | {"fc6": conv(rng, 8, 8), "fc7": conv(rng, 8, 8, 1), "fc8_voc12": conv(rng, K, 8, 1)}
    for source, width in (("data", 3), ("pool1", 4), ("pool2", 6), ("pool3", 6), ("pool4", 8)):
        weights[f"{source}_conv"] = conv(rng, 8, width, gain=1 / 60 if source == "data" else 1)
        weights |= {f"{source}_fc": conv(rng, 8, 8, 1), f"{source}_ms": conv(rng, K, 8, 1)}
    return weights


def caffe_msc(weights: Weights, data: Tensor) -> Tensor:
    """DeepLab-MSc-LargeFOV's test.prototxt: branches of stride 1, each interpolated (zoom 8, 1, 2, 4, 8, 8), summed."""
    layers, maps, x = Layers(weights), {"data": data}, data
    for b, block in enumerate(THIN, 1):
        holes = 2 if b == 5 else 1
        for i in range(1, len(block) + 1):
            x = F.relu(layers(f"conv{b}_{i}", x, padding=holes, dilation=holes))
        x = maps[f"pool{b}"] = F.max_pool2d(x, 3, 2 if b < 4 else 1, 1, ceil_mode=True)
    x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=True)
    x = F.relu(layers("fc7", F.relu(layers("fc6", x, padding=12, dilation=12))))

    def interp(scores: Tensor, zoom: int) -> Tensor:
        size = [n + (n - 1) * (zoom - 1) for n in scores.shape[-2:]]
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=True)

    total = interp(layers("fc8_voc12", x), 8)
    for source, zoom in (("data", 1), ("pool1", 2), ("pool2", 4), ("pool3", 8), ("pool4", 8)):
        x = F.relu(layers(f"{source}_conv", maps[source], padding=1))
        total = total + interp(layers(f"{source}_ms", F.relu(layers(f"{source}_fc", x))), zoom)
    return total


def thin_msc() -> DeepLabMSc:
    view = replace(LARGE_FOV, channels=8)
    return DeepLabMSc(VGG16FieldOfView(view, blocks=THIN), K, channels=8)


def test_deeplab_msc(rng: np.random.Generator, from_caffe) -> None:
    """Two convolutions see the picture, conv1_1 and data_conv. Only the first was turned from BGR: 13 % of the pixels of a
    converted MSc-LargeFOV were of another class, and nothing said so.
    """
    weights, images = msc_weights(rng), picture(rng, 41, 49)
    assert_equal_logits(ours(from_caffe(thin_msc(), weights), images, CAFFE), caffe_msc(weights, bgr(images)))


def test_a_port_of_deeplab_msc(rng: np.random.Generator) -> None:
    """The same weights as a state dict in Caffe's names: BGR as well, in both."""
    weights, images, model = msc_weights(rng), picture(rng, 41, 49), thin_msc()
    reading, form = map_state(as_state(weights), model)
    assert form.bgr
    assert_equal_logits(ours(filled(model, reading), images, CAFFE), caffe_msc(weights, bgr(images)))


# SegNet's model zoo -----------------------------------------------------------------------------------------------------


def unpool(x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
    """Caffe-SegNet's Upsample: each value at the place of its maximum in a map of (..., H, W), zeros elsewhere."""
    flat = torch.zeros(*x.shape[:2], size[-2] * size[-1])
    return flat.scatter(2, indices.flatten(2), x.flatten(2)).view(*x.shape[:2], *size[-2:])


def segnet_weights(rng: np.random.Generator) -> Weights:
    """bayesian_segnet_camvid: conv1_1_D like the others of its block, with BN, and a 3x3 layer `camvid` at the end."""
    weights, before = vgg(rng, gain=1 / 100), 8
    for b in (5, 4, 3, 2, 1):
        block = THIN[b - 1]
        for i in range(len(block), 0, -1):
            width = block[i - 2] if i > 1 else THIN[max(b - 2, 0)][-1 if b > 1 else 0]
            weights[f"conv{b}_{i}_D"] = conv(rng, width, before)
            before = width
    weights |= {f"{name}_bn": bn(rng, len(arrays[1])) for name, arrays in list(weights.items())}
    return weights | {"camvid": conv(rng, K, before)}


def caffe_segnet(weights: Weights, x: Tensor) -> Tensor:
    """bayesian_segnet_camvid.prototxt without dropout (its average at test)."""
    layers, masks = Layers(weights), []
    for b, block in enumerate(THIN, 1):
        for i in range(1, len(block) + 1):
            x = F.relu(layers.bn(f"conv{b}_{i}_bn", layers(f"conv{b}_{i}", x, padding=1)))
        size = x.shape
        x, mask = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        masks.append((mask, size))
    for b in (5, 4, 3, 2, 1):
        x = unpool(x, *masks[b - 1])
        for i in range(len(THIN[b - 1]), 0, -1):
            x = F.relu(layers.bn(f"conv{b}_{i}_D_bn", layers(f"conv{b}_{i}_D", x, padding=1)))
    return layers("camvid", x, padding=1)


def test_bayesian_segnet_camvid(rng: np.random.Generator, from_caffe) -> None:
    """The zoo's file has a layer more than the tutorial's network, and was refused: "not in the network: camvid"."""
    weights, images = segnet_weights(rng), picture(rng, 45, 59)
    model = SegNet(3, K, dropout=0.5, blocks=THIN, classifier=True)
    expected = caffe_segnet(weights, bgr(images, (0, 0, 0)))
    assert_equal_logits(ours(from_caffe(model, weights), images, UNSCALED), expected)


def basic_weights(rng: np.random.Generator) -> Weights:
    """segnet_basic_camvid and bayesian_segnet_basic_camvid: the 1x1 classifier is called dense_softmax_inner_prod."""
    weights = {f"conv{i}": conv(rng, 64, 64, 7) for i in (2, 3, 4)} | {"conv1": conv(rng, 64, 3, 7, gain=1 / 100)}
    weights |= {f"conv_decode{i}": conv(rng, 64, 64, 7) for i in (4, 3, 2, 1)}
    weights |= {f"{name}_bn": bn(rng, 64) for name in list(weights)}
    return weights | {"dense_softmax_inner_prod": conv(rng, 11, 64, 1)}


def caffe_basic(weights: Weights, x: Tensor) -> Tensor:
    """segnet_basic_camvid.prototxt: LRN over 5 channels (of 3, so over all), 7x7 convolutions, no ReLU on the way back."""
    layers, masks = Layers(weights), []
    x = x / (1 + 1e-4 / 5 * (x**2).sum(1, keepdim=True)) ** 0.75
    for i in (1, 2, 3, 4):
        x = F.relu(layers.bn(f"conv{i}_bn", layers(f"conv{i}", x, padding=3)))
        size = x.shape
        x, mask = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        masks.append((mask, size))
    for i in (4, 3, 2, 1):
        x = unpool(x, *masks[i - 1])
        x = layers.bn(f"conv_decode{i}_bn", layers(f"conv_decode{i}", x, padding=3))
    return layers("dense_softmax_inner_prod", x)


@pytest.mark.parametrize("model", ["segnet_basic", "bayesian_segnet_basic"])
def test_segnet_basic_of_the_zoo(rng: np.random.Generator, write, tmp_path: Path, model: str) -> None:
    """At full size, from file to folder. Under the zoo's name the score layer found no place."""
    weights, images = basic_weights(rng), picture(rng, 37, 52)
    path = tmp_path / f"{model}_camvid.caffemodel"
    path.write_bytes(write.caffemodel(weights))
    convert_file(path, "caffe", model, tmp_path / "out")
    loaded = load_engine(tmp_path / "out", "cpu")
    assert loaded.spec.label_space.names[0] == "sky"
    with torch.no_grad():
        actual = forward_images(loaded.network, images, loaded.spec.preprocessing, CPU)
    assert_equal_logits(actual, caffe_basic(weights, bgr(images, (0, 0, 0))))


# U-Net's release --------------------------------------------------------------------------------------------------------

UNET = (6, 8, 10, 12, 14)  # channels per level


def unet_weights(rng: np.random.Generator) -> Weights:
    weights, before = {}, 1
    for level, width in enumerate(UNET):
        weights |= {f"conv_d{level}a-b": conv(rng, width, before), f"conv_d{level}b-c": conv(rng, width, width)}
        before = width
    for level, source in ((3, "d4c"), (2, "u3d"), (1, "u2d"), (0, "u1d")):
        width, up = UNET[level], UNET[max(level, 1)]  # the last up-convolution keeps its channels
        kernel = rng.normal(size=(before, up, 2, 2), scale=(2 / before) ** 0.5).astype("f4")  # (in, out, 2, 2)
        weights[f"upconv_{source}_u{level}a"] = [kernel, rng.normal(size=up, scale=0.1).astype("f4")]
        weights |= {f"conv_u{level}b-c": conv(rng, width, up + width), f"conv_u{level}c-d": conv(rng, width, width)}
        before = width
    return weights | {"conv_u0d-score": conv(rng, K, before, 1)}


def caffe_unet(weights: Weights, x: Tensor) -> Tensor:
    """phseg_v5.prototxt: Concat has the up-convolved map first (u3a, then d3cc) and the cropped skip second, at every level."""
    layers, skips = Layers(weights), []
    for level in range(5):
        x = F.relu(layers(f"conv_d{level}b-c", F.relu(layers(f"conv_d{level}a-b", x))))
        skips.append(x)
        x = F.max_pool2d(x, 2) if level < 4 else x
    for level, source in ((3, "d4c"), (2, "u3d"), (1, "u2d"), (0, "u1d")):
        up = F.relu(layers.deconv(f"upconv_{source}_u{level}a", x, 2))
        cut = (skips[level].shape[-1] - up.shape[-1]) // 2
        x = torch.cat([up, skips[level][..., cut:-cut, cut:-cut]], 1)
        x = F.relu(layers(f"conv_u{level}c-d", F.relu(layers(f"conv_u{level}b-c", x))))
    return layers("conv_u0d-score", x)


def test_unet_release(rng: np.random.Generator, from_caffe) -> None:
    """The skip came first, so that released weights met the wrong maps: all shapes fit, and the logits were others."""
    weights = unet_weights(rng)
    grey = rng.integers(0, 256, (100, 100), dtype=np.uint8)  # 100 + 184 is a size that the unpadded network takes
    model = UNetPaper(UNetCore(3, K, padded=False, batch_norm=False, widths=UNET, release=True))
    images = torch.from_numpy(grey).expand(1, 3, 100, 100)
    mirrored = torch.from_numpy(np.pad(grey / np.float32(255), 92, mode="reflect"))[None, None]
    assert_equal_logits(ours(from_caffe(model, weights), images, AS_THEY_ARE), caffe_unet(weights, mirrored))


# FCN --------------------------------------------------------------------------------------------------------------------


def fcn_weights(rng: np.random.Generator, names: dict[str, str], skips: tuple[float, float] = (1, 1)) -> Weights:
    """FCN-8s with dense bilinear kernels; names: today's name to the file's. skips: gains of score_pool4 and score_pool3."""
    weights = vgg(rng) | {"fc6": conv(rng, 10, 8, 7), "fc7": conv(rng, 10, 10, 1), "score_fr": conv(rng, K, 10, 1)}
    weights |= {"score_pool4": conv(rng, K, 8, 1, gain=skips[0]), "score_pool3": conv(rng, K, 6, 1, gain=skips[1])}
    for name, k in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        weights[name] = [(np.eye(K)[:, :, None, None] * bilinear_kernel(k).numpy()).astype("f4")]
    return {names.get(name, name): arrays for name, arrays in weights.items()}


def caffe_fcn8s(weights: Weights, x: Tensor, names: dict[str, str], scales: tuple[float, float] = (1, 1)) -> Tensor:
    """voc-fcn8s/net.py; scales: of pool4 and pool3 before their scores (at-once). Crops at 5, 9 and 31."""
    layers, pools, size = Layers(weights), {}, x.shape[-2:]

    def of(name: str) -> str:
        return names.get(name, name)

    for b, block in enumerate(THIN, 1):
        for i in range(1, len(block) + 1):
            x = F.relu(layers(f"conv{b}_{i}", x, padding=100 if (b, i) == (1, 1) else 1))
        x = pools[b] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = layers(of("score_fr"), F.relu(layers("fc7", F.relu(layers("fc6", x)))))
    x = layers.deconv(of("upscore2"), x, 2)
    x = x + layers(of("score_pool4"), pools[4] * scales[0])[..., 5 : 5 + x.shape[-2], 5 : 5 + x.shape[-1]]
    x = layers.deconv(of("upscore_pool4"), x, 2)
    x = x + layers(of("score_pool3"), pools[3] * scales[1])[..., 9 : 9 + x.shape[-2], 9 : 9 + x.shape[-1]]
    return layers.deconv(of("upscore8"), x, 8)[..., 31 : 31 + size[0], 31 : 31 + size[1]]


def thin_fcn8s(*, learnt: bool = False, at_once: bool = False) -> FCN:
    encoder, classifier = VGG16(first_pad=100, blocks=THIN), VGG16Classifier(0, 8, 10)
    return FCN(encoder, classifier, K, 8, learn_upsampling=learnt, at_once=at_once)


def test_fcn_of_2014(rng: np.random.Generator, from_caffe) -> None:
    """fcn-8s-pascal learnt score2 and score4 (blobs_lr: 1): dense kernels that mix classes, and score2 has a bias."""
    names = {"score_fr": "score-fr", "upscore2": "score2", "score_pool4": "score-pool4", "upscore_pool4": "score4"}
    names |= {"score_pool3": "score-pool3", "upscore8": "upsample"}
    weights, images = fcn_weights(rng, names), picture(rng, 45, 38)
    for name in ("score2", "score4"):
        weights[name][0] += rng.normal(size=(K, K, 4, 4), scale=0.1).astype("f4")
    weights["score2"].append(np.array([0.5, -1.0, 2.0], "f4"))
    model = from_caffe(thin_fcn8s(learnt=True), weights)
    assert_equal_logits(ours(model, images, CAFFE), caffe_fcn8s(weights, bgr(images), names))


def test_a_port_of_fcn8s_at_once(rng: np.random.Generator) -> None:
    """wkentaro's multiplies pool4 by 0.01 and pool3 by 0.0001 in its code, so its file has no scale_pool4 and scale_pool3,
    for which it was refused.
    """
    weights, images = fcn_weights(rng, {}, skips=(100, 10_000)), picture(rng, 45, 38)
    model = thin_fcn8s(at_once=True)
    reading, form = map_state(as_state(weights), model)
    assert form.title == "Caffe's layer names"
    assert {m.target for m in reading.mapped if "constant" in m.done} == {"scale_pool4.weight", "scale_pool3.weight"}
    expected = caffe_fcn8s(weights, bgr(images), {}, scales=(0.01, 0.0001))
    assert_equal_logits(ours(filled(model, reading), images, CAFFE), expected)


# DeepLab v3+ on MobileNetV2 ---------------------------------------------------------------------------------------------

UNITS = [  # channels, stride and rate of expanded_conv, expanded_conv_1, ..., _16 at output stride 16
    (16, 1, 1), (24, 2, 1), (24, 1, 1), (32, 2, 1), (32, 1, 1), (32, 1, 1), (64, 2, 1), (64, 1, 1), (64, 1, 1),
    (64, 1, 1), (96, 1, 1), (96, 1, 1), (96, 1, 1), (160, 1, 1), (160, 1, 2), (160, 1, 2), (320, 1, 2),
]  # fmt: skip
Variables = dict[str, np.ndarray]


def normed(rng: np.random.Generator, scope: str, leaf: str, shape: tuple[int, ...]) -> Variables:
    width, incoming = (shape[2], 1) if leaf == "depthwise_weights" else (shape[3], shape[2])
    values = {f"{scope}/{leaf}": rng.normal(size=shape, scale=(2 / (shape[0] ** 2 * incoming)) ** 0.5).astype("f4")}
    for name in ("gamma", "moving_variance"):
        values[f"{scope}/BatchNorm/{name}"] = rng.uniform(0.5, 1.5, width).astype("f4")
    for name in ("beta", "moving_mean"):
        values[f"{scope}/BatchNorm/{name}"] = rng.normal(size=width, scale=0.2).astype("f4")
    return values


def mobilenet_variables(rng: np.random.Generator) -> Variables:
    values, before = normed(rng, "MobilenetV2/Conv", "weights", (3, 3, 3, 32)), 32
    for i, (width, _, _) in enumerate(UNITS):
        scope, wide = f"MobilenetV2/expanded_conv{f'_{i}' if i else ''}", before * (6 if i else 1)
        if i:
            values |= normed(rng, f"{scope}/expand", "weights", (1, 1, before, wide))
        values |= normed(rng, f"{scope}/depthwise", "depthwise_weights", (3, 3, wide, 1))
        values |= normed(rng, f"{scope}/project", "weights", (1, 1, wide, width))
        before = width
    for scope, incoming in (("image_pooling", 320), ("aspp0", 320), ("concat_projection", 512)):
        values |= normed(rng, scope, "weights", (1, 1, incoming, 256))
    values["logits/semantic/weights"] = rng.normal(size=(1, 1, 256, 21), scale=0.1).astype("f4")
    return values | {"logits/semantic/biases": rng.normal(size=21).astype("f4")}


def tensorflow_mobilenet(values: Variables, x: Tensor) -> Tensor:
    """research/deeplab: model_variant mobilenet_v2, output stride 16, image pooling and the 1x1 branch, no decoder."""

    def layer(scope: str, x: Tensor, *, eps: float, stride: int = 1, rate: int = 1) -> Tensor:
        depthwise = f"{scope}/depthwise_weights" in values
        kernel = torch.from_numpy(values[f"{scope}/depthwise_weights" if depthwise else f"{scope}/weights"])
        kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
        pad = rate * (kernel.shape[-1] // 2)  # SAME at 16k + 1 pixels
        x = F.conv2d(x, kernel, None, stride, pad, rate, x.shape[1] if depthwise else 1)
        norm = {n: torch.from_numpy(values[f"{scope}/BatchNorm/{n}"]).view(-1, 1, 1)
                for n in ("gamma", "beta", "moving_mean", "moving_variance")}  # fmt: skip
        return (x - norm["moving_mean"]) * (norm["moving_variance"] + eps).rsqrt() * norm["gamma"] + norm["beta"]

    size, x = x.shape[-2:], F.relu6(layer("MobilenetV2/Conv", x, eps=1e-3, stride=2))
    for i, (width, stride, rate) in enumerate(UNITS):
        scope, given = f"MobilenetV2/expanded_conv{f'_{i}' if i else ''}", x
        x = F.relu6(layer(f"{scope}/expand", x, eps=1e-3)) if i else x
        x = F.relu6(layer(f"{scope}/depthwise", x, eps=1e-3, stride=stride, rate=rate))
        x = layer(f"{scope}/project", x, eps=1e-3)
        x = x + given if stride == 1 and given.shape[1] == width else x
    pooled = F.relu(layer("image_pooling", x.mean((2, 3), keepdim=True), eps=1e-5)).expand(-1, -1, *x.shape[-2:])
    x = torch.cat([pooled, F.relu(layer("aspp0", x, eps=1e-5))], 1)
    x = F.relu(layer("concat_projection", x, eps=1e-5))
    kernel = torch.from_numpy(values["logits/semantic/weights"]).permute(3, 2, 0, 1)
    x = F.conv2d(x, kernel, torch.from_numpy(values["logits/semantic/biases"]))
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def test_a_frozen_graph_of_deeplab(rng: np.random.Generator, write, tmp_path: Path) -> None:
    """frozen_inference_graph.pb with the preprocessing's scalars, mul/x and sub/y, which TensorFlow stores as one value of
    shape (): no released graph could be read.
    """
    values, images = mobilenet_variables(rng), picture(rng, 65, 81)
    scalars = {
        "mul/x": np.float32(2 / 255),
        "sub/y": np.float32(1),
        "MobilenetV2/Conv/BatchNorm/Const": np.zeros(0, "f4"),
    }
    path = tmp_path / "frozen_inference_graph.pb"
    path.write_bytes(write.frozen_graph(values | {name: np.asarray(value) for name, value in scalars.items()}))
    convert_file(path, "tf", "deeplabv3plus_mobilenetv2", tmp_path / "out")
    loaded = load_engine(tmp_path / "out", "cpu")
    with torch.no_grad():
        actual = forward_images(loaded.network, images, replace(loaded.spec.preprocessing, pad_to=None), CPU)
        expected = tensorflow_mobilenet(values, images.float() * scalars["mul/x"] - scalars["sub/y"])
    assert_equal_logits(actual, expected)
