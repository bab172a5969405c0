"""Where ImageNet weights come from, without a network: a cache in the hub's own layout, a hub that does not answer."""

import socket
import time
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from denselab.encoders import pretrained
from denselab.encoders.pretrained import find_weights
from denselab.errors import ConfigError


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An offline machine with an empty hub cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def filled_cache(empty_cache: Path) -> Path:
    """The same with the weights of test_resnet, laid out as the hub client does."""
    repo = empty_cache / "models--timm--test_resnet.r160_in1k"
    snapshot = repo / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0123abcd")
    save_file(timm.create_model("test_resnet").state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_no_looks_nowhere() -> None:
    assert find_weights("no such network", "no") is None


@pytest.mark.parametrize("policy", ["auto", "yes"])
def test_the_cache_is_used(
    policy: pretrained.Pretrained, filled_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_weights("test_resnet", policy) == filled_cache
    assert capsys.readouterr().err == ""


def test_auto_goes_on_and_says_so_in_one_line(empty_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_weights("test_resnet", "auto") is None
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "test_resnet: no ImageNet weights (not in the cache, and HF_HUB_OFFLINE is set); training from scratch"
    ]


def test_yes_fails_with_the_remedy(empty_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"pretrained=yes, but .*'test_resnet'.*HF_HUB_OFFLINE.*pretrained=auto"):
        find_weights("test_resnet", "yes")


def test_a_network_without_published_weights(empty_cache: Path) -> None:
    with pytest.raises(ConfigError, match="timm names no weights"):
        find_weights(
            "resnet18d_no_such_tag" if timm.is_model("resnet18d_no_such_tag") else "vit_base_patch8_384", "yes"
        )


def test_a_hub_that_refuses_is_no_wait() -> None:
    started = time.monotonic()
    reason = pretrained._unreachable("http://localhost:9/file")  # the discard port: nobody listens
    assert reason
    assert time.monotonic() - started < 5


def test_a_hub_that_is_silent_is_given_up() -> None:
    """A server that takes the connection and never answers."""
    with socket.create_server(("localhost", 0)) as server:
        started = time.monotonic()
        reason = pretrained._unreachable(f"http://localhost:{server.getsockname()[1]}/file", seconds=0.5)
        assert reason
        assert time.monotonic() - started < 5
