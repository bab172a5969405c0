"""The folded form of a network computes what the network does, and the network stays what it is."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from denselab.build import create_model
from denselab.engine.folding import Folding, folded
from denselab.layers.aligned import AlignedConv2d


def settled(network: nn.Module, channels: int = 3) -> nn.Module:
    """The network in evaluation mode, with statistics, scales and shifts that are not the first ones."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                with torch.no_grad():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.eval().to(memory_format=torch.channels_last)


def picture(height: int = 33, width: int = 47, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


class Branches(nn.Module):
    """Every way in which a convolution and a normalisation can meet."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.ReLU())
        self.biased = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.aligned = AlignedConv2d(8, 8, 3, stride=1, groups=8, bias=False)
        self.second = nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 1)  # called twice
        self.third = nn.BatchNorm2d(8)
        self.seen = nn.Conv2d(8, 8, 1)  # its result goes elsewhere too
        self.fourth = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.biased(self.plain(images)))
        x = x + self.second(self.aligned(x)).tanh()
        x = self.third(self.shared(self.shared(x)))
        raw = self.seen(x)
        return self.fourth(raw) + raw


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.inference_mode()
def test_only_what_belongs_together_is_folded() -> None:
    network = settled(Branches())
    form = folded(network, picture())
    assert (norms(network), norms(form)) == (5, 2)
    assert isinstance(form.third, nn.BatchNorm2d)
    assert isinstance(form.fourth, nn.BatchNorm2d)
    for images in (picture(), picture(20, 31, 3), picture(9, 8)):
        torch.testing.assert_close(form(images), network(images), atol=1e-4, rtol=1e-4)
    assert form.shared.weight is network.shared.weight, "what is not folded is not held twice"


@torch.inference_mode()
@pytest.mark.parametrize("limit", [nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Identity()])
def test_activations(limit: nn.Module) -> None:
    network = settled(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), limit))
    form = folded(network, picture())
    assert norms(form) == 0
    assert network[2] is limit
    torch.testing.assert_close(form(4 * picture()), network(4 * picture()), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_timm_encoder_is_folded_whole() -> None:
    network = settled(create_model("deeplabv3plus", 4, encoder="test_efficientnet"))
    form = folded(network, picture(64, 64))
    assert norms(network) > norms(form) == 0
    images = picture(50, 70, 2)
    torch.testing.assert_close(form(images), network(images), atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_a_form_that_computes_something_else_is_not_used() -> None:
    class Looks(nn.Module):
        """Reads between normalisation and activation."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

        def forward(self, images: Tensor) -> Tensor:
            before: Tensor = self.layers[1](self.layers[0](images))
            return before - self.layers[2](before)

    network = settled(Looks())
    with torch.no_grad():
        network.layers[1].bias.sub_(2)
    assert folded(network, picture()) is network


@torch.no_grad()
def test_it_is_made_anew_when_a_weight_changes_and_left_out_in_training() -> None:
    network, folding = settled(Branches()), Folding()
    form = folding.of(network, picture)
    assert folding.of(network, picture) is form
    network.norm.bias.add_(1)
    changed = folding.of(network, picture)
    assert changed is not form
    torch.testing.assert_close(changed(picture()), network(picture()), atol=1e-4, rtol=1e-4)
    network.third.train()
    assert folding.of(network, picture) is network


def test_copies_make_their_own() -> None:
    folding = Folding()
    folding.of(settled(Branches()), picture)
    assert copy.deepcopy(folding)._kept is None
    assert pickle.loads(pickle.dumps(folding))._kept is None
