"""VGG-16: the paper's counts, pools after Caffe's rounding, and ImageNet weights in timm's and torchvision's names."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from denselab.encoders.vgg import (
    VGG16,
    VGG16Classifier,
    load_imagenet_weights,
    vgg_convolutions,
    vgg_normalisations,
)
from denselab.encoders.weights import read_weights
from denselab.errors import CheckpointError
from denselab.layers.geometry import Grid

THIN = ((2, 2), (3, 3), (4, 4, 4), (4, 4, 4), (4, 4, 4))


def test_parameters() -> None:
    with torch.device("meta"):
        trunk, classifier = VGG16(), VGG16Classifier()
    assert sum(p.numel() for p in trunk.parameters()) == 14_714_688
    assert sum(p.numel() for p in classifier.parameters()) == 119_545_856


def test_layer_sizes_are_timm_s() -> None:
    """The thirteen convolutions, fc6 and fc7 against another implementation: same shapes in the same order."""
    with torch.device("meta"):
        ours = [*VGG16().state_dict().values(), *VGG16Classifier().state_dict().values()]
        theirs = timm.create_model("vgg16").state_dict()
    assert [x.shape for x in ours] == [x.shape for n, x in theirs.items() if not n.startswith("head")]


def test_pools_round_up() -> None:
    pools = VGG16(blocks=THIN)(torch.randn(1, 3, 37, 53))
    assert list(pools) == ["pool1", "pool2", "pool3", "pool4", "pool5"]
    assert [tuple(x.shape[1:]) for x in pools.values()] == [(2, 19, 27), (3, 10, 14), (4, 5, 7), (4, 3, 4), (4, 2, 2)]


def test_pools_are_modules_without_names_in_the_state() -> None:
    with torch.device("meta"):
        plain, normed = VGG16(), VGG16(batch_norm=True)
    assert [n for n, _ in plain.named_children()][:3] == ["conv1_1", "conv1_2", "pool1"]
    assert [n for n, _ in normed.named_children()][-3:] == ["conv5_3", "bn5_3", "pool5"]
    assert not [n for n in plain.state_dict() if "pool" in n]
    assert plain.state_dict().keys() < normed.state_dict().keys()
    with torch.device("meta"):
        theirs = timm.create_model("vgg16_bn").state_dict()
    assert [x.shape for x in normed.state_dict().values()] == [x.shape for n, x in theirs.items() if "features" in n]


@pytest.mark.parametrize("size", [(32, 64), (37, 53)])
def test_indices_lead_back_to_the_maxima(size: tuple[int, int]) -> None:
    """Unpooling with the switches puts each maximum of pool5 where it was before the pool; the rest is zero."""
    torch.manual_seed(0)
    trunk = VGG16(blocks=THIN, return_indices=True).eval()
    trunk.requires_grad_(False)
    images = torch.randn(1, 3, *size)
    before: list[Tensor] = []
    trunk.get_submodule("pool5").register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
    pool5, switches = trunk.forward_with_indices(images)
    assert list(switches) == ["pool1", "pool2", "pool3", "pool4", "pool5"]
    indices, shape = switches["pool5"]
    assert shape == before[0].shape[-2:]
    unpooled = (
        torch.zeros(before[0].shape).flatten(2).scatter(2, indices.flatten(2), pool5.flatten(2)).view_as(before[0])
    )
    assert torch.equal(unpooled[unpooled != 0], before[0][unpooled != 0])
    torch.testing.assert_close(unpooled.sum(), pool5.sum())
    assert torch.equal(trunk(images)["pool5"], pool5)


def test_a_pixel_moves_the_cells_that_the_grid_names() -> None:
    """pool3's strongest response to one bright pixel lies in the cell whose centre is nearest to it."""
    trunk = VGG16(1, blocks=((1, 1), (1, 1), (1, 1, 1), (1,), (1,)))
    for p in trunk.parameters():
        torch.nn.init.constant_(p, 1.0 if p.ndim == 4 else 0.0)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 27, 43] = 1.0
    cell = divmod(int(trunk(image)["pool3"].argmax()), 8)
    grid = trunk.grid(3)
    assert grid == Grid(8, 3.5)
    assert cell == (round((27 - grid.start) / grid.stride), round((43 - grid.start) / grid.stride))


def thin_state(names: str) -> dict[str, Tensor]:
    """A file of ImageNet weights for the thin net, in the layer names of timm or of torchvision."""
    torch.manual_seed(1)
    trunk = VGG16(blocks=THIN)
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # torchvision's vgg16: the convolutions in `features`
    state = {}
    convolutions = [layer for layer in trunk.children() if isinstance(layer, nn.Conv2d)]
    for number, conv in zip(numbers, convolutions, strict=True):
        state |= {f"features.{number}.{n}": torch.randn_like(p) for n, p in conv.named_parameters()}
    fc6, fc7 = torch.randn(5, 4, 7, 7), torch.randn(5, 5, 1, 1)
    if names == "torchvision":
        state |= {"classifier.0.weight": fc6.flatten(1), "classifier.3.weight": fc7.flatten(1)}
        state |= {"classifier.0.bias": torch.randn(5), "classifier.3.bias": torch.randn(5)}
    else:
        state |= {"pre_logits.fc1.weight": fc6, "pre_logits.fc2.weight": fc7}
        state |= {"pre_logits.fc1.bias": torch.randn(5), "pre_logits.fc2.bias": torch.randn(5)}
    return state | {"head.fc.weight": torch.randn(9, 5), "head.fc.bias": torch.randn(9)}


