"""State dicts of torchvision, timm and the ports: told apart by their names, with the channel order that each has."""

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from denselab.build import create_model
from denselab.convert.mapping import check_fit
from denselab.convert.names_torch import map_state
from denselab.convert.torch_files import read_state_dict
from denselab.encoders.resnet import ResNet
from denselab.encoders.vgg import VGG16, VGG16Classifier
from denselab.errors import CheckpointError, NoSuchPath
from denselab.models.base import SegmentationModel
from denselab.models.deeplab_v2 import DeepLabV2, resnet_score_layers
from denselab.models.fcn import FCN
from denselab.models.segnet import SegNetBasic

K = 3
State = dict[str, Tensor]


def skeleton(name: str, encoder: str | None = None) -> SegmentationModel:
    with torch.device("meta"):
        return create_model(name, 2, encoder=encoder)


def fits(model: nn.Module, state: State, missing_may_start_with: tuple[str, ...] = ()) -> tuple[State, str, bool]:
    """The network's tensors after mapping, the form's title, and whether it is BGR."""
    reading, form = map_state(state, model)
    own = model.state_dict()
    optional = {n for n in own if n.endswith("num_batches_tracked") or n.startswith(missing_may_start_with or "-")}
    check_fit(own, reading.mapped, reading.unused, optional, "test")
    return {m.target: m.tensor for m in reading.mapped}, form.title, form.bgr


def test_torchvision_s_segmentation_names_are_the_network_s_own() -> None:
    with torch.device("meta"):
        state = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None).state_dict()
        model = create_model("deeplabv3_resnet50", 21)
    mapped, title, bgr = fits(model, state)
    assert set(mapped) == set(state)
    assert (title, bgr) == ("the network's own names", False)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("deeplabv3_resnet50", "backbone."), ("deeplabv3", "encoder."), ("deeplabv3plus_resnet50", "encoder.")],
)
def test_an_imagenet_resnet_becomes_the_encoder(name: str, prefix: str) -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet50().state_dict()
    encoder = "resnet50" if name != "deeplabv3_resnet50" else None
    mapped, title, _ = fits(skeleton(name, encoder), state, ("classifier.", "aspp.", "logits", "feature_", "decoder_"))
    assert title == "an ImageNet network of timm or torchvision"
    assert set(mapped) == {f"{prefix}{n}" for n in state if not n.startswith("fc.")}


def test_a_timm_network_becomes_the_encoder() -> None:
    state = timm.create_model("test_resnet").state_dict()
    mapped, _, _ = fits(skeleton("unet", "test_resnet"), state, ("up.", "score"))
    assert {n.removeprefix("encoder.backbone.") for n in mapped} == {n for n in state if not n.startswith("fc.")}


@pytest.mark.parametrize(("source", "name"), [("vgg16", "fcn8s"), ("vgg16", "segnet"), ("vgg16_bn", "deconvnet")])
def test_an_imagenet_vgg(source: str, name: str) -> None:
    """conv3_2 is the sixth of thirteen; fc6 (4096, 25088) becomes a convolution; conv1_1 stays RGB."""
    with torch.device("meta"):
        state = getattr(torchvision.models, source)().state_dict()
        reading, form = map_state(state, create_model(name, 2))
    mapped = {m.target.removeprefix("encoder."): m for m in reading.mapped}
    assert form.trunk
    assert not form.bgr
    assert mapped["conv3_2.weight"].source == ("features.17.weight" if source == "vgg16_bn" else "features.12.weight")
    if name == "segnet":
        assert len(mapped) == 26
    else:
        fc6 = next(m for m in reading.mapped if m.target.endswith("fc6.weight"))
        assert fc6.tensor.shape == (4096, 512, 7, 7)
        assert fc6.done == "fully connected, as convolution"
    if source == "vgg16_bn":
        assert mapped["bn1_1.running_mean"].source == "features.1.running_mean"


THIN = ((4, 4), (4, 6), (6, 6, 6), (8, 8, 8), (8, 8, 8))


def test_a_port_of_fcn_in_caffe_s_names() -> None:
    """conv1_1.weight, upscore8.weight dense: trained on BGR, as its authors' loaders are."""
    torch.manual_seed(0)
    model = FCN(VGG16(first_pad=100, blocks=THIN), VGG16Classifier(0, 8, 10), K, 8)
    state: State = {}
    for path, tensor in model.state_dict().items():
        leaf = ".".join(path.split(".")[-2:])
        dense = "up" in leaf
        state[leaf] = torch.eye(K)[:, :, None, None] * tensor[0, 0] if dense else torch.randn_like(tensor)
    mapped, title, bgr = fits(model, state)
    assert bgr
    assert title == "Caffe's layer names"
    torch.testing.assert_close(mapped["encoder.conv1_1.weight"], state["conv1_1.weight"].flip(1), atol=0, rtol=0)
    assert mapped["upscore8.weight"].shape == (K, 1, 16, 16)
    torch.testing.assert_close(mapped["classifier.fc7.weight"], state["fc7.weight"], atol=0, rtol=0)


