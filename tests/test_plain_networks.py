"""benchmarks/plain_networks.py: our networks written a second time, plainly. That both are the same is what the timings rest on."""

from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from denselab.build import create_model
from denselab.models import MODELS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OF_TORCHVISION = {
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
}  # fmt: skip
REGIONAL = {"msra_cfm"}  # their regions come from pixels, which the meta device does not have
WRITTEN = sorted(set(MODELS) - OF_TORCHVISION - REGIONAL)
LIGHT = ["patchwise", "pixelwise", "unet_small", "segnet_basic", "deeplabv3plus", "deeplabv3plus_mobilenetv2"]


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import plain_networks

    return plain_networks


def cost(model: nn.Module, images: Tensor) -> tuple[torch.Size, int, int]:
    """Shape of the logits, multiply-adds, parameters."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shape = model.eval()(images).shape
    return shape, counter.get_total_flops() // 2, sum(p.numel() for p in model.parameters())


def test_every_network_has_another_side(plain: ModuleType) -> None:
    assert sorted(plain.PLAIN) == WRITTEN
    assert set(plain.BEYOND) <= set(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_work(plain: ModuleType, name: str) -> None:
    """Shape, multiply-adds, parameters; FCN's frozen bilinear kernels are dense there and have one group per class here."""
    more = plain.BEYOND.get(name, 0)
    with torch.device("meta"):
        images = torch.empty(1, 3, 224 + more, 256 + more)
        ours, theirs = cost(create_model(name, 21), images), cost(plain.PLAIN[name](21), images)
    assert theirs[0] == ours[0] == (1, 21, 224 + more, 256 + more)
    assert theirs[1] == pytest.approx(ours[1], rel=0.005 if name.startswith("fcn") else 1e-9)
    if not name.startswith("fcn"):
        assert theirs[2] == ours[2]


@pytest.mark.parametrize("name", LIGHT)
def test_the_same_logits_with_the_same_weights(plain: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = create_model(name, 5), plain.PLAIN[name](5).eval()
    for layer in ours.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # one picture's statistics: with those of a new network the maps fade away
    ours.train()(torch.randn(2, 3, 65, 97))
    ours.eval()
    waiting: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for value in ours.state_dict().values():
        waiting[value.shape].append(value)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.copy_(waiting[value.shape].pop(0))  # each takes our next one of its shape
    assert not any(waiting.values()), "every tensor of ours has a place there"
    more = plain.BEYOND.get(name, 0)
    images = torch.randn(1, 3, 64 + more, 96 + more)
    with torch.inference_mode():
        expected = ours(images)
        assert expected.std() > 0.01
        torch.testing.assert_close(theirs(images), expected, rtol=1e-4, atol=1e-4)
