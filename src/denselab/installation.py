"""What is installed: versions, optional parts, and the line that mends an installation that lacks something."""

import json
import platform
import re
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

CORE_PACKAGES = (
    *("denselab", "torch", "torchvision", "timm", "numpy", "scipy", "pillow", "tifffile", "safetensors"),
    *("huggingface-hub", "accelerate", "pydantic", "numba", "matplotlib"),
)
FOR_DEVELOPERS = ("dev", "docs")  # extras
SOURCE = Path(__file__).parents[2]  # of a checkout


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
            found.setdefault(extra[1], []).extend([] if _is_installed(package) else [package])
    return found


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def mending_line(error: ImportError) -> str:
    """The line for the shell that mends an installation in which an import failed. No index has to know DenseLab."""
    module = (error.name or "").partition(".")[0]
    if module in ("", "denselab"):
        return f"pip install --force-reinstall --no-deps {_whence()}"
    if packages := metadata.packages_distributions().get(module):  # it is there, but not whole
        return f"pip install --force-reinstall --no-deps {packages[0]}"
    # what it needs and lacks; pip does not look for DenseLab itself, which is there
    return "pip install denselab" if _is_installed("denselab") else f"pip install {_whence()}"


def _whence() -> str:
    """What pip has to be given to install DenseLab as it was: a file, a folder, or a URL."""
    try:
        record = json.loads(metadata.distribution("denselab").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        record = {}
    url = str(record.get("url", ""))
    if not url:
        return shlex.quote(str(SOURCE)) if (SOURCE / "pyproject.toml").is_file() else "denselab"
    if not url.startswith("file:"):
        kind = record.get("vcs_info", {}).get("vcs")
        return shlex.quote(f"{kind}+{url}" if kind else url)
    editable = "-e " if record.get("dir_info", {}).get("editable") else ""
    return editable + shlex.quote(url2pathname(urlparse(url).path))
