"""Named tensors as bytes: what went in comes out, whatever its layout in memory and whoever shares it."""

import torch
from safetensors.torch import save

from denselab.tensors import DTYPES, not_finite, pack_tensors, unpack_tensors


def test_views_layouts_and_empty_tensors_come_back_as_they_were() -> None:
    whole = torch.arange(12.0)
    tensors = {
        "whole": whole,
        "a part of it": whole[3:7],
        "turned": whole.reshape(3, 4).T,
        "a part of what is not stored": torch.arange(100.0)[10:20],
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "one number": torch.tensor(3),
        "bfloat16": torch.randn(3).bfloat16(),
        "nothing": torch.zeros(0),
        "no rows": torch.zeros(0, 3),
    }
    found = unpack_tensors(pack_tensors(tensors), "the bytes")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_the_bytes_are_those_of_safetensors() -> None:
    """Its own writer copies each tensor once more, which took as long as the disk."""
    numbers = torch.arange(6).reshape(2, 3)
    tensors = {f"b.{kind}": numbers.to(dtype) for dtype, kind in DTYPES.items()}
    tensors |= {f"a.{kind} é": tensor[:1].clone() for kind, tensor in tensors.items()}
    tensors |= {"one": torch.tensor(1.5), "none": torch.zeros(0, 3), "b.weight": torch.randn(2, 8, 3, 3)}
    assert pack_tensors(tensors) == save(tensors)
    assert pack_tensors({}) == save({})
    turned = torch.randn(2, 8, 3, 3).to(memory_format=torch.channels_last)
    assert pack_tensors({"turned": turned}) == save({"turned": turned.contiguous()})


def test_what_is_not_finite_is_found_and_a_sum_that_overflows_is_not() -> None:
    """A look at each number of a large network took seconds of each validation; sums are looked at first."""
    sound = {
        "whole": torch.tensor([2**62]),
        "none": torch.zeros(0),
        "large": torch.full((4,), 3e38),
        "half": torch.full((9,), 60_000.0, dtype=torch.float16),
        "opposed": torch.tensor([3e38, 3e38, -3e38, -3e38]),
    }
    assert not_finite(sound) is None
    for wrong in ([float("nan"), 1.0], [float("inf"), 1.0], [float("inf"), -float("inf")]):
        assert not_finite({**sound, "wrong": torch.tensor(wrong)}) == "wrong"
