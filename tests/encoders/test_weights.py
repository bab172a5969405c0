"""Weight files: what is read, and what is refused without running it."""

import hashlib
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from denselab.encoders.weights import read_weights
from denselab.errors import CheckpointError

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.num_batches_tracked": torch.tensor(3)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_tensors_and_origin(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    found = read_weights(path)
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in found.tensors.items())
    assert found.origin.source == str(found) == f"file {path}"
    assert found.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "tensors=" not in repr(found)  # a record of 20 MB is not printed
    assert read_weights(path, "hub a/b").origin.source == "hub a/b"


class Opener:
    """A pickle that creates a file as soon as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_a_pickle_does_not_run(tmp_path: Path) -> None:
    torch.save({"conv.weight": Opener(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth is an unsafe pickle.*nothing of it was run"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"state_dict": STATE}, {}, {"epoch": 3}, [STATE], torch.zeros(2)])
def test_what_is_no_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth holds .*; a bare state dict"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_and_missing_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=name):
        read_weights(tmp_path / name)
    (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match=name):
        read_weights(tmp_path / name)


def test_a_file_that_torch_maps_is_not_read_into_memory_too(tmp_path: Path) -> None:
    """For its sha256 all of it was: 528 MB beside the weights of a VGG-16."""
    torch.save({"w": torch.zeros(2 * 2**20)}, tmp_path / "w.pth")
    tracemalloc.start()
    found = read_weights(tmp_path / "w.pth")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tensors["w"].numel() == 2 * 2**20
    assert peak < 2**21
