"""Muon against torch's own on matrices, its iteration by hand, what counts as a matrix."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from denselab.training import muon
from denselab.training.muon import ADAM_STEP, ITERATIONS, NEWTON_SCHULZ, Muon, is_matrix, orthogonal


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines with matrix units iterate in bfloat16; hand-computed values need more digits."""
    monkeypatch.setattr(muon, "default_precision", lambda device: "no")


def stepped(weight: Tensor, gradients: list[Tensor], **group: object) -> Tensor:
    """The weight after a step of Muon for each gradient, at lr 0.1."""
    parameter = nn.Parameter(weight.clone())
    optimizer = Muon([{"params": [parameter], "matrices": True, "weight_decay": 0.0, **group}], 0.1, (0.9, 0.999))
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 5)])
def test_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    """Also where they differed by a thousand times: Jordan's coefficients end between 0.68 and 1.14."""
    torch.manual_seed(0)
    u, v = torch.linalg.qr(torch.randn(shape[0], min(shape)))[0], torch.linalg.qr(torch.randn(shape[1], min(shape)))[0]
    turned = orthogonal(u @ torch.diag(torch.logspace(0, -1.5, min(shape))) @ v.T)
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.68
    assert values.max() < 1.21
    torch.testing.assert_close(torch.linalg.svdvals(u.T @ turned @ v), values)
    between = u.T @ turned @ v  # the same singular vectors: nothing but a diagonal is left
    torch.testing.assert_close(between, torch.diag(between.diagonal()), atol=1e-4, rtol=0)


def test_a_step_by_hand() -> None:
    """A gradient that is orthogonal already: each singular value is the polynomial, five times, of 1 / sqrt(2)."""
    a, b, c = NEWTON_SCHULZ
    value = 1 / math.sqrt(2)  # of each, once the norm of both together is 1
    for _ in range(ITERATIONS):
        value = a * value + b * value**3 + c * value**5
    gradient = torch.tensor([[0.0, 3.0], [-3.0, 0.0]])
    after = stepped(torch.ones(2, 2), [gradient])
    expected = torch.ones(2, 2) - 0.1 * ADAM_STEP * math.sqrt(2) * value * gradient / 3
    torch.testing.assert_close(after, expected)


def test_matrices_move_as_torch_s_own_muon_moves_them() -> None:
    """Three steps with decay, tall and wide, torch in bfloat16: the same to its two or three digits."""
    torch.manual_seed(1)
    for shape in [(12, 20), (20, 12)]:
        start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(3)]
        ours = stepped(start, gradients, weight_decay=0.2)
        theirs = nn.Parameter(start.clone())
        peer = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, momentum=0.95, adjust_lr_fn="match_rms_adamw")
        for gradient in gradients:
            theirs.grad = gradient.clone()
            peer.step()
        moved = (ours - start).norm()
        assert (ours - theirs.detach()).norm() < 0.02 * moved


def test_a_convolution_is_its_outputs_by_all_it_reads() -> None:
    """(out, in, height, width) as (out, in x height x width), in any memory format."""
    torch.manual_seed(2)
    start, gradient = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    flat = stepped(start.reshape(4, 27), [gradient.reshape(4, 27)])
    plain = stepped(start, [gradient])
    last = stepped(start.to(memory_format=torch.channels_last), [gradient.to(memory_format=torch.channels_last)])
    torch.testing.assert_close(plain.reshape(4, 27), flat)
    torch.testing.assert_close(last, plain)


def test_filters_that_stand_alone_and_vectors_are_no_matrices() -> None:
    full, depthwise, scores = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 1)
    assert is_matrix(full.weight)
    assert not any(is_matrix(weight) for weight in (full.bias, depthwise.weight, scores.weight))


def test_all_else_takes_adamw_s_steps_to_the_last_bit() -> None:
    torch.manual_seed(3)
    start = torch.randn(5)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    matrix = nn.Parameter(torch.randn(3, 3))
    groups = [
        {"params": [matrix], "matrices": True, "weight_decay": 0.1},
        {"params": [ours], "matrices": False, "weight_decay": 0.1},
    ]
    optimizer = Muon(groups, 0.1, (0.9, 0.999))
    peer = AdamW([theirs], lr=0.1, betas=(0.9, 0.999), weight_decay=0.1, fused=True)
    for _ in range(3):
        matrix.grad, gradient = torch.randn(3, 3), torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        peer.step()
    assert torch.equal(ours, theirs)
    assert set(optimizer.state[matrix]) == {"step", "momentum"}


def test_a_state_that_was_kept_goes_on() -> None:
    """A resumed run failed: the state of a matrix had no count of steps, which AdamW asks every state for."""
    torch.manual_seed(4)

    def made() -> tuple[list[nn.Parameter], Muon]:
        parts = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))]
        groups = [{"params": [part], "matrices": part.ndim > 1, "weight_decay": 0.1} for part in parts]
        return parts, Muon(groups, 0.1, (0.9, 0.999))

    def step(parts: list[nn.Parameter], optimizer: Muon, gradients: list[Tensor]) -> None:
        for part, gradient in zip(parts, gradients, strict=True):
            part.grad = gradient.clone()
        optimizer.step()

    first, second = ([torch.randn(3, 4), torch.randn(4)] for _ in range(2))
    whole, optimizer = made()
    step(whole, optimizer, first)
    half, again = made()
    for part, other in zip(half, whole, strict=True):
        part.data = other.detach().clone()
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(whole, optimizer, second)
    step(half, again, second)
    for part, other in zip(half, whole, strict=True):
        assert torch.equal(part, other)


def test_what_has_no_gradient_stays() -> None:
    """Held parts keep their place among the groups."""
    held = nn.Parameter(torch.ones(2, 2))
    Muon([{"params": [held], "matrices": True, "weight_decay": 0.5}], 0.1, (0.9, 0.999)).step()
    assert torch.equal(held, torch.ones(2, 2))
