"""The two baselines that FCN's introduction argues against: windows around pixels, and convolutions without pools."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from denselab.models.base import ModelOptions, SegmentationModel
from denselab.models.patchwise import Patchwise, build_patchwise, patch_classifier
from denselab.models.pixelwise import build_pixelwise

K = 3


def thin(stride: int, batch: int = 64) -> Patchwise:
    torch.manual_seed(0)
    model = Patchwise(patch_classifier(3, K, (4, 4, 8)), K, stride, batch)
    model(torch.randn(2, 3, 60, 70))  # statistics for the normalisation
    return model.eval()


def operations(function: object, *arguments: Tensor) -> int:
    """Multiplications and additions, counted and not timed."""
    with FlopCounterMode(display=False) as counter:
        function(*arguments)  # type: ignore[operator]
    return counter.get_total_flops()


def test_the_window_ends_in_one_cell() -> None:
    sizes: list[int] = []
    classifier = patch_classifier(3, K)
    for layer in classifier:
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
    assert classifier(torch.randn(1, 3, 32, 32)).shape == (1, K, 1, 1)
    assert list(dict.fromkeys(sizes)) == [28, 14, 10, 5, 1]


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_the_whole_picture_at_once_gives_the_same_numbers(stride: int) -> None:
    """Windows one by one, and one run: the argument of FCN, section 3.1."""
    model, images = thin(stride), torch.randn(2, 3, 21, 34)
    with torch.no_grad():
        literal, dense = model.coarse_logits(images), model.dense_logits(images)
    assert literal.shape == (2, K, -(-21 // stride), -(-34 // stride))
    torch.testing.assert_close(dense, literal, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("stride", "times"), [(1, 30), (8, 4)])
def test_and_costs_a_fraction(stride: int, times: int) -> None:
    with torch.device("meta"):
        model = build_patchwise(ModelOptions(11)).eval()
        model.stride = stride
        images = torch.empty(1, 3, 180, 240)
        literal = operations(model.coarse_logits, images)
        dense = operations(model.dense_logits, images)
    assert literal > times * dense


@pytest.mark.parametrize("stride", [2, 8])
def test_each_window_has_its_block_in_the_middle(stride: int) -> None:
    """The gradient of a cell reaches 32 pixels, 16 to each side of the block's middle."""
    model = thin(stride)
    images = torch.randn(1, 3, 96, 96, requires_grad=True)
    row, column = 48 // stride, 40 // stride
    model.coarse_logits(images)[0, :, row, column].sum().backward()
    assert images.grad is not None
    for axis, middle in ((1, row * stride + stride / 2), (0, column * stride + stride / 2)):
        reached = images.grad[0].abs().sum(0).sum(axis).nonzero().flatten()
        assert reached.min() >= middle - 16
        assert reached.max() < middle + 16
        assert reached.max() - reached.min() > 28


def test_memory_is_that_of_a_batch_of_windows() -> None:
    seen: list[int] = []
    model = thin(4, batch=10)
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    model(torch.randn(1, 3, 40, 40))
    assert seen == [10] * 10


def test_pixelwise_sees_two_pixels_more_per_layer() -> None:
    """2 L + 1 = 13 after six layers, measured by the reach of a gradient."""
    model: SegmentationModel = build_pixelwise(ModelOptions(2)).eval()
    images = torch.randn(1, 3, 41, 41, requires_grad=True)
    model(images)[0, :, 20, 20].sum().backward()
    assert images.grad is not None
    reached = images.grad[0].abs().sum(0).nonzero()
    assert (reached.amin(0).tolist(), reached.amax(0).tolist()) == ([14, 14], [26, 26])


def test_pixelwise_computes_everything_at_full_resolution() -> None:
    with torch.device("meta"):
        model = build_pixelwise(ModelOptions(2))
        sizes: list[tuple[int, ...]] = []
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[-2:])))
        model(torch.empty(1, 3, 37, 53))
    assert sizes == [(37, 53)] * 7
