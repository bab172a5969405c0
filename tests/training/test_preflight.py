"""What is measured before a run: sizes, class pixels, the time of a step."""

import pytest
import torch

from denselab.data import Dataset
from denselab.data.counting import count_class_pixels, spread
from denselab.models.unet import UNet, UNetCore
from denselab.training import preflight
from denselab.training.preflight import (
    median_size,
    picture_sizes,
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


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([1.0, 4.0, 2.0], 0.5),  # the first warms up and is left out; of the others the quicker
        ([20.0], 10.0),  # of two pictures: so slow that it tells enough
        ([9.0, 3.0], 0.75),
        ([torch.OutOfMemoryError("pretended")], None),
    ],
)
def test_a_trial_is_short(
    steps: list[float | Exception], expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of 155 s a step was tried with four pictures, and three times, before a run of five seconds."""
    left = list(steps)

    def step(*arguments: object) -> float:
        value = left.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    monkeypatch.setattr(preflight, "_timed_step", step)
    seconds = preflight.time_picture(tiny_unet(), lambda *arguments: torch.zeros(()), (32, 32), torch.device("cpu"), 8)
    assert seconds == expected
    assert not left
