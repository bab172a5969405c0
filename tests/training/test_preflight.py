"""What is said before a run: sizes, class pixels, parameters, memory."""

import torch

from denselab.data import Dataset
from denselab.models.unet import UNet, UNetCore
from denselab.training.preflight import (
    activation_bytes,
    count_class_pixels,
    count_parameters,
    estimate,
    median_size,
    picture_sizes,
    spread,
)


def tiny_unet() -> UNet:
    return UNet(UNetCore(3, 2, padded=True, batch_norm=True, dropout=0.0, widths=(2, 2, 2, 2, 2)))


def test_class_pixels_are_those_of_the_labels(tiny_data: Dataset) -> None:
    items = tiny_data.of_split("train")
    counts = count_class_pixels(tiny_data, items)
    labels = tiny_data.read_labels(items[3])
    assert counts.shape == (12, tiny_data.label_space.num_classes)
    assert counts[3].tolist() == [int((labels == k).sum()) for k in range(counts.shape[1])]


def test_sizes(tiny_data: Dataset) -> None:
    assert set(picture_sizes(tiny_data.of_split("train"))) == {(48, 64)}
    assert median_size([(10, 40), (20, 50), (90, 60)]) == (20, 50)


def test_spread_is_even_and_keeps_the_first() -> None:
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread(range(3), 4) == [0, 1, 2]


def test_activations_grow_with_the_area_and_nothing_is_computed() -> None:
    model = tiny_unet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small, large = activation_bytes(model, (32, 32)), activation_bytes(model, (64, 64))
    assert large == 4 * small
    assert small >= 32 * 32 * 2 * 4, "at least one float map of two channels"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_memory_is_weights_copies_and_activations() -> None:
    model = tiny_unet()
    report = estimate(model, "adamw", (32, 32), 8, None)
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert report.parameters == count_parameters(model)
    assert report.memory == 4 * weights + 8 * activation_bytes(model, (32, 32))
