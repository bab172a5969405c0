"""Caffe's released files: names and shapes at full size, and the arithmetic on thin networks.

The reference is Caffe's own computation written with torch.nn.functional: BGR pictures 0..255 minus the mean.
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.build import create_model
from denselab.convert.mapping import check_fit, infer_classes, unscaled
from denselab.convert.names_caffe import map_caffe, resnet_name, unet_name
from denselab.encoders.caffe import CaffeLayer
from denselab.encoders.googlenet import INCEPTIONS
from denselab.encoders.resnet import ResNet
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.engine.spec import Preprocessing
from denselab.engine.torch_engine import forward_images
from denselab.errors import CheckpointError
from denselab.layers.upsample import bilinear_kernel
from denselab.models.base import SegmentationModel
from denselab.models.deconvnet import DeconvNet
from denselab.models.deeplab_v2 import DeepLabV2, resnet_score_layers
from denselab.models.fcn import FCN
from denselab.models.release import CAFFE
from denselab.models.segnet import SegNet

Shapes = dict[str, list[tuple[int, ...]]]
RNG = np.random.default_rng(3)
THIN = ((4, 4), (4, 6), (6, 6, 6), (8, 8, 8), (8, 8, 8))
K = 3


def conv(out: int, incoming: int, k: int = 3) -> list[tuple[int, ...]]:
    return [(out, incoming, k, k), (out,)]


def vgg() -> Shapes:
    shapes, before = {}, 3
    for b, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, count + 1):
            shapes[f"conv{b}_{i}"] = conv(width, before)
            before = width
    return shapes


def fcn(*heads: tuple[str, tuple[int, ...]]) -> Shapes:
    trunk = vgg() | {"fc6": conv(4096, 512, 7), "fc7": conv(4096, 4096, 1), "score_fr": conv(21, 4096, 1)}
    return trunk | {name: [shape, (21,)] if name.startswith("score") else [shape] for name, shape in heads}


def up(k: int) -> tuple[int, ...]:
    return (21, 21, k, k)


POOL4, POOL3 = ("score_pool4", (21, 512, 1, 1)), ("score_pool3", (21, 256, 1, 1))
ALEXNET: Shapes = {
    "conv1": conv(96, 3, 11), "conv2": [(256, 48, 5, 5), (256,)], "conv3": conv(384, 256), "conv4": conv(384, 192),
    "conv5": conv(256, 192), "fc6": conv(4096, 256, 6), "fc7": conv(4096, 4096, 1), "score_fr": conv(21, 4096, 1),
    "upscore": [up(63)],
}  # fmt: skip


def bn(width: int) -> list[tuple[int, ...]]:
    return [(1, width, 1, 1), (1, width, 1, 1)]


def deconvnet() -> Shapes:
    shapes: Shapes = {}
    for name, sizes in vgg().items():
        shapes |= {name: sizes, name.replace("conv", "bn"): bn(sizes[0][0])}
    shapes |= {"fc6": conv(4096, 512, 7), "bnfc6": bn(4096), "fc7": conv(4096, 4096, 1), "bnfc7": bn(4096)}
    shapes |= {"fc6-deconv": [(4096, 512, 7, 7), (512,)], "fc6-deconv-bn": bn(512)}
    before = 512
    for b, widths in ((5, (512, 512, 512)), (4, (512, 512, 256)), (3, (256, 256, 128)), (2, (128, 64)), (1, (64, 64))):
        for i, width in enumerate(widths, 1):
            shapes |= {f"deconv{b}_{i}": [(before, width, 3, 3), (width,)], f"debn{b}_{i}": bn(width)}
            before = width
    return shapes | {"seg-score-voc": conv(21, 64, 1)}


def segnet() -> Shapes:
    shapes: Shapes = {}
    for name, sizes in vgg().items():
        shapes |= {name: sizes, f"{name}_bn": bn(sizes[0][0])}
    before = 512
    for b, widths in ((5, (512, 512, 512)), (4, (512, 512, 256)), (3, (256, 256, 128)), (2, (128, 64)), (1, (64, 11))):
        for i, width in zip(range(len(widths), 0, -1), widths, strict=True):
            shapes[f"conv{b}_{i}_D"] = conv(width, before)
            if (b, i) != (1, 1):
                shapes[f"conv{b}_{i}_D_bn"] = bn(width)
            before = width
    return shapes


def segnet_basic() -> Shapes:
    shapes: Shapes = {"conv1": conv(64, 3, 7)}
    shapes |= {f"conv{i}": conv(64, 64, 7) for i in (2, 3, 4)} | {
        f"conv_decode{i}": conv(64, 64, 7) for i in (4, 3, 2, 1)
    }
    shapes |= {f"{name}_bn": bn(64) for name in list(shapes)}
    return shapes | {"conv_classifier": conv(11, 64, 1)}


def of_the_zoo(basic: Shapes) -> Shapes:
    """The model zoo's own name of the classifier."""
    return {"dense_softmax_inner_prod" if name == "conv_classifier" else name: shape for name, shape in basic.items()}


