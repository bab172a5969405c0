"""Labels without full-size logits are the arg-max of the logits that the network would have enlarged."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denselab.engine.coarse import Coarse
from denselab.layers.upsample import enlarge_logits
from denselab.models import MODELS
from denselab.models.base import ModelOptions


def blobs(classes: int, height: int, width: int, seed: int) -> torch.Tensor:
    """(1, K, h, w) smooth scores: large areas of one class, and cells between them that differ."""
    noise = torch.randn(1, classes, -(-height // 3) + 1, -(-width // 3) + 1, generator=torch.manual_seed(seed))
    return F.interpolate(noise, size=(height, width), mode="bilinear")


def both(values: torch.Tensor) -> list[Any]:
    """The scores of one picture as an array and as a tensor whose channels lie side by side."""
    return [values[0].numpy(), values.to(memory_format=torch.channels_last)[0]]


@settings(max_examples=25, deadline=None)
@given(
    factor=st.sampled_from([2, 3, 4, 5, 8, 16]),
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    missing=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    classes=st.sampled_from([1, 2, 11, 300]),
    seed=st.integers(0, 1000),
)
def test_labels_are_the_arg_max_of_the_enlarged_logits(
    factor: int, grid: tuple[int, int], missing: tuple[int, int], classes: int, seed: int
) -> None:
    values = blobs(classes, *grid, seed)
    size = (max(1, grid[0] * factor - missing[0] % factor), max(1, grid[1] * factor - missing[1] % factor))
    full = enlarge_logits(values, factor, size)[0]
    top = full.max(dim=0).values
    for scores in both(values):
        coarse = Coarse(scores, factor, size)
        labels = coarse.labels()
        assert labels.shape == size
        assert labels.dtype == (np.uint8 if classes <= 255 else np.uint16)
        chosen = full.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
        assert float((top - chosen).max()) < 1e-5  # where two are as good as equal, either may be taken
        np.testing.assert_allclose(coarse.sampled(4), full[:, ::4, ::4], atol=1e-5)


def test_ties_go_to_the_first_class_and_areas_are_exact() -> None:
    """Two classes with the same scores everywhere: the first has every pixel, also in cells that are blended."""
    left = np.array([[[1, 0, 0]], [[1, 0, 0]], [[0, 2, 2]]], np.float32)
    labels = Coarse(left, 4, (4, 12)).labels()
    # class 0 falls from 1 at the centre of cell 0 to 0 at that of cell 1, class 2 rises from 0 to 2: equal at a third
    assert labels.tolist() == [[0, 0, 0, 2] + [2] * 8] * 4


@pytest.mark.parametrize("size", [(48, 64), (31, 90), (5, 7), (96, 33)])
def test_bands_of_another_size_are_enlarged_twice(size: tuple[int, int]) -> None:
    """First to what the network saw, then to the picture: as if the logits had been there in full."""
    values = blobs(11, 12, 16, 1)
    seen = enlarge_logits(values, 4, (46, 63))
    expected = F.interpolate(seen, size=size, mode="bilinear", align_corners=False)[0]
    for scores in both(values):
        coarse = Coarse(scores, 4, (46, 63))
        bands = list(coarse.bands(size))
        assert [top for top, _ in bands] == sorted({top for top, _ in bands})
        np.testing.assert_allclose(np.concatenate([np.asarray(band) for _, band in bands], axis=1), expected, atol=1e-5)
        found = coarse.labels_at(size)
        assert (found != expected.argmax(dim=0).numpy()).mean() < 1e-3


def test_many_classes_are_blended_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = blobs(40, 9, 9, 2)
    whole = Coarse(values[0].numpy(), 8, (70, 72)).labels()
    monkeypatch.setattr("denselab.engine.coarse.BLENDED_BYTES", 1)
    assert np.array_equal(Coarse(values[0].numpy(), 8, (70, 72)).labels(), whole)


@pytest.mark.parametrize(
    ("name", "encoder", "factor"),
    [
        ("deeplabv3plus", "mobilenetv2_100", 4),
        ("deeplabv3", "resnet18", 16),
        ("unet", "resnet18", 2),
        ("fcn8s", None, None),  # a transposed convolution, cut at its own place
        ("deeplabv3plus_mobilenetv2", None, None),  # corners aligned
    ],
)
def test_networks_say_how_they_are_enlarged(name: str, encoder: str | None, factor: int | None) -> None:
    with torch.device("meta"):
        network = MODELS[name].build(ModelOptions(3, encoder=encoder or MODELS[name].default_encoder))
    assert network.enlarged_by == factor
    if factor is not None:
        values, size = blobs(3, 5, 6, 3), (5 * factor - 1, 6 * factor)
        torch.testing.assert_close(network.enlarge(values, size), enlarge_logits(values, factor, size))
