"""Safetensors files from the Hugging Face hub: its local cache first, then its own client, with a limit on the wait."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

ANSWER_SECONDS = 6.0  # no answer within this time counts as no network (the hub client would retry for minutes)


def cached_file(repo: str, filename: str) -> Path | None:
    """The file in the hub's cache (HF_HUB_CACHE), or None if it is not there. Uses no network."""
    from huggingface_hub import try_to_load_from_cache  # here: networks are built without the hub's client

    cached = try_to_load_from_cache(repo, filename, cache_dir=_cache())
    return Path(cached) if isinstance(cached, str) else None


def download(repo: str, filename: str) -> Path | str:
    """The file, fetched into the hub's cache, or the reason why it is not available."""
    from huggingface_hub import hf_hub_download, hf_hub_url

    if is_offline():
        return "HF_HUB_OFFLINE is set"
    if (reason := unreachable(hf_hub_url(repo, filename))) is not None:
        return f"the hub does not give them: {reason}"
    try:
        return Path(hf_hub_download(repo, filename, cache_dir=_cache()))
    except Exception as error:  # the client's errors have no common base: HTTP, OS, its own
        return f"the download failed: {_first_line(error)}"


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids network access."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def unreachable(url: str, seconds: float = ANSWER_SECONDS) -> str | None:
    """Why the hub's `url` does not answer within `seconds`, or None if it does."""
    from huggingface_hub import get_hf_file_metadata

    return no_answer(lambda: get_hf_file_metadata(url, timeout=seconds), seconds)


def no_answer(ask: Callable[[], object], seconds: float) -> str | None:
    """Why `ask` fails or does not return within `seconds`, or None if it returns.

    Runs in its own thread, because a name server that does not answer blocks longer than any timeout of an HTTP client.
    """
    outcome: list[str | None] = [f"no answer within {seconds:.0f} s"]

    def attempt() -> None:
        try:
            ask()
            outcome.append(None)
        except Exception as error:  # each client has errors of its own
            outcome.append(_first_line(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[-1]


def _cache() -> str | None:
    return os.environ.get("HF_HUB_CACHE") or None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