def largefov() -> Shapes:
    return vgg() | {"fc6": conv(1024, 512), "fc7": conv(1024, 1024, 1), "fc8_voc12": conv(21, 1024, 1)}


def largefov_msc() -> Shapes:
    branches: Shapes = {}
    for source, width in (("data", 3), ("pool1", 64), ("pool2", 128), ("pool3", 256), ("pool4", 512)):
        branches |= {
            f"{source}_conv": conv(128, width),
            f"{source}_fc": conv(128, 128, 1),
            f"{source}_ms": conv(21, 128, 1),
        }
    return largefov() | branches


def v2_vgg() -> Shapes:
    shapes = vgg()
    for k in (1, 2, 3, 4):
        shapes |= {f"fc6_{k}": conv(1024, 512), f"fc7_{k}": conv(1024, 1024, 1), f"fc8_voc12_{k}": conv(21, 1024, 1)}
    return shapes


def v2_resnet(width: int = 64, classes: int = 21) -> Shapes:
    """DeepLab v2's ResNet-101 release, with Caffe's BatchNorm (mean, variance, factor) and Scale beside each
    convolution.
    """
    blocks = {
        2: ["a", "b", "c"],
        3: ["a", "b1", "b2", "b3"],
        4: ["a", *(f"b{i}" for i in range(1, 23))],
        5: ["a", "b", "c"],
    }
    shapes: Shapes = {}

    def add(name: str, norm: str, shape: tuple[int, ...]) -> None:
        out = shape[0]
        shapes.update({name: [shape], f"bn{norm}": [(out,), (out,), (1,)], f"scale{norm}": [(out,), (out,)]})

    add("conv1", "_conv1", (width, 3, 7, 7))
    before = width
    for stage, names in blocks.items():
        p = width * 2 ** (stage - 2)
        for i, block in enumerate(names):
            if i == 0:
                add(f"res{stage}{block}_branch1", f"{stage}{block}_branch1", (4 * p, before, 1, 1))
            for part, shape in (("2a", (p, before, 1, 1)), ("2b", (p, p, 3, 3)), ("2c", (4 * p, p, 1, 1))):
                add(f"res{stage}{block}_branch{part}", f"{stage}{block}_branch{part}", shape)
            before = 4 * p
    return shapes | {f"fc1_voc12_c{i}": conv(classes, before) for i in range(4)}


