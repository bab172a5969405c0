"""Where ImageNet weights come from: the local hub cache, else the hub, as safetensors only; no pickle is ever loaded."""

import logging
import os
import threading
from pathlib import Path
from typing import Literal

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

from denselab.errors import ConfigError

logger = logging.getLogger(__name__)

Pretrained = Literal["auto", "yes", "no"]

HUB_ANSWER_SECONDS = 6.0  # no answer by then: as good as no network (the hub client itself would retry for minutes)


def find_weights(architecture: str, pretrained: Pretrained) -> Path | None:
    """The safetensors file with timm's default ImageNet weights of `architecture`; None: train from scratch.

    pretrained: "no" looks nowhere; "yes" raises ConfigError when they cannot be had; "auto" says so in one line and
    goes on. The cache is HF_HUB_CACHE; with HF_HUB_OFFLINE=1 nothing is downloaded.
    """
    if pretrained == "no":
        return None
    found = _cached_or_downloaded(architecture)
    if isinstance(found, Path):
        return found
    if pretrained == "yes":
        raise ConfigError(
            f"pretrained=yes, but the ImageNet weights of {architecture!r} cannot be had: {found}. "
            "Use pretrained=auto to go on without them, or fill the hub cache on a machine with a network"
        )
    logger.info(f"{architecture}: no ImageNet weights ({found}); training from scratch")
    return None


def _cached_or_downloaded(architecture: str) -> Path | str:
    """The local file, or the reason why there is none."""
    settings = timm.get_pretrained_cfg(architecture)
    if settings is None or not settings.hf_hub_id:
        return "timm names no weights on the hub for it"
    repo = settings.hf_hub_id
    filename = settings.hf_hub_filename or "model.safetensors"
    if not filename.endswith(".safetensors"):
        return f"they exist as {filename} only, and pickles are not loaded"
    cache_dir = os.environ.get("HF_HUB_CACHE") or None
    cached = try_to_load_from_cache(repo, filename, cache_dir=cache_dir)
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "not in the cache, and HF_HUB_OFFLINE is set"
    if (reason := _unreachable(hf_hub_url(repo, filename))) is not None:
        return f"not in the cache, and the hub does not give them: {reason}"
    try:
        return Path(hf_hub_download(repo, filename, cache_dir=cache_dir))
    except Exception as error:  # the client's errors have no common base: HTTP, OS, its own
        return f"the download failed: {_first_line(error)}"


def _unreachable(url: str, seconds: float = HUB_ANSWER_SECONDS) -> str | None:
    """Why `url` does not answer within `seconds`, or None if it does.

    In a thread of its own: a name server that is silent blocks longer than any timeout of the HTTP client.
    """
    outcome: list[str | None] = [f"no answer within {seconds:.0f} s"]

    def ask() -> None:
        try:
            get_hf_file_metadata(url, timeout=seconds)
            outcome.append(None)
        except Exception as error:
            outcome.append(_first_line(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[-1]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
