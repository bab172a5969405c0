"""Learning rates at marked points, groups of weights, the running mean."""

import pytest
import torch
from torch import Tensor, nn

from denselab.build import create_model
from denselab.config import TrainConfig, make_settings
from denselab.encoders.stages import Stages
from denselab.errors import ConfigError
from denselab.models.base import SegmentationModel
from denselab.training.optim import freeze_as_asked, lr_factor, make_optimizer, set_lr, update_average
from denselab.training.recipe import Facts, choose_recipe

FACTS = Facts(pictures=10, size=(32, 32), num_classes=3, device="cpu", cores=2, normalised=True, score_inputs=256)


def config(**settings: object) -> TrainConfig:
    return choose_recipe(make_settings({"data": "d", "epochs": 1, **settings}), FACTS, None)[0]


def test_poly_is_the_papers() -> None:
    """DeepLab v2: lr (1 - it / max)^0.9."""
    poly = config(schedule="poly", warmup=0.0, poly_power=0.9)
    assert [lr_factor(p, poly) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5**0.9, 0.0])


def test_step_is_deeplab_v1_s_solver() -> None:
    """step 2000, gamma 0.1, 6,000 iterations: 1, 1/10, 1/100; the last moment belongs to the last stretch."""
    step = config(schedule="step", warmup=0.0)
    factors = [lr_factor(iteration / 6000, step) for iteration in (0, 1999, 2000, 3999, 4000, 5999, 6000)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])
    once = config(schedule="step", warmup=0.0, lr_drop=1.0)
    assert {lr_factor(p / 4, once) for p in range(5)} == {1.0}
    assert lr_factor(0.05, config(schedule="step", warmup=0.1)) == pytest.approx((1 + 1 / 25) / 2)


def test_a_rate_of_zero_leaves_the_pretrained_part_as_it_is() -> None:
    """DeepLab v1's multi-scale branches learn beside a net that stays: lr_mult 0.

    Its running statistics moved all the same, and so did what was not called `encoder.`: 16 networks of 47 wholly.
    """
    for optimizer in ("sgd", "adamw", "muon"):
        net = Net()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        settings = config(optimizer=optimizer, lr=0.1, encoder_lr_factor=0.0, weight_decay=0.1, schedule="constant")
        freeze_as_asked(net, settings)
        stepping = make_optimizer(net, settings)
        set_lr(stepping, settings, 0.0)
        net.train()(torch.rand(2, 3, 5, 5)).sum().backward()
        stepping.step()
        moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
        assert {name.split(".")[0] for name in moved} == {"norm", "head"}
        assert net.trunk.weight.grad is None, "nothing is computed for what stays"


def test_what_is_held_still_keeps_its_place_in_the_optimiser() -> None:
    """A run's last/ finds the moments by position: one that was begun while rate 0 only stopped the step goes on."""
    held, moving = Net(), Net()
    for net, factor in ((held, 0.0), (moving, 0.5)):
        freeze_as_asked(net, config(encoder_lr_factor=factor))
    shapes = [
        [
            tuple(p.shape)
            for group in make_optimizer(net, config(encoder_lr_factor=factor)).param_groups
            for p in group["params"]
        ]
        for net, factor in ((held, 0.0), (moving, 0.5))
    ]
    assert shapes[0] == shapes[1]


def test_a_rate_for_a_part_that_a_network_does_not_have_is_refused() -> None:
    """The paper's U-Net starts from nothing: encoder_lr_factor was taken and had no effect."""
    model = create_model("unet_small", 2)
    freeze_as_asked(model, config(model="unet_small"))
    for factor in (0.0, 0.5):
        with pytest.raises(ConfigError, match=rf"encoder_lr_factor is {factor:g}, but no part of 'unet_small'"):
            freeze_as_asked(model, config(model="unet_small", encoder_lr_factor=factor))


def test_the_first_stages_can_stay_while_the_others_learn() -> None:
    """Their weights and statistics do not move, and they keep their place in the optimiser."""
    model = create_model("unet", 2, encoder="resnet18")
    settings = config(model="unet", encoder="resnet18", lr=0.1, freeze_stages=2, schedule="constant")
    stages = model.pretrained_stages()
    assert len(stages) > 2
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    freeze_as_asked(model, settings)
    stepping = make_optimizer(model, settings)
    assert sum(len(group["params"]) for group in stepping.param_groups) == len(list(model.parameters()))
    set_lr(stepping, settings, 0.0)
    model.train()(torch.rand(2, 3, 64, 64)).sum().backward()
    stepping.step()
    stay = tuple(f"{path}." for stage in stages[:2] for path in stage)
    for name, tensor in model.state_dict().items():
        if name.startswith(stay):
            assert torch.equal(tensor, before[name]), name
    for stage in stages[2:]:
        starts = tuple(f"{path}." for path in stage)
        assert any(not torch.equal(t, before[n]) for n, t in model.state_dict().items() if n.startswith(starts))