def unet_release() -> Shapes:
    shapes: Shapes = {}
    before = 1
    for level, width in enumerate((64, 128, 256, 512, 1024)):
        shapes |= {f"conv_d{level}a-b": conv(width, before), f"conv_d{level}b-c": conv(width, width)}
        before = width
    for level, (below, width, joined) in zip(
        (3, 2, 1, 0), ((1024, 512, 1024), (512, 256, 512), (256, 128, 256), (128, 64, 192)), strict=True
    ):
        letter = "d4c" if level == 3 else f"u{level + 1}d"
        out = 128 if level == 0 else width
        shapes[f"upconv_{letter}_u{level}a"] = [(below, out, 2, 2), (out,)]
        shapes |= {f"conv_u{level}b-c": conv(width, joined), f"conv_u{level}c-d": conv(width, width)}
    return shapes | {"conv_u0d-score": conv(2, 64, 1)}


FULL: dict[str, tuple[str, str | None, Shapes]] = {
    "fcn32s-heavy-pascal": ("fcn32s", None, fcn(("upscore", up(64)))),
    "fcn16s-heavy-pascal": ("fcn16s", None, fcn(("upscore2", up(4)), POOL4, ("upscore16", up(32)))),
    "fcn8s-heavy-pascal": (
        "fcn8s", None, fcn(("upscore2", up(4)), POOL4, ("upscore_pool4", up(4)), POOL3, ("upscore8", up(16))),
    ),
    "fcn8s-atonce-pascal": (
        "fcn8s_atonce",
        None,
        fcn(("upscore2", up(4)), POOL4, ("upscore_pool4", up(4)), POOL3, ("upscore8", up(16)))
        | {"scale_pool4": [(512,)], "scale_pool3": [(256,)]},
    ),
    "fcn-8s-pascal of 2014": (
        "fcn8s_learnt",
        None,
        {k: v for k, v in fcn().items() if k != "score_fr"}
        | {"score-fr": conv(21, 4096, 1), "score2": [up(4), (21,)], "score-pool4": conv(21, 512, 1), "score4": [up(4)]}
        | {"score-pool3": conv(21, 256, 1), "upsample": [up(16)]},
    ),
    "fcn-alexnet-pascal": ("fcn32s", "alexnet", ALEXNET),
    "DeconvNet_trainval_inference": ("deconvnet", None, deconvnet()),
    "SegNet": ("segnet", None, segnet()),
    "Bayesian SegNet": ("bayesian_segnet", None, segnet()),
    "SegNet-Basic": ("segnet_basic", None, segnet_basic()),
    "segnet_basic_camvid": ("segnet_basic", None, of_the_zoo(segnet_basic())),
    "bayesian_segnet_basic_camvid": ("bayesian_segnet_basic", None, of_the_zoo(segnet_basic())),
    "bayesian_segnet_camvid": (
        "bayesian_segnet_camvid", None, segnet() | {"conv1_1_D": conv(64, 64), "conv1_1_D_bn": bn(64), "camvid": conv(11, 64)},
    ),
    "DeepLab-LargeFOV": ("deeplab_largefov", None, largefov()),
    "DeepLab-MSc-LargeFOV": ("deeplab_msc_largefov", None, largefov_msc()),
    "DeepLab 4x4": (
        "deeplab_4x4",
        None,
        vgg() | {"fc6": conv(4096, 512, 4), "fc7": conv(4096, 4096, 1), "fc8_pascal": conv(21, 4096, 1)},
    ),
    "DeepLab v2 VGG": ("deeplabv2_vgg", None, v2_vgg()),
    "DeepLab v2 ResNet-101": ("deeplabv2_resnet101", None, v2_resnet()),
    "U-Net release": ("unet_release", None, unet_release()),
}  # fmt: skip


