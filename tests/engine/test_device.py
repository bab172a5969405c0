"""The device of a name, and memory that runs out."""

import pytest
import torch

from denselab.engine.device import resolve_device
from denselab.engine.out_of_memory import memory_errors
from denselab.errors import ConfigError, OutOfMemory, ResourceError


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="'gpu5'"):
        resolve_device("gpu5")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="0 CUDA devices"):
            resolve_device("cuda")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("no room"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")],
    ids=["cuda", "cpu"],
)
def test_every_way_of_running_out_of_memory_is_one(error: Exception) -> None:
    with pytest.raises(MemoryError, match=r"no room|can't allocate"), memory_errors():
        raise error


def test_what_the_allocator_of_the_cpu_says_is_known() -> None:
    with pytest.raises(MemoryError), memory_errors():
        torch.empty(2**58, dtype=torch.float32)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors():
        raise RuntimeError("shapes do not match")


def test_our_own_errors_keep_their_words() -> None:
    """A picture that was refused in words, inside a run, came out as a bare MemoryError."""
    with pytest.raises(ResourceError, match="cut it into tiles"), memory_errors():
        raise OutOfMemory("the picture does not fit; cut it into tiles")


@pytest.mark.parametrize("told", ["std::bad_alloc", "Failed to allocate memory for requested buffer of size 4"])
def test_other_runtimes_errors_are_known(told: str) -> None:
    with pytest.raises(MemoryError), memory_errors():
        raise Exception(told)
