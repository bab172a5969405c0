"""What is installed: versions and optional parts."""

import platform
import re
from importlib import metadata

CORE_PACKAGES = (
    *("denselab", "torch", "torchvision", "timm", "numpy", "scipy", "pillow", "tifffile", "safetensors"),
    *("huggingface-hub", "accelerate", "pydantic", "numba", "matplotlib"),
)
FOR_DEVELOPERS = ("dev", "docs")  # extras


def versions() -> dict[str, str]:
    """Versions of Python, the platform and every core package; "missing" for a package that is not installed."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in CORE_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def extras() -> dict[str, list[str]]:
    """{optional part: its packages that are not installed}, without those for developers; {} for bare source."""
    try:
        wanted = metadata.requires("denselab") or []
    except metadata.PackageNotFoundError:  # run from the source alone
        return {}
    found: dict[str, list[str]] = {}
    for line in wanted:
        name, _, condition = line.partition(";")
        extra = re.search(r"""extra == ["']([\w-]+)["']""", condition)
        if extra and extra[1] not in FOR_DEVELOPERS:
            package = re.split(r"[^\w.-]", name.strip())[0]
            found.setdefault(extra[1], []).extend([] if is_installed(package) else [package])
    return found


def is_installed(package: str) -> bool:
    """Whether pip has installed a package of this name."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