def hollow(shapes: Shapes) -> list[CaffeLayer]:
    """Layers of full shape that take no memory: one number stands for all, but for dense kernels, which are diagonal."""

    def array(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 4 and shape[:2] == (21, 21):
            return np.eye(21, dtype="f4")[:, :, None, None] * np.ones(shape[2:], "f4")
        return np.broadcast_to(np.ones((), np.float32), shape)

    return [CaffeLayer(name, tuple(map(array, arrays))) for name, arrays in shapes.items()]


def skeleton(model: str, classes: int, encoder: str | None = None) -> SegmentationModel:
    with torch.device("meta"):
        return create_model(model, classes, encoder=encoder)


@pytest.mark.parametrize("name", FULL)
def test_names_and_shapes_of_the_releases_fit(name: str) -> None:
    """Every layer of the file finds its place, every learnt tensor of the network is given, and classes are counted."""
    model, encoder, shapes = FULL[name]
    reading = map_caffe(hollow(shapes), skeleton(model, 2, encoder))
    classes = infer_classes(reading.mapped, lambda k: create_model(model, k, encoder=encoder), name)
    own = skeleton(model, classes, encoder).state_dict()
    assert classes == (2 if "unet" in model else 11 if "segnet" in model else 21)
    optional = {n for n in own if n.endswith("num_batches_tracked")}
    check_fit(own, reading.mapped, reading.unused, optional, name)
    assert {m.target for m in reading.mapped} == set(own) - optional


def test_bvlc_googlenet_fills_the_whole_encoder() -> None:
    """ImageNet's GoogLeNet in Caffe's names; its classifiers, the auxiliary ones too, have no place and are passed over."""
    shapes: Shapes = {"conv1/7x7_s2": conv(64, 3, 7), "conv2/3x3_reduce": conv(64, 64, 1), "conv2/3x3": conv(192, 64)}
    before = 192
    for name, (one, r3, three, r5, five, pool) in INCEPTIONS.items():
        shapes |= {f"{name}/1x1": conv(one, before, 1), f"{name}/3x3_reduce": conv(r3, before, 1)}
        shapes |= {f"{name}/3x3": conv(three, r3), f"{name}/5x5_reduce": conv(r5, before, 1)}
        shapes |= {f"{name}/5x5": conv(five, r5, 5), f"{name}/pool_proj": conv(pool, before, 1)}
        before = one + three + five + pool
    shapes |= {"loss1/conv": conv(128, 512, 1), "loss1/fc": [(1024, 2048), (1024,)], "loss3/classifier": [(1000, 1024)]}
    model = skeleton("fcn32s", 2, "googlenet")
    reading = map_caffe(hollow(shapes), model)
    own = model.state_dict()
    check_fit(own, reading.mapped, reading.unused, {n for n in own if not n.startswith("encoder.")}, "bvlc_googlenet")
    assert {m.target for m in reading.mapped} == {n for n in own if n.startswith("encoder.")}


def test_learnable_numbers_of_fcn8s_are_the_release_s() -> None:
    shapes = FULL["fcn8s-heavy-pascal"][2]
    total = sum(int(np.prod(s)) for arrays in shapes.values() for s in arrays)
    assert total == 134_489_759, "fcn8s-heavy-pascal with its dense kernels"


@pytest.mark.parametrize(
    ("caffe", "ours"),
    [
        ("res2a_branch1", "layer1.0.downsample.0"),
        ("bn2a_branch1", "layer1.0.downsample.1"),
        ("scale2a_branch1", "layer1.0.downsample.1"),
        ("res3b3_branch2b", "layer2.3.conv2"),
        ("bn4b22_branch2c", "layer3.22.bn3"),
        ("res5c_branch2a", "layer4.2.conv1"),
        ("scale_conv1", "bn1"),
        ("res6a_branch1", None),
        ("fc1000", None),
    ],
)
def test_resnet_names(caffe: str, ours: str | None) -> None:
    assert resnet_name(caffe) == ours


def test_unet_names() -> None:
    assert [unet_name(n) for n in ("conv_d0a-b", "conv_d4b-c", "upconv_d4c_u3a", "upconv_u1d_u0a", "conv_u0c-d", "x")] == [
        "down.0.conv1", "down.4.conv2", "up.0.upconv", "up.3.upconv", "up.3.conv.conv2", None,
    ]  # fmt: skip


# The arithmetic, on thin networks ---------------------------------------------------------------------------------------


def load(model: SegmentationModel, layers: list[CaffeLayer]) -> SegmentationModel:
    reading = map_caffe(layers, model)
    own = model.state_dict()
    optional = {n for n in own if n.endswith("num_batches_tracked")}
    check_fit(own, reading.mapped, reading.unused, optional, "test")
    model.load_state_dict({**own, **{m.target: m.tensor for m in reading.mapped}})
    return model.eval()


def picture(height: int = 45, width: int = 38) -> Tensor:
    """(1, 3, H, W) uint8 RGB."""
    return torch.from_numpy(RNG.integers(0, 256, (1, 3, height, width), dtype=np.uint8))


def through_denselab(model: SegmentationModel, images: Tensor) -> Tensor:
    with torch.no_grad():
        return forward_images(model, images, Preprocessing((1, 1), *CAFFE), torch.device("cpu"))


def as_caffe(images: Tensor) -> Tensor:
    """BGR, 0..255, minus the mean."""
    mean = 255 * torch.tensor(CAFFE[0]).view(1, 3, 1, 1)
    return (images.float() - mean).flip(1)


def random_layers(shapes: Shapes) -> dict[str, list[np.ndarray]]:
    def array(shape: tuple[int, ...]) -> np.ndarray:
        fan = max(int(np.prod(shape[1:])), 1)
        return RNG.normal(size=shape, scale=(2 / fan) ** 0.5 if len(shape) > 1 else 0.3).astype("f4")

    return {name: [array(s) for s in arrays] for name, arrays in shapes.items()}


def dense_bilinear(k: int) -> np.ndarray:
    weight = np.zeros((K, K, k, k), "f4")
    for c in range(K):
        weight[c, c] = bilinear_kernel(k).numpy()
    return weight


def thin_fcn8s_file() -> dict[str, list[np.ndarray]]:
    shapes: Shapes = {}
    before = 3
    for b, block in enumerate(THIN, 1):
        for i, width in enumerate(block, 1):
            shapes[f"conv{b}_{i}"] = conv(width, before)
            before = width
    shapes |= {"fc6": conv(10, 8, 7), "fc7": conv(10, 10, 1), "score_fr": conv(K, 10, 1)}
    layers = random_layers(shapes | {"score_pool4": conv(K, 8, 1), "score_pool3": conv(K, 6, 1)})
    layers["conv1_1"][0] /= 60  # pictures come in 0..255
    return layers | {
        "upscore2": [dense_bilinear(4)],
        "upscore_pool4": [dense_bilinear(4)],
        "upscore8": [dense_bilinear(16)],
    }


def caffe_fcn8s(w: dict[str, list[np.ndarray]], x: Tensor) -> Tensor:
    """The release's voc-fcn8s/net.py, line by line, with its crop offsets 5, 9 and 31."""
    size = x.shape[-2:]

    def t(name: str) -> list[Tensor]:
        return [torch.from_numpy(a) for a in w[name]]

    pools = {}
    for b, block in enumerate(THIN, 1):
        for i in range(1, len(block) + 1):
            x = F.relu(F.conv2d(x, *t(f"conv{b}_{i}"), padding=100 if (b, i) == (1, 1) else 1))
        x = pools[b] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = F.relu(F.conv2d(F.relu(F.conv2d(x, *t("fc6"))), *t("fc7")))
    x = F.conv_transpose2d(F.conv2d(x, *t("score_fr")), *t("upscore2"), stride=2)
    skip = F.conv2d(pools[4], *t("score_pool4"))[..., 5 : 5 + x.shape[-2], 5 : 5 + x.shape[-1]]
    x = F.conv_transpose2d(x + skip, *t("upscore_pool4"), stride=2)
    skip = F.conv2d(pools[3], *t("score_pool3"))[..., 9 : 9 + x.shape[-2], 9 : 9 + x.shape[-1]]
    x = F.conv_transpose2d(x + skip, *t("upscore8"), stride=8)
    return x[..., 31 : 31 + size[0], 31 : 31 + size[1]]


def thin_fcn8s() -> FCN:
    return FCN(VGG16(first_pad=100, blocks=THIN), VGG16Classifier(0, 8, 10), K, 8)


def to_layers(w: dict[str, list[np.ndarray]]) -> list[CaffeLayer]:
    return [CaffeLayer(name, tuple(arrays)) for name, arrays in w.items()]


def test_fcn8s_on_rgb_equals_caffe_on_bgr() -> None:
    weights, images = thin_fcn8s_file(), picture()
    expected = caffe_fcn8s(weights, as_caffe(images))
    actual = through_denselab(load(thin_fcn8s(), to_layers(weights)), images)
    assert expected.std() > 0.05
    torch.testing.assert_close(actual, expected, atol=2e-4, rtol=1e-3)


def test_without_the_flip_the_result_differs() -> None:
    weights, images = thin_fcn8s_file(), picture()
    model = load(thin_fcn8s(), to_layers(weights))
    swapped = through_denselab(model, images.flip(1))
    assert (swapped - caffe_fcn8s(weights, as_caffe(images))).abs().max() > 0.01


def test_the_first_release_s_names_and_the_bias_of_score2() -> None:
    """Its transposed convolution adds a bias per class; so does the sum that follows, into which it goes."""
    weights, images = thin_fcn8s_file(), picture()
    bias = np.array([0.5, -1.0, 2.0], "f4")
    weights["upscore2"].append(bias)
    old = {"score_fr": "score-fr", "upscore2": "score2", "score_pool4": "score-pool4", "upscore_pool4": "score4"}
    old |= {"score_pool3": "score-pool3", "upscore8": "upsample"}
    renamed = {old.get(name, name): arrays for name, arrays in weights.items()}
    actual = through_denselab(load(thin_fcn8s(), to_layers(renamed)), images)
    torch.testing.assert_close(actual, caffe_fcn8s(weights, as_caffe(images)), atol=2e-4, rtol=1e-3)


def test_an_imagenet_file_s_fully_connected_layers_become_convolutions() -> None:
    weights = thin_fcn8s_file()
    flat = weights["fc6"][0].reshape(10, 8 * 49)
    for stored in (flat, flat.reshape(1, 1, 10, 8 * 49)):  # today's blobs and those of 2014
        mapped = {m.target: m.tensor for m in map_caffe([CaffeLayer("fc6", (stored,))], thin_fcn8s()).mapped}
        torch.testing.assert_close(mapped["classifier.fc6.weight"], torch.from_numpy(weights["fc6"][0]), atol=0, rtol=0)


def test_upsampling_that_mixes_classes_is_refused() -> None:
    weights = thin_fcn8s_file()
    weights["upscore2"][0][0, 1, 2, 2] = 0.25
    with pytest.raises(CheckpointError, match="upscore2 mixes classes: 1 weights off its diagonal"):
        map_caffe(to_layers(weights), thin_fcn8s())


class Affine(nn.Module):
    """What the forks' BN layer computes at test: y = scale * x + shift."""

    def __init__(self, scale: np.ndarray, shift: np.ndarray) -> None:
        super().__init__()
        self.scale, self.shift = torch.from_numpy(scale.copy()), torch.from_numpy(shift.copy())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def thin_deconvnet() -> DeconvNet:
    return DeconvNet(VGG16(blocks=THIN, batch_norm=True, return_indices=True), K, fc_channels=6)


def caffe_spelling(path: str) -> str:
    leaf = path.rsplit(".", 1)[-1]
    return leaf.replace("_", "-") if leaf.startswith(("fc6_", "seg")) else leaf


@pytest.mark.parametrize("build", [thin_deconvnet, lambda: SegNet(3, K, blocks=THIN)], ids=["DeconvNet", "SegNet"])
def test_folded_normalisation_is_scale_and_shift(build: Callable[[], SegmentationModel]) -> None:
    """The released files: BN holds (1, C, 1, 1) scale and shift, statistics folded in. The network with each
    normalisation replaced by y = scale x + shift gives the same, and so does Caffe's channel order.
    """
    torch.manual_seed(0)
    model = build()
    reference = copy.deepcopy(model).eval()
    layers: list[CaffeLayer] = []
    first = True
    for path, module in list(reference.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            scale, shift = (RNG.uniform(0.5, 1.5, (1, module.num_features, 1, 1)).astype("f4") for _ in "ab")
            reference.set_submodule(path, Affine(scale, shift - 1))
            layers.append(CaffeLayer(caffe_spelling(path), (scale, shift - 1)))
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight.detach().numpy().copy()
            weight = weight[:, ::-1] if first else weight  # the file has BGR
            first = False
            assert module.bias is not None
            layers.append(CaffeLayer(caffe_spelling(path), (weight, module.bias.detach().numpy().copy())))
    converted = load(model, layers)
    images = torch.randn(1, 3, 70, 50)
    with torch.no_grad():
        torch.testing.assert_close(converted(images), reference(images), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 1e-9, 0.1, 3.7e-4])
def test_unscaled_variance_makes_the_sum_one(eps: float) -> None:
    norm = nn.BatchNorm2d(4, eps=eps)
    assert (unscaled(norm) + eps == 1).all()
    norm.running_var = unscaled(norm)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm.eval()(x), x, atol=0, rtol=1e-7)