def test_more_stages_than_there_are_or_none_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="freeze_stages is 9, but the encoder of 'unet' has"):
        freeze_as_asked(create_model("unet", 2, encoder="resnet18"), config(model="unet", freeze_stages=9))
    with pytest.raises(ConfigError, match="freeze_stages is 1, but no part of 'unet_small'"):
        freeze_as_asked(create_model("unet_small", 2), config(model="unet_small", freeze_stages=1))


def test_one_cycle_rises_and_falls() -> None:
    cycle = config(schedule="onecycle", warmup=0.2)
    assert lr_factor(0.0, cycle) == pytest.approx(1 / 25)
    assert lr_factor(0.1, cycle) == pytest.approx((1 + 1 / 25) / 2)
    assert lr_factor(0.2, cycle) == pytest.approx(1.0)
    assert lr_factor(0.6, cycle) == pytest.approx((1 + 1 / 1000) / 2)
    assert lr_factor(1.0, cycle) == pytest.approx(1 / 1000)


def test_constant_and_a_run_that_is_all_warm_up() -> None:
    assert {lr_factor(p / 4, config(schedule="constant")) for p in range(5)} == {1.0}
    assert lr_factor(1.0, config(schedule="onecycle", warmup=1.0)) == pytest.approx(1 / 1000)


class Net(SegmentationModel):
    """The trunk and its normalisation are pretrained; `frozen` never learns, `norm` and `head` always."""

    def __init__(self) -> None:
        super().__init__(2)
        self.trunk = nn.Conv2d(3, 4, 3, padding=1)
        self.trunk_norm = nn.BatchNorm2d(4)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)
        self.frozen = nn.Conv2d(2, 2, 1)
        self.frozen.requires_grad_(False)

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self.frozen(self.head(self.norm(self.trunk_norm(self.trunk(images)))))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse

    def pretrained_stages(self) -> Stages:
        return (("trunk", "trunk_norm"),)


def test_groups_decay_and_rates() -> None:
    """Biases and norms are not decayed; the pretrained part and the biases have factors of their own (Caffe: biases x 2)."""
    net = Net()
    settings = config(
        optimizer="sgd", lr=0.1, encoder_lr_factor=0.5, bias_lr_factor=2.0, weight_decay=0.01, schedule="constant"
    )
    optimizer = make_optimizer(net, settings)
    assert set_lr(optimizer, settings, 0.0) == pytest.approx(0.1)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert found[id(net.trunk.weight)] == pytest.approx((0.05, 0.01))
    assert found[id(net.trunk.bias)] == pytest.approx((0.1, 0.0))
    assert found[id(net.norm.weight)] == pytest.approx((0.1, 0.0))
    assert found[id(net.head.weight)] == pytest.approx((0.1, 0.01))
    assert found[id(net.head.bias)] == pytest.approx((0.2, 0.0))
    assert id(net.frozen.weight) not in found


def test_muon_s_groups() -> None:
    """Matrices are turned; depthwise filters, vectors and what is too large to turn go by AdamW, the last at a fifth."""

    class Parts(Net):
        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
            self.large = nn.Linear(513, 513)

    net = Parts()
    settings = config(optimizer="muon", lr=0.1, encoder_lr_factor=0.5, weight_decay=0.01, schedule="constant")
    optimizer = make_optimizer(net, settings)
    set_lr(optimizer, settings, 0.0)
    found = {id(p): (g["matrices"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found[id(net.trunk.weight)] == (True, pytest.approx(0.05), 0.01)
    assert found[id(net.head.weight)] == (True, pytest.approx(0.1), 0.01)
    assert found[id(net.depthwise.weight)] == (False, pytest.approx(0.1), 0.01)
    assert found[id(net.large.weight)] == (False, pytest.approx(0.02), 0.01)
    assert found[id(net.head.bias)] == (False, pytest.approx(0.1), 0.0)
    assert not any(group["matrices"] for group in make_optimizer(net, config(optimizer="adamw")).param_groups)


def test_running_mean_by_hand() -> None:
    """decay 0.9 at step 1000: 0.9 old + 0.1 new; at step 0 the decay is 1/10: 0.1 old + 0.9 new. Counters are copied."""
    net, mean = Net(), Net()
    for step, expected in ((1000, 0.1), (0, 0.9)):
        with torch.no_grad():
            mean.head.weight.zero_()
            net.head.weight.fill_(1.0)
            net.norm.num_batches_tracked.fill_(7)
            mean.norm.running_mean.zero_()
            net.norm.running_mean.fill_(2.0)
        update_average(mean, net, decay=0.9, step=step)
        assert mean.head.weight.detach().unique().tolist() == pytest.approx([expected])
        assert mean.norm.running_mean.unique().tolist() == pytest.approx([2 * expected])
        assert int(mean.norm.num_batches_tracked) == 7
