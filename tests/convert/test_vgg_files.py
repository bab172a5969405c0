"""An ImageNet VGG-16 in Caffe's and HED's files as the start of a network (encoders/vgg_files.py): what comes from it."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from denselab.build import create_model
from denselab.encoders.caffe import CaffeLayer
from denselab.encoders.pretrained import find_weights
from denselab.encoders.vgg import BLOCKS, VGG16
from denselab.encoders.vgg_files import VGG_MEAN, for_encoder_pictures, layers_of, read_vgg
from denselab.encoders.weights import Weights
from denselab.errors import CheckpointError, ConfigError

CONVOLUTIONS = {f"conv{b}_{i}" for b, block in enumerate(BLOCKS, 1) for i in range(1, len(block) + 1)}
LEFT = {  # the layers of the pretrained part that a file without fc6 and fc7 does not fill, normalisation aside
    "segnet": set[str](),
    "deconvnet_1024": set[str](),  # its fc6 and fc7 are no part of ImageNet's in any case
    "deeplab_largefov": {"encoder.fc6", "encoder.fc7"},
    "deconvnet": {"fc6", "fc7"},
    "fcn8s": {"classifier.fc6", "classifier.fc7"},
    "zoomout16": {"classifier.fc6", "classifier.fc7"},
    "zoomout_pixelwise": {"classifier.fc6", "classifier.fc7"},
    "hypercolumn": {"classifier.fc6", "classifier.fc7"},
    "hypercolumn_dense": {"classifier.fc6", "classifier.fc7"},
    "msra_cfm": {"box.fc6", "box.fc7", "segment.fc6", "segment.fc7"},
}
LARGE = set(LEFT) - {"segnet", "deconvnet_1024", "deeplab_largefov"}


@pytest.fixture(scope="module")
def caffe_file(write: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The thirteen convolutions in the names of the authors' release, and a score layer as theirs."""
    rng = np.random.default_rng(2)
    layers, before = {}, 3
    for b, block in enumerate(BLOCKS, 1):
        for i, width in enumerate(block, 1):
            kernels = rng.normal(0, 0.01, (width, before, 3, 3)).astype(np.float32)
            layers[f"conv{b}_{i}"], before = [kernels, rng.normal(0, 1, width).astype(np.float32)], width
    layers["fc8"] = [np.zeros((1000, 4), np.float32), np.zeros(1000, np.float32)]
    path = tmp_path_factory.mktemp("caffe") / "VGG_ILSVRC_16_layers.caffemodel"
    path.write_bytes(write.caffemodel(layers, legacy=True, generation="layers"))
    return path


def test_the_first_convolution_by_hand() -> None:
    """One kernel of one pixel, weights 1, 2, 3 for B, G, R: a pixel of R 0.5, G 0.25, B 1 gives the same both ways."""
    kernels, bias = for_encoder_pictures(torch.tensor([[[[1.0]], [[2.0]], [[3.0]]]]), torch.tensor([10.0]), VGG_MEAN)
    caffe = 1 * (255 * 1 - 103.939) + 2 * (255 * 0.25 - 116.779) + 3 * (255 * 0.5 - 123.68) + 10
    seen = [(0.5 - 0.485) / 0.229, (0.25 - 0.456) / 0.224, (1 - 0.406) / 0.225]  # R, G, B
    ours = sum(float(w) * x for w, x in zip(kernels.flatten(), seen, strict=True)) + float(bias)
    assert ours == pytest.approx(caffe, rel=1e-5)
    assert kernels.flatten().tolist() == pytest.approx([3 * 255 * 0.229, 2 * 255 * 0.224, 255 * 0.225])


def test_the_trunk_answers_as_the_file_s_own(hed_file: Path) -> None:
    """HED's kernels on BGR minus its mean, against ours on a normalised picture; borders see another grey as zero."""
    rgb = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with h5py.File(hed_file) as file:
        kernels, bias = (torch.from_numpy(file[f"block1/layers/conv2d/vars/{i}"][()]) for i in range(2))
    mean = torch.tensor([104.00699, 116.66877, 122.67892])[:, None, None]
    theirs = nn.functional.conv2d(255 * rgb.flip(1) - mean, kernels.permute(3, 2, 0, 1), bias)
    weights = read_vgg(hed_file)
    own_mean, own_std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (rgb - own_mean[:, None, None]) / own_std[:, None, None]
    ours = nn.functional.conv2d(seen, weights.tensors["features.0.weight"], weights.tensors["features.0.bias"])
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
    assert weights.origin.source == f"file {hed_file} (without fc6 and fc7)"