def test_deeplab_v2_resnet_statistics_are_divided_by_their_factor() -> None:
    """BatchNorm holds sums and their factor; res4b22 is the 23rd block; every array of the file has its place."""
    torch.manual_seed(0)
    encoder = ResNet(101, output_stride=8, stride_in="conv1", dilate_first=True, ceil_pool=True, width=4)
    model = DeepLabV2(encoder, resnet_score_layers(encoder.channels, K), K)
    weights = random_layers(v2_resnet(4, K))
    for name, arrays in weights.items():
        if name.startswith("bn"):
            arrays[1][:] = RNG.uniform(0.5, 1.5, arrays[1].shape) * 999.98
            arrays[2][:] = 999.98
    load(model, to_layers(weights))
    own = model.state_dict()
    norm = weights["bn4b22_branch2b"]
    torch.testing.assert_close(own["encoder.layer3.22.bn2.running_mean"], torch.from_numpy(norm[0] / 999.98))
    torch.testing.assert_close(own["encoder.layer3.22.bn2.running_var"], torch.from_numpy(norm[1] / 999.98))
    gamma, beta = weights["scale4b22_branch2b"]
    torch.testing.assert_close(own["encoder.layer3.22.bn2.weight"], torch.from_numpy(gamma))
    torch.testing.assert_close(own["encoder.layer3.22.bn2.bias"], torch.from_numpy(beta))
    torch.testing.assert_close(own["encoder.conv1.weight"], torch.from_numpy(weights["conv1"][0][:, ::-1].copy()))


