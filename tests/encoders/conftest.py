"""A machine without the hub."""

from pathlib import Path

import pytest

from denselab.encoders import pretrained


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network; the hub has not yet been asked in this process."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(pretrained, "_hub_failed", [])
    return tmp_path
