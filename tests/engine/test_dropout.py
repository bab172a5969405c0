"""Which networks can be sampled, and that sampling leaves everything else as it is."""

import torch
from torch import Tensor, nn

from denselab.engine.dropout import SEED, dropout_sampled, models_with_dropout
from denselab.models.base import SegmentationModel


class Dropped(SegmentationModel):
    """Ones, of which half are dropped."""

    def __init__(self) -> None:
        super().__init__(3)
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(3)

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.norm(images)  # would move its statistics in training mode
        return self.dropout(torch.ones_like(images))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


def test_only_dropout_samples_and_all_is_as_before_afterwards() -> None:
    model = Dropped().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(1, 3, 4, 4)
    with dropout_sampled(model, "dropped", torch.device("cpu")):
        assert [name for name, module in model.named_modules() if module.training] == ["dropout"]
        first = model(images)
        assert not torch.equal(first, model(images))
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.manual_seed(SEED + 1)
    with dropout_sampled(model, "dropped", torch.device("cpu")):
        assert torch.equal(model(images), first), "the same masks, whatever the caller's random numbers"


def test_the_bayesian_networks_have_dropout_and_their_plain_forms_have_not() -> None:
    names = set(models_with_dropout())
    assert {"bayesian_segnet", "bayesian_segnet_basic"} <= names
    assert not {"segnet", "segnet_basic", "deconvnet", "unet"} & names