@pytest.mark.parametrize("names", ["timm", "torchvision"])
def test_imagenet_weights_arrive(names: str, tmp_path: Path) -> None:
    state = thin_state(names)
    save_file(state, tmp_path / "model.safetensors")
    trunk, classifier = VGG16(blocks=THIN), VGG16Classifier(in_channels=4, channels=5)
    load_imagenet_weights(trunk, classifier, read_weights(tmp_path / "model.safetensors"))
    assert torch.equal(trunk.conv1_2.weight, state["features.2.weight"])
    assert torch.equal(trunk.conv5_3.bias, state["features.28.bias"])
    fc6 = state.get("pre_logits.fc1.weight", state.get("classifier.0.weight"))
    assert fc6 is not None
    x = torch.randn(1, 4, 7, 7)
    bias = classifier.fc6.bias
    assert bias is not None
    by_hand = x.flatten(1) @ fc6.flatten(1).T + bias
    torch.testing.assert_close(classifier.fc6(x).flatten(1), by_hand, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("names", ["timm", "torchvision"])
def test_convolutions_by_name(names: str, tmp_path: Path) -> None:
    """Files with either names give the same tensors, with fully connected layers as convolutions."""
    state = thin_state(names)
    save_file(state, tmp_path / "model.safetensors")
    found = vgg_convolutions(read_weights(tmp_path / "model.safetensors"))
    assert list(found)[:2] + list(found)[-3:] == ["conv1_1", "conv1_2", "conv5_3", "fc6", "fc7"]
    assert [tuple(found[n][0].shape) for n in ("conv1_1", "fc6", "fc7")] == [(2, 3, 3, 3), (5, 4, 7, 7), (5, 5, 1, 1)]
    assert torch.equal(found["conv5_3"][0], state["features.28.weight"])
    assert torch.equal(found["fc7"][0].flatten(), state[FC7[names]].flatten())


FC7 = {"timm": "pre_logits.fc2.weight", "torchvision": "classifier.3.weight"}


def test_weights_of_vgg16_bn(tmp_path: Path) -> None:
    """features.N counts the normalisations too: conv1_2 is features.3 and its bn1_2 features.4."""
    torch.manual_seed(2)
    source, path = VGG16(blocks=THIN, batch_norm=True), tmp_path / "model.safetensors"
    modules = [m for m in source.children() if not isinstance(m, nn.MaxPool2d)]
    numbers = [n for n, kind in enumerate(TORCHVISION_BN) if kind in "cb"]
    state = {k: v for k, v in thin_state("timm").items() if not k.startswith("features")}
    for number, module in zip(numbers, modules, strict=True):
        values = {n: torch.rand_like(v) if v.is_floating_point() else v + 7 for n, v in module.state_dict().items()}
        state |= {f"features.{number}.{n}": v for n, v in values.items()}
    save_file(state, path)
    trunk = VGG16(blocks=THIN, batch_norm=True)
    load_imagenet_weights(trunk, VGG16Classifier(0, 4, 5, batch_norm=True), read_weights(path))
    assert torch.equal(trunk.get_parameter("conv1_2.weight"), state["features.3.weight"])
    assert torch.equal(trunk.get_parameter("bn1_2.weight"), state["features.4.weight"])
    assert torch.equal(trunk.get_buffer("bn5_3.running_var"), state["features.41.running_var"])
    assert set(vgg_normalisations(read_weights(path))) == {n for n, _ in trunk.named_children() if n.startswith("bn")}
    save_file(thin_state("timm"), path)
    with pytest.raises(CheckpointError, match="not the weights of an ImageNet VGG-16"):
        load_imagenet_weights(trunk, VGG16Classifier(0, 4, 5, batch_norm=True), read_weights(path))


TORCHVISION_BN = "cbrcbrp" * 2 + "cbrcbrcbrp" * 3  # convolution, batch normalisation, ReLU, pool


def test_other_inputs_get_the_rgb_kernels_summed(tmp_path: Path) -> None:
    """A grey picture through the one-channel net gives what three equal channels give through the RGB net."""
    save_file(thin_state("timm"), tmp_path / "model.safetensors")
    nets = {channels: VGG16(channels, blocks=THIN) for channels in (1, 3)}
    for trunk in nets.values():
        load_imagenet_weights(
            trunk, VGG16Classifier(in_channels=4, channels=5), read_weights(tmp_path / "model.safetensors")
        )
    grey = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(
        nets[1](grey)["pool1"], nets[3](grey.expand(1, 3, 32, 32))["pool1"], atol=1e-4, rtol=1e-4
    )


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for content in ("other names", "other shapes"):
        if content == "other names":
            save_file({"stem.weight": torch.zeros(1)}, path)
        else:
            save_file({n: torch.zeros(7) for n in thin_state("timm")}, path)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not the weights of an ImageNet VGG-16"):
            load_imagenet_weights(VGG16(blocks=THIN), VGG16Classifier(in_channels=4, channels=5), read_weights(path))
