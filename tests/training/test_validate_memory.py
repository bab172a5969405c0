"""A validation that runs out of memory goes on with fewer pictures at a time, or ends in words."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from denselab.data import Dataset
from denselab.data.feed.cache import SampleCache
from denselab.engine.spec import Architecture, Preprocessing
from denselab.errors import OutOfMemory
from denselab.training import validate as module
from denselab.training.validate import validate

MESSAGES = (
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "DefaultCPUAllocator: can't allocate memory",
    "could not create a primitive",
)


def run(data: Dataset, batch: int = 4) -> Any:
    torch.manual_seed(0)
    model = Architecture("pixelwise", data.label_space.num_classes).create()
    preprocessing = Preprocessing((32, 48), (0.5,) * 3, (0.2,) * 3)
    loss = lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)  # noqa: E731
    items = data.of_split("val")
    return validate(model, data, items, preprocessing, loss, Accelerator(cpu=True), batch=batch, workers=0, cache=SampleCache())  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_it_splits_and_the_counts_stay(
    tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, seen, original = run(tiny_data), list[int](), module.forward_images

    def small(model: Any, images: Tensor, *others: Any) -> Tensor:
        if len(images) > 2:
            raise RuntimeError(message)
        seen.append(len(images))
        return original(model, images, *others)

    monkeypatch.setattr(module, "forward_images", small)
    split = run(tiny_data)
    assert seen == [2, 2]
    np.testing.assert_array_equal(split.counts, whole.counts)
    assert split.loss == pytest.approx(whole.loss)
    assert "2 pictures at a time" in capsys.readouterr().err


def test_large_pictures_run_as_many_at_a_time_as_there_is_memory_for(
    tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is as many crops as a step takes; the whole pictures that they are cut from can be a hundred times as large."""
    whole, seen, original = run(tiny_data), list[int](), module.forward_images

    def counted(model: Any, images: Tensor, *others: Any) -> Tensor:
        seen.append(len(images))
        return original(model, images, *others)

    monkeypatch.setattr(module, "forward_images", counted)
    monkeypatch.setattr(module, "most_pixels", lambda device: 1.5 * 32 * 48)
    counts = run(tiny_data).counts
    assert seen == [1, 1, 1, 1]
    np.testing.assert_array_equal(counts, whole.counts)


@pytest.mark.parametrize("message", MESSAGES)
def test_one_picture_that_does_not_fit_is_said(
    tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def none(*arguments: Any) -> Tensor:
        raise RuntimeError(message)

    monkeypatch.setattr(module, "forward_images", none)
    with pytest.raises(OutOfMemory, match="out of memory in the validation with one picture of 32x43"):
        run(tiny_data)


def test_another_error_is_not_taken_for_memory(tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(module, "forward_images", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(tiny_data)
