"""A hub that does not answer costs seconds, not minutes."""

import socket
import time
from pathlib import Path

from denselab.encoders import hub


def test_a_hub_that_refuses_is_no_wait() -> None:
    started = time.monotonic()
    assert hub.unreachable("http://localhost:9/file")  # the discard port, where nobody listens
    assert time.monotonic() - started < 5


def test_a_hub_that_is_silent_is_given_up() -> None:
    """A server that accepts the connection and never answers."""
    with socket.create_server(("localhost", 0)) as server:
        started = time.monotonic()
        assert hub.unreachable(f"http://localhost:{server.getsockname()[1]}/file", seconds=0.5)
        assert time.monotonic() - started < 5


def test_offline_asks_nobody(no_hub: Path) -> None:
    assert hub.download("timm/no-such-network", "model.safetensors") == "HF_HUB_OFFLINE is set"
    assert hub.cached_file("timm/no-such-network", "model.safetensors") is None