def test_the_bias_of_a_convolution_before_a_normalisation_goes_into_its_mean() -> None:
    """conv1 of MSRA's ResNet-50 has one, and ours none: the conversion ended with a KeyError."""
    torch.manual_seed(0)
    encoder = ResNet(101, output_stride=8, width=4)
    model = DeepLabV2(encoder, resnet_score_layers(encoder.channels, K), K)
    weights = random_layers(v2_resnet(4, K))
    for arrays in (arrays for name, arrays in weights.items() if name.startswith("bn")):
        arrays[1][:], arrays[2][:] = RNG.uniform(1, 2, arrays[1].shape), 2
    images = torch.from_numpy(RNG.normal(size=(1, 3, 9, 9)).astype("f4"))
    for name, conv_path, norm_path in (
        ("conv1", "encoder.conv1", "encoder.bn1"),
        ("res2a_branch1", "encoder.layer1.0.downsample.0", "encoder.layer1.0.downsample.1"),
        ("res3b2_branch2c", "encoder.layer2.2.conv3", "encoder.layer2.2.bn3"),
    ):
        bias = RNG.normal(size=weights[name][0].shape[0]).astype("f4")
        reading = map_caffe(to_layers(weights | {name: [*weights[name], bias]}), model)
        assert reading.unused == ()
        model.load_state_dict({**model.state_dict(), **{m.target: m.tensor for m in reading.mapped}})
        module, norm = model.get_submodule(conv_path), model.eval().get_submodule(norm_path)
        x = images if name == "conv1" else torch.randn(1, module.weight.shape[1], 5, 5)
        own = name.replace("res", "") if name != "conv1" else "_conv1"
        mean, variance, gamma, beta = map(
            torch.from_numpy, (weights[f"bn{own}"][0] / 2, weights[f"bn{own}"][1] / 2, *weights[f"scale{own}"])
        )
        with torch.no_grad():
            expected = F.batch_norm(module(x) + torch.from_numpy(bias).view(-1, 1, 1), mean, variance, gamma, beta)
            torch.testing.assert_close(norm(module(x)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ({"conv1": [(4, 3, 7, 7), (4,)]}, r"not in the network: conv1\[1\] \(4,\)"),
        (
            {"fc1_voc12_c0": [(K, 16, 3, 3), (K,)], "fc1_coco_c0": [(K, 16, 3, 3), (K,)]},
            r"given twice: fc1_c0\.weight by fc1_voc12_c0\[0\] and fc1_coco_c0\[0\]",
        ),
        ({"bn_conv1": [(4,), (4,), (0,)]}, "'bn_conv1': its third array has 0 values; one, the factor"),
    ],
)
def test_arrays_that_no_module_can_take_are_named(layers: Shapes, fault: str) -> None:
    """A bias without a place was a KeyError, an empty factor an IndexError, and of two layers the last one counted."""
    encoder = ResNet(101, output_stride=8, width=4)
    model = DeepLabV2(encoder, resnet_score_layers(encoder.channels, K), K)
    with pytest.raises(CheckpointError, match=fault):
        load(model, [CaffeLayer(n, tuple(np.ones(s, "f4") for s in shapes)) for n, shapes in layers.items()])