def thin_v2() -> DeepLabV2:
    encoder = ResNet(101, output_stride=8, stride_in="conv1", dilate_first=True, ceil_pool=True, width=4)
    return DeepLabV2(encoder, resnet_score_layers(encoder.channels, K), K)


def as_isht7(name: str) -> str:
    return "Scale." + re.sub(r"^fc1_c", "layer5.conv2d_list.", name.removeprefix("encoder."))


def as_kazuto(name: str) -> str:
    parts = {"1": "reduce", "2": "conv3x3", "3": "increase"}

    def block(match: re.Match[str]) -> str:
        stage, index, rest = int(match[1]) + 1, int(match[2]) + 1, match[3]
        if rest.startswith("downsample"):
            part, kind = "shortcut", "bn" if "downsample.1" in rest else "conv"
        else:
            part, kind = parts[rest.split(".")[0][-1]], re.sub(r"\d", "", rest.split(".")[0])
        return f"base.layer{stage}.block{index}.{part}.{kind}.{rest.rsplit('.', 1)[-1]}"

    name = re.sub(r"^fc1_(c\d)", r"base.aspp.\1", name.removeprefix("encoder."))
    name = re.sub(r"^(conv|bn)1\.", r"base.layer1.conv1.\1.", name)
    return re.sub(r"^layer(\d)\.(\d+)\.(.+)$", block, name)


@pytest.mark.parametrize(("port", "title"), [(as_isht7, "isht7"), (as_kazuto, "kazuto1011")])
def test_ports_of_deeplab_v2(port, title: str) -> None:
    torch.manual_seed(0)
    model = thin_v2()
    own = {n: torch.randn(t.shape) if t.is_floating_point() else t for n, t in model.state_dict().items()}
    mapped, form, bgr = fits(model, {port(name): tensor for name, tensor in own.items()})
    assert title in form
    assert bgr
    for name, tensor in own.items():
        expected = tensor.flip(1) if name == "encoder.conv1.weight" else tensor
        torch.testing.assert_close(mapped[name], expected, atol=0, rtol=0)


def test_kazuto_s_names_by_hand() -> None:
    assert as_kazuto("encoder.layer3.22.bn2.weight") == "base.layer4.block23.conv3x3.bn.weight"
    assert as_kazuto("encoder.layer1.0.downsample.0.weight") == "base.layer2.block1.shortcut.conv.weight"


def test_another_s_names_are_placed_by_order_where_all_shapes_are_equal() -> None:
    torch.manual_seed(0)
    model = SegNetBasic(3, 2, widths=(4, 5, 6, 7))
    state = {
        f"layer_{i}": torch.randn(t.shape) for i, (n, t) in enumerate(model.state_dict().items()) if "tracked" not in n
    }
    mapped, title, _ = fits(model, state)
    assert "by order" in title
    first, last = next(iter(state.values())), list(state.values())[-1]
    torch.testing.assert_close(mapped["conv1.weight"], first, atol=0, rtol=0)
    torch.testing.assert_close(mapped["conv_classifier.bias"], last, atol=0, rtol=0)
    state["layer_0"] = torch.zeros(9, 9)
    with pytest.raises(CheckpointError, match=r"another network: the file begins with layer_0 \(9, 9\).*conv1\.weight"):
        map_state(state, model)


@pytest.mark.parametrize("prefix", ["", "module.", "module.model.", "_orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state = {f"{prefix}conv.weight": torch.ones(2, 3), f"{prefix}conv.bias": torch.zeros(2)}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "x.pth")
    read = read_state_dict(tmp_path / "x.pth")
    assert list(read) == ["conv.weight", "conv.bias"]
    torch.testing.assert_close(read["conv.weight"], torch.ones(2, 3))


def test_safetensors_and_the_old_format(tmp_path: Path) -> None:
    state = {"a": torch.arange(4.0)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("x.safetensors", "old.pth"):
        torch.testing.assert_close(read_state_dict(tmp_path / name)["a"], state["a"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list"),
        ({"epoch": 1, "note": "x"}, "holds dict with the keys epoch, note; a state dict"),
        (torch.ones(2), "holds Tensor"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "x.pth")


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    """A stride of 0 makes four terabytes out of four bytes; copying it would ask for them."""
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"x\.pth: a claims \(1099511627776,\) values, which are not in the file"):
        read_state_dict(tmp_path / "x.pth")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(100)}, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    for content in (b"", b"\x80\x02", whole[:200], np.random.default_rng(0).bytes(300)):
        for name in ("cut.pth", "cut.safetensors"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CheckpointError, match="cut"):
                read_state_dict(tmp_path / name)
    with pytest.raises(NoSuchPath, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
