"""The line for the shell that mends an installation in which something is missing."""

import json
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from denselab.installation import is_installed

SOURCE = Path(__file__).parents[3]  # of a checkout


def mending_line(error: ImportError) -> str:
    """The line for the shell that mends an installation in which an import failed. No index has to know DenseLab."""
    module = (error.name or "").partition(".")[0]
    if module in ("", "denselab"):
        return f"pip install --force-reinstall --no-deps {_whence()}"
    if packages := metadata.packages_distributions().get(module):  # it is there, but not whole
        return f"pip install --force-reinstall --no-deps {packages[0]}"
    # what it needs and lacks; pip does not look for DenseLab itself, which is there
    return "pip install denselab" if is_installed("denselab") else f"pip install {_whence()}"


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
