"""dl.load("torchvision:..."): the file is fetched once, its hash compared, and nothing but tensors is read from it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import segmentation

import denselab
from denselab.engine.torchvision_weights import HASH, cached_file, load_torchvision, weights_url
from denselab.errors import CheckpointError, ConfigError
from denselab.inference.predictor import Predictor

NAME = "torchvision:lraspp_mobilenet_v3_large"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    torch.manual_seed(0)
    return segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21).eval()


@pytest.fixture(scope="module")
def published(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in torchvision's form: its state dict, named after the first digits of its sha256."""
    folder = tmp_path_factory.mktemp("server")
    torch.save(theirs.state_dict(), folder / "x")
    digits = hashlib.sha256((folder / "x").read_bytes()).hexdigest()[:8]
    return (folder / "x").rename(folder / f"lraspp_mobilenet_v3_large-{digits}.pth")


def test_fetched_checked_and_cached(home: Path, published: Path, theirs: torch.nn.Module) -> None:
    engine = load_torchvision(NAME, "cpu", url=published.as_uri())
    assert (home / published.name).read_bytes() == published.read_bytes()
    again = load_torchvision(NAME, "cpu", url=f"file:///nowhere/{published.name}")  # now from the cache
    image = np.random.default_rng(0).integers(0, 256, (520, 530, 3), dtype=np.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = theirs((torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - mean) / std)["out"]
    for found in (engine, again):
        torch.testing.assert_close(found.logits(image[None]), expected, atol=1e-5, rtol=1e-4)
    prediction = Predictor(engine)(np.zeros((30, 40, 3), np.uint8))
    assert prediction.labels.shape == (30, 40)
    assert engine.spec.label_space.names[1] == "aeroplane"
    assert engine.spec.preprocessing.working_size((100, 200)) == (520, 1040)


def test_addresses_are_torchvision_s_and_carry_a_hash() -> None:
    names = ["deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"]
    names += ["fcn_resnet50", "fcn_resnet101", "lraspp_mobilenet_v3_large"]
    assert [HASH.search(weights_url(name))[1] for name in names] == [  # torchvision_weights.md, section 1
        "cd0a2569", "586e9e4e", "fc3c493d", "1167a1af", "7ecb50ca", "d234d4ea",
    ]  # fmt: skip


def test_without_a_file_and_without_an_answer(home: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"net-0123abcd\.pth are not in .*checkpoints, and cannot be fetched"
    ) as caught:
        cached_file((tmp_path / "nowhere" / "net-0123abcd.pth").as_uri())
    assert caught.value.exit_code == 6
    assert not home.exists()


def test_a_file_of_another_hash_is_not_kept(home: Path, tmp_path: Path) -> None:
    (tmp_path / "net-0123abcd.pth").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="could not be fetched: invalid hash value"):
        cached_file((tmp_path / "net-0123abcd.pth").as_uri())
    assert list(home.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_named(home: Path) -> None:
    """Through the public door: the true name in the cache, other bytes in it."""
    home.mkdir(parents=True)
    (home / "lraspp_mobilenet_v3_large-d234d4ea.pth").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"d234d4ea\.pth is damaged: its sha256 begins with \w{8}, not d234d4ea"):
        denselab.load(NAME)


def test_weights_without_a_hash_are_not_loaded(home: Path) -> None:
    with pytest.raises(CheckpointError, match="no digits of a sha256"):
        cached_file("https://example.org/net.pth")


def test_unknown_names_and_output_strides() -> None:
    with pytest.raises(CheckpointError, match="'deeplabv3_resnet5'; did you mean deeplabv3_resnet50"):
        denselab.load("torchvision:deeplabv3_resnet5")
    with pytest.raises(ConfigError, match="no output_stride 16"):
        denselab.load(NAME, output_stride=16)