def test_copies_of_the_multi_scale_net_are_passed_over() -> None:
    layers = hollow(v2_resnet())
    copies = [CaffeLayer(f"{layer.name}_res075", layer.blobs) for layer in layers]
    assert map_caffe([*layers, *copies], skeleton("deeplabv2_resnet101", 2)).unused == ()


def test_one_grey_channel_becomes_three_equal_ones() -> None:
    """U-Net's release saw grey pictures; as RGB they have three equal channels, whose kernels sum to the one."""
    conv1 = RNG.normal(size=(4, 1, 3, 3)).astype("f4")
    (weight,) = map_caffe([CaffeLayer("conv_d0a-b", (conv1,))], skeleton("unet_release", 2)).mapped
    grey = torch.randn(1, 1, 8, 8)
    expected = F.conv2d(grey, torch.from_numpy(conv1))
    torch.testing.assert_close(F.conv2d(grey.expand(1, 3, 8, 8), weight.tensor), expected, atol=1e-5, rtol=1e-5)


def test_a_file_of_another_network_is_told_apart() -> None:
    model = skeleton("fcn8s", 21)
    reading = map_caffe(hollow(largefov()), model)
    missing = r"fcn8s\.x does not fit.*missing: score_fr\.weight \(21, 4096, 1, 1\)"
    with pytest.raises(CheckpointError, match=missing) as e:
        check_fit(model.state_dict(), reading.mapped, reading.unused, set(), "fcn8s.x")
    assert "classifier.fc6.weight (4096, 512, 7, 7) but fc6[0] is (1024, 512, 3, 3)" in str(e.value)
    assert "not in the network: fc8_voc12 (21, 1024, 1, 1)" in str(e.value)
