"""The compiled enlargement against torch's: every form in memory, both conventions, larger and smaller, cut or whole."""

import pytest
import torch
from torch.nn import functional as F

from denselab.layers.compiled_step import compiled_step
from denselab.layers.cpu.team import can_run
from denselab.layers.upsample import enlarge_aligned, enlarge_logits, enlarge_to

pytestmark = pytest.mark.skipif(not can_run(), reason="torch's threads cannot be had here")

FORMS = [torch.contiguous_format, torch.channels_last]


def drawn(shape: tuple[int, ...], form: torch.memory_format, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(shape).to(dtype).contiguous(memory_format=form).requires_grad_()


def alike(x: torch.Tensor, compute, tolerance: float = 1e-6) -> torch.Tensor:
    """Result and gradient of `compute(x)` are the same within a step as without; returns the result."""
    plain = compute(x)
    slope = torch.randn_like(plain)
    (expected,) = torch.autograd.grad(plain, x, slope)
    with compiled_step():
        ours = compute(x)
    assert "Enlarge" in type(ours.grad_fn).__name__
    (gradient,) = torch.autograd.grad(ours, x, slope.to(ours.dtype))
    scale = float(expected.abs().max())
    assert torch.allclose(ours.float(), plain.float(), atol=tolerance * 4, rtol=tolerance)
    assert torch.allclose(gradient.float(), expected.float(), atol=tolerance * scale, rtol=tolerance)
    assert gradient.dtype == x.dtype
    return ours


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 32, 3, 5), (12, 20)),
        ((2, 11, 3, 5), (12, 20)),
        ((1, 16, 4, 7), (9, 30)),
        ((1, 48, 1, 1), (5, 6)),
        ((2, 16, 9, 12), (4, 5)),
        ((1, 3, 6, 1), (1, 4)),
        ((1, 17, 2, 2), (2, 2)),
    ],
)
def test_as_interpolate(shape, size, aligned, form):
    y = alike(drawn(shape, form), lambda x: enlarge_to(x, size, aligned=aligned))
    assert y.shape[-2:] == size


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_is_rounded_once(form):
    x = drawn((2, 32, 4, 6), form, torch.bfloat16)
    y = alike(x, lambda x: enlarge_to(x, (16, 24)), tolerance=0.01)
    assert y.dtype == torch.bfloat16
    exact = F.interpolate(x.detach().float(), size=(16, 24), mode="bilinear")
    assert torch.equal(y.detach(), exact.bfloat16()) or (y - exact.bfloat16()).abs().max() <= 2**-7


@pytest.mark.parametrize("size", [(12, 16), (10, 13), (9, 1)])
def test_logits_are_cut_to_the_picture(size):
    alike(drawn((2, 5, 3, 4), torch.channels_last), lambda x: enlarge_logits(x, 4, size))
    alike(drawn((2, 5, 4, 5), torch.contiguous_format), lambda x: enlarge_aligned(x, 4, size))


def test_logits_come_in_single_precision():
    x = drawn((1, 5, 3, 4), torch.channels_last, torch.bfloat16)
    with compiled_step():
        y = enlarge_logits(x, 4, (12, 16))
    assert y.dtype == torch.float32
    assert y.is_contiguous()


def test_outside_a_step_torch_enlarges():
    x = drawn((1, 5, 3, 4), torch.contiguous_format)
    assert "Enlarge" not in type(enlarge_logits(x, 4, (12, 16)).grad_fn).__name__


def test_gradients_of_gradients_are_refused():
    x = drawn((1, 5, 3, 4), torch.contiguous_format)
    with compiled_step():
        y = enlarge_logits(x, 4, (12, 16))
    with pytest.raises(RuntimeError, match="no gradient of a gradient"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_threads_do_not_change_the_bits():
    x = drawn((3, 32, 5, 6), torch.channels_last)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with compiled_step():
                y = enlarge_to(x, (20, 24))
            results.append((y.detach(), torch.autograd.grad(y.square().sum(), x)[0]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
