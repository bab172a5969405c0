"""Which convolutions see the picture: found by following it through each network."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denselab.build import create_model
from denselab.convert.picture import picture_convolutions
from denselab.models import MODELS

SECOND = {"deeplab_msc_largefov": {"data_conv"}, "deeplab_msc_4x4": {"data_conv"}}  # beside the trunk's first


@pytest.mark.parametrize("name", MODELS)
def test_of_every_network(name: str) -> None:
    """The first that is defined; DeepLab's multi-scale features have a second one, which a converted file left in BGR."""
    with torch.device("meta"):
        network = create_model(name, 2, encoder=MODELS[name].default_encoder)
    first = next(path for path, module in network.named_modules() if isinstance(module, nn.Conv2d))
    assert picture_convolutions(network) == {first} | SECOND.get(name, set())


class Branches(nn.Module):
    """Sees the picture three times: enlarged, at half its size, and through an average; `late` sees only what `whole` made."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Conv2d(3, 3, 3)
        self.whole, self.small, self.mean = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 1)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        halved = F.interpolate(images[..., 1:], scale_factor=0.5)
        whole = self.whole(F.pad(images, (1, 1, 1, 1)) / 2)
        return (
            self.late(F.relu(whole, inplace=True)).sum()
            + self.small(halved).sum()
            + self.mean(images.mean((2, 3), True)).sum()
        )


def test_what_stands_between_does_not_hide_the_picture() -> None:
    network = Branches().train()
    assert picture_convolutions(network) == {"whole", "small", "mean"}
    assert network.training
    assert not network.whole.weight.is_meta
