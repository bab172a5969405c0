"""Folders of files that are either whole or not there: model folders and the state of a run.

A folder is written beside its place, synced, sealed with a manifest (size and sha256 of every file) and then renamed; a kill
at any moment leaves the old folder, the new one, or the old one under the name `<folder>.previous`. Weights are safetensors,
the rest is JSON and Markdown; nothing here can run code when it is read.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from denselab.errors import CheckpointError, ResourceError

MANIFEST = "manifest.json"
PREVIOUS = ".previous"


def write_folder(folder: Path, files: Mapping[str, bytes], keep_previous: bool = False) -> None:
    """Put `files` (name -> content) and their manifest into `folder`, in the place of its files, all or nothing.

    keep_previous: leave the folder that was there as `<folder>.previous`. What others put there stays. Raises ResourceError
    (disk full, not writable); what was there before then still is.
    """
    fresh = folder.with_name(f"{folder.name}.writing-{os.getpid()}")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, content in files.items():
            _write_synced(fresh / name, content)
        manifest = {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
        _write_synced(fresh / MANIFEST, json.dumps(manifest, indent=1).encode())
        _swap(folder, fresh, keep_previous)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ResourceError(describe_os_error(error, folder)) from error


def link_folder(source: Path, folder: Path) -> None:
    """Put the files of `source`, a folder of `write_folder`, into `folder` too; all or nothing, as `write_folder` does.

    They are hard links, which take no room of their own, or copies where the disk has no links. Raises ResourceError.
    """
    fresh = folder.with_name(f"{folder.name}.writing-{os.getpid()}")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in (*json.loads((source / MANIFEST).read_bytes()), MANIFEST):
            try:
                os.link(source / name, fresh / name)
            except OSError:  # FAT, some network disks
                shutil.copyfile(source / name, fresh / name)
        _swap(folder, fresh, keep_previous=False)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ResourceError(describe_os_error(error, folder)) from error


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder written by `write_folder`, each compared with the manifest.

    Raises CheckpointError that names the first file that is missing or differs.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = {name: (folder / name).read_bytes() for name in manifest}
        for name, entry in manifest.items():
            if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
                raise CheckpointError(
                    f"{folder / name} is damaged: its sha256 is not the one in {MANIFEST}; use another copy"
                )
    except OSError as error:
        raise CheckpointError(
            f"{folder} is not a complete folder of DenseLab: {error.filename}: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{folder / MANIFEST} is not a manifest; the folder is damaged or not one of DenseLab"
        ) from None
    return files


def read_newest_folder(folder: Path) -> tuple[dict[str, bytes], str | None]:
    """The files of `folder`, or of `<folder>.previous` where it is damaged or missing.

    Returns the files, and why the older folder was taken (None where it was not). Raises CheckpointError where both fail.
    """
    try:
        return read_folder(folder), None
    except CheckpointError as damage:
        previous = folder.with_name(folder.name + PREVIOUS)
        if not previous.is_dir():
            raise
        return read_folder(previous), str(damage)


def write_file(path: Path, content: bytes) -> None:
    """Replace one file, all or nothing. Raises ResourceError."""
    fresh = path.with_name(f"{path.name}.writing-{os.getpid()}")
    try:
        _write_synced(fresh, content)
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ResourceError(describe_os_error(error, path)) from error


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as one safetensors document; tensors that share memory are stored each on its own."""
    return bytes(save_tensors({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}))


def unpack_tensors(content: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of `pack_tensors`, on the CPU. Raises CheckpointError that names the source."""
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{source} is not a safetensors file: {error}") from None


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote to a .pth or .pt file, on the CPU, by torch's restricted reader: tensors and plain containers.

    A pickle that calls for anything else is refused before any of it runs. Raises CheckpointError that names the file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist, or is no file; check the path")
    try:
        with warnings.catch_warnings():  # torch asks for bug reports about newer pickle protocols; ours is said below
            warnings.simplefilter("ignore", UserWarning)
            # a zip is mapped, so that only what is used is read; the format before torch 1.6 cannot be
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, KeyError, ...: whatever the bytes provoke
        raise CheckpointError(_why_not_torch(path, str(error).strip() or type(error).__name__)) from None


def _why_not_torch(path: Path, reason: str) -> str:
    """One line for what torch said. Its advice to set weights_only=False, which would run the file, is never passed on."""
    if wanted := re.search(r"GLOBAL ([\w.]+)", reason):
        return (
            f"{path} is an unsafe pickle: it calls for {wanted[1]}, and nothing of it was run. Save the weights alone "
            "where you trust the file: torch.save(model.state_dict(), ...) or safetensors"
        )
    if "weights_only" in reason or reason.startswith("Weights only"):
        return (
            f"{path} is a pickle that the restricted reader does not take, or no file of torch.save at all; nothing of it was "
            "run. Save the weights alone, torch.save(model.state_dict(), ...), in the environment that made the file, or use "
            "safetensors; for a file of another kind, give the right --from"
        )
    return f"{path} is not a file of torch.save, or is damaged: {reason.splitlines()[0][:200]}; fetch it anew"


def unpack_json(content: bytes, source: str) -> dict[str, Any]:
    """The object in a JSON document. Raises CheckpointError that names the source."""
    try:
        loaded = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{source} is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{source} holds {type(loaded).__name__}; an object was expected")
    return loaded


def describe_os_error(error: OSError, path: Path) -> str:
    """One line for a place that cannot be written, with the remedy."""
    if error.errno == errno.ENOSPC:
        return f"the disk is full: {path} was not written, what was there before is untouched; free some space and use --resume"
    return f"cannot write {path}: {error.strerror or error}; choose another folder with --out"


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(folder: Path, fresh: Path, keep_previous: bool) -> None:
    previous = folder.with_name(folder.name + PREVIOUS)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(folder, previous)
    os.replace(fresh, folder)
    _carry_over(previous, folder)
    if not keep_previous:
        shutil.rmtree(previous, ignore_errors=True)


def _carry_over(old: Path, new: Path) -> None:
    """Move what somebody else put into the old folder into the new one: only files of ours are ever replaced."""
    if not old.is_dir():
        return
    try:
        ours = {MANIFEST, *json.loads((old / MANIFEST).read_bytes())}
    except (OSError, ValueError, TypeError):  # damaged: then what has a name of ours is ours
        ours = {MANIFEST}
    for entry in old.iterdir():
        if entry.name not in ours and not (new / entry.name).exists():
            os.replace(entry, new / entry.name)
