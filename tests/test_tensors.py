"""Tensors as bytes, and files of torch.save read without running anything in them."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from denselab.errors import CheckpointError
from denselab.tensors import pack_tensors, read_torch_file, unpack_tensors


def test_tensors_keep_values_dtypes_and_shared_memory() -> None:
    base = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": base, "view": base[0], "half": base.half(), "count": torch.tensor(7), "turned": base.t()}
    read = unpack_tensors(pack_tensors(tensors), "x")
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_garbage_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"w\.safetensors"):
        unpack_tensors(b"\x80\x04pickle", "w.safetensors")


class Evil:
    """A call as soon as it is read: a folder named `executed` in the present one."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("executed",))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_hostile_pickle_is_refused_without_torch_s_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    """Torch answered protocols 4 and 5 with "re-running with weights_only=False will likely succeed", and we quoted it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"evil\.pth is .*pickle.*nothing of it was run") as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert "weights_only" not in message
    assert "torch.save(model.state_dict(), ...)" in message
    assert "safetensors" in message
    assert not (tmp_path / "executed").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "executed").exists(), "else the pickle proves nothing"


def test_a_file_of_another_kind_is_no_pickle_for_sure(tmp_path: Path) -> None:
    (tmp_path / "x.caffemodel").write_bytes(b"\n\x03net\xa2\x06\x10 of Caffe")
    with pytest.raises(CheckpointError, match=r"x\.caffemodel .*no file of torch\.save.*the right `source`") as caught:
        read_torch_file(tmp_path / "x.caffemodel")
    assert "weights_only" not in str(caught.value)