def test_caffe_s_file_becomes_torchvision_s(caffe_file: Path) -> None:
    weights = read_vgg(caffe_file)
    assert len(weights.tensors) == 26
    assert weights.tensors["features.28.weight"].shape == (512, 512, 3, 3)
    assert weights.tensors["features.28.bias"].std() > 0.5
    assert VGG16().conv1_1.weight.shape == weights.tensors["features.0.weight"].shape


def of_release(**other: tuple[int, ...]) -> list[CaffeLayer]:
    """The layers of the release, without memory; other: of another shape."""
    sizes: dict[str, tuple[int, ...]] = {}
    before = 3
    for b, block in enumerate(BLOCKS, 1):
        for i, width in enumerate(block, 1):
            sizes[f"conv{b}_{i}"], before = (width, before, 3, 3), width
    sizes |= {"fc6": (1, 1, 4096, 25088), "fc7": (1, 1, 4096, 4096), "fc8": (1, 1, 1000, 4096), **other}
    one = np.ones((), np.float32)
    count = {name: shape[-2] if shape[:2] == (1, 1) else shape[0] for name, shape in sizes.items()}
    return [
        CaffeLayer(name, (np.broadcast_to(one, shape), np.broadcast_to(one, (1, 1, 1, count[name]))))
        for name, shape in sizes.items()
    ]


def test_fc6_and_fc7_are_taken_in_the_old_form_and_left_where_they_are_others() -> None:
    path = Path("x.caffemodel")
    layers = layers_of(of_release(), path)
    assert {name: layers[name][0].shape for name in ("fc6", "fc7")} == {"fc6": (4096, 25088), "fc7": (4096, 4096)}
    assert layers["fc7"][1].shape == (4096,)
    assert set(layers_of(of_release(fc6=(1024, 512, 3, 3)), path)) == {*CONVOLUTIONS, "fc7"}  # DeepLab's reduced net
    with pytest.raises(CheckpointError, match=r"x\.caffemodel is not a VGG-16: its conv3_1 is \(64, 128, 3, 3\)"):
        layers_of(of_release(conv3_1=(64, 128, 3, 3)), path)
    with pytest.raises(CheckpointError, match="it has no conv5_3 with a bias"):
        layers_of([layer for layer in of_release() if layer.name != "conv5_3"], path)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in LEFT])
def test_what_comes_from_the_file_in_every_network_of_table_1(hed_file: Path, name: str) -> None:
    """FCN, Hypercolumn, Zoomout, DeepLab and MSRA-CFM refused a file without fc6, and none read Caffe's or HED's."""
    weights = read_vgg(hed_file)
    model = create_model(name, 4, encoder="vgg16", pretrained=weights)
    taken = layers_from(model, weights)
    assert {path.rpartition(".")[2] for path in taken} == CONVOLUTIONS
    assert len(taken) == 13
    normalised = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    own = {tensor.rpartition(".")[0] for tensor in model.pretrained_tensors()}
    assert own - taken - normalised == LEFT[name]


def layers_from(model: nn.Module, weights: Weights) -> set[str]:
    """The paths of the convolutions whose weight and bias are the file's, found by their values."""
    pairs = {
        tuple(tensor.flatten()[:9].tolist()): name.removesuffix(".weight")
        for name, tensor in weights.tensors.items()
        if name.endswith(".weight")
    }
    found = set()
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and (name := pairs.get(tuple(module.weight.flatten()[:9].tolist()))):
            torch.testing.assert_close(module.weight.detach(), weights.tensors[f"{name}.weight"], rtol=0, atol=0)
            torch.testing.assert_close(module.bias.detach(), weights.tensors[f"{name}.bias"], rtol=0, atol=0)
            found.add(path)
    return found


def test_it_is_given_as_a_file_to_networks_on_vgg_16_alone(caffe_file: Path) -> None:
    found = find_weights("vgg16", str(caffe_file))
    assert found is not None
    assert found.origin.sha256 is not None
    with pytest.raises(ConfigError, match=r"of \.caffemodel files 'vgg16' is read, not 'resnet50'"):
        find_weights("resnet50", str(caffe_file))
    with pytest.raises(ConfigError, match="no such file"):
        find_weights("vgg16", "none.caffemodel")
