"""Folders are whole or not there: interrupted, damaged and full-disk writes."""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from denselab import checkpoint
from denselab.checkpoint import (
    MANIFEST,
    link_folder,
    pack_tensors,
    read_folder,
    read_newest_folder,
    read_torch_file,
    unpack_json,
    unpack_tensors,
    write_file,
    write_folder,
)
from denselab.errors import CheckpointError, ResourceError


def test_folder_round_trip_replaces_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"a.bin": b"one", "old.bin": b"x"})
    write_folder(folder, {"a.bin": b"two"})
    assert read_folder(folder) == {"a.bin": b"two"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"], "nothing is left beside it"


@pytest.mark.parametrize("links", [True, False])
def test_a_linked_folder_is_whole_and_outlives_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """The first is written anew, as model/ is when it scores better: the second keeps what it was linked with."""

    def no_links(*arguments: object) -> None:
        raise OSError(errno.EPERM, "not on this disk")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    first, second = tmp_path / "model", tmp_path / "model-best-loss"
    write_folder(first, {"a": b"one"})
    write_folder(second, {"a": b"before"})
    link_folder(first, second)
    assert ((first / "a").stat().st_ino == (second / "a").stat().st_ino) is links
    write_folder(first, {"a": b"two"})
    assert (read_folder(first), read_folder(second)) == ({"a": b"two"}, {"a": b"one"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model-best-loss"]


def test_previous_is_kept_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    for content in (b"one", b"two", b"three"):
        write_folder(folder, {"a": content}, keep_previous=True)
    assert read_folder(folder) == {"a": b"three"}
    assert read_folder(tmp_path / "last.previous") == {"a": b"two"}


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "no manifest", "manifest garbage"])
def test_damage_is_recognised_and_the_older_folder_taken(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "last"
    write_folder(folder, {"a": b"older"}, keep_previous=True)
    write_folder(folder, {"a": b"newer"}, keep_previous=True)
    target = folder / "a"
    if damage == "flipped":
        target.write_bytes(b"nEwer")
    elif damage == "truncated":
        target.write_bytes(b"new")
    elif damage == "missing":
        target.unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text("[1, 2")
    with pytest.raises(CheckpointError, match="last"):
        read_folder(folder)
    files, why = read_newest_folder(folder)
    assert files == {"a": b"older"}
    assert why is not None


def test_what_others_put_into_the_folder_stays(tmp_path: Path) -> None:
    """A user's notes in model/ were removed with the older model by the next validation."""
    folder = tmp_path / "model"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "a.txt").write_text("1")
    for keep in (False, True, True):
        write_folder(folder, {"a": b"new"}, keep_previous=keep)
        (folder / "notes.txt").write_text("2")
    write_folder(folder, {"b": b"newer"})
    assert sorted(path.name for path in folder.iterdir()) == ["b", MANIFEST, "mine", "notes.txt"]
    assert (folder / "mine" / "a.txt").read_text() == "1"


def test_killed_between_the_two_renames(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    write_folder(folder, {"a": b"older"}, keep_previous=True)
    os.replace(folder, tmp_path / "last.previous")
    assert read_newest_folder(folder)[0] == {"a": b"older"}


def test_both_damaged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a complete folder"):
        read_newest_folder(tmp_path / "last")


def test_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"a": b"good"})

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write_synced", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_folder(folder, {"a": b"new"})
    with pytest.raises(ResourceError, match="disk is full"):
        write_file(tmp_path / "file", b"new")
    assert read_folder(folder) == {"a": b"good"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_full_disk_for_real() -> None:
    """/dev/full accepts no byte: the error is the operating system's own."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint._write_synced(Path("/dev/full"), b"x" * 10)
    assert "disk is full" in checkpoint.describe_os_error(caught.value, Path("x"))


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="--out"):
        write_folder(tmp_path / "file" / "model", {"a": b"x"})


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
    with pytest.raises(CheckpointError, match=r"c\.json is not JSON"):
        unpack_json(b"{", "c.json")
    with pytest.raises(CheckpointError, match="list"):
        unpack_json(json.dumps([1]).encode(), "c.json")


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
    with pytest.raises(CheckpointError, match=r"x\.caffemodel .*no file of torch\.save.*the right --from") as caught:
        read_torch_file(tmp_path / "x.caffemodel")
    assert "weights_only" not in str(caught.value)
