"""The memory of a training step: weights and their copies, and every map that is kept."""

import torch
from torch import nn

from denselab.inspection.summary import summarise
from denselab.inspection.trace import trace
from denselab.memory import map_bytes, training_memory
from denselab.models.unet import UNet, UNetCore

PLANE = 400  # bytes of one 10x10 map of float32


def tiny_unet() -> UNet:
    return UNet(UNetCore(3, 2, padded=True, batch_norm=False, dropout=0.0, widths=(2, 2, 2, 2, 2)))


def test_maps_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    assert map_bytes(net, (10, 10)) == (3 + 4 + 4 + 1) * PLANE
    in_place = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 1, 1))
    assert map_bytes(in_place, (10, 10)) == (3 + 4 + 1) * PLANE


def test_maps_grow_with_the_area_and_nothing_is_computed() -> None:
    model = tiny_unet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert map_bytes(model, (64, 64)) == 4 * map_bytes(model, (32, 32))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weights_have_their_copies_and_frozen_ones_have_none() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1))
    maps = 2 * (3 + 4 + 1) * PLANE
    assert training_memory(net, (10, 10), 2, "adamw") == 4 * 21 * 4 + maps
    assert training_memory(net, (10, 10), 2, "sgd") == 3 * 21 * 4 + maps
    net[0].requires_grad_(False)
    assert training_memory(net, (10, 10), 2, "sgd") == 3 * 5 * 4 + 16 * 4 + maps


def test_the_layer_table_says_the_same() -> None:
    """`denselab info` and the plan of `denselab train` had an estimate each, and they differed."""
    model = tiny_unet()
    assert summarise(model, trace(model, (32, 32))).memory_training == training_memory(model, (32, 32), 1, "adamw")
