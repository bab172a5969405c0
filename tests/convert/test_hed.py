"""HED's VGG-16 in Keras's HDF5 form: every kernel at its place, BGR turned round, and no other file behind it."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from denselab.convert.conversion import convert_file
from denselab.convert.names_hed import map_hed
from denselab.encoders.hed import read_hed
from denselab.engine.spec import Architecture
from denselab.errors import CheckpointError, ConfigError

VGG_NETWORKS = (
    *("fcn32s", "fcn8s", "deconvnet", "deconvnet_1024", "segnet", "deeplab_largefov", "deeplabv2_vgg"),
    *("zoomout16", "zoomout_pixelwise", "hypercolumn", "hypercolumn_dense", "msra_cfm"),
)


def test_a_converted_trunk_answers_as_keras_does(hed_file: Path, tmp_path: Path) -> None:
    """The first convolution of a BGR picture by hand, from the file's (k, k, in, out); the last kernel by its place."""
    done = convert_file(hed_file, "hed", "fcn32s", tmp_path / "model", classes=4)
    network = done.engine.network
    rng = np.random.default_rng(1)
    rgb = rng.normal(size=(3, 3, 3)).astype(np.float32)  # one place of the picture, (row, column, colour)
    with h5py.File(hed_file) as file:
        first, bias = file["block1/layers/conv2d/vars/0"][()], file["block1/layers/conv2d/vars/1"][()]
        last = file["block5/layers/conv2d_2/vars/0"][()]
    by_hand = np.einsum("ijc,ijco->o", rgb[..., ::-1].astype(np.float64), first.astype(np.float64)) + bias
    convolutions = {name.rpartition(".")[2]: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    weight, shift = convolutions["conv1_1"].weight.detach(), convolutions["conv1_1"].bias
    found = (weight.double() * torch.from_numpy(rgb).permute(2, 0, 1).double()).sum((1, 2, 3)) + shift.detach().double()
    np.testing.assert_allclose(found.numpy(), by_hand, atol=1e-6)
    np.testing.assert_array_equal(convolutions["conv5_3"].weight.detach().numpy(), last.transpose(3, 2, 0, 1))
    assert len(done.mapped) == 26
    assert done.untouched
    assert all(not name.rpartition(".")[0].rpartition(".")[2].startswith("conv") for name in done.untouched)
    mean = done.engine.spec.preprocessing.mean
    np.testing.assert_allclose(np.array(mean) * 255, (122.679, 116.669, 104.007), atol=1e-3)  # RGB
    assert "left out of the file: dsn1/vars/0" in "\n".join(done.summary())


@pytest.mark.slow
def test_a_network_that_looks_at_colours_is_told_of_the_pictures_it_gets(hed_file: Path, tmp_path: Path) -> None:
    """Superpixels were sought in pictures taken back by ImageNet's deviation instead of Caffe's: nearly all white."""
    done = convert_file(hed_file, "hed", "zoomout16", tmp_path / "model", classes=4)
    grey = torch.full((1, 3, 8, 8), 0.25)
    shutil.rmtree(tmp_path / "model")  # 590 MB
    own = done.engine.spec.preprocessing
    mean, std = (torch.tensor(values)[:, None, None] for values in (own.mean, own.std))
    pictures = done.engine.network.pictures((grey - mean) / std)
    assert np.unique(pictures).tolist() == [64]


@pytest.mark.parametrize("name", VGG_NETWORKS)
def test_every_network_on_vgg_16_takes_it(hed_file: Path, name: str) -> None:
    with torch.device("meta"):
        skeleton = Architecture(name, 3).create()
    own = skeleton.state_dict()
    mapped = map_hed(read_hed(hed_file), skeleton).mapped
    assert len(mapped) == 26
    assert all(entry.tensor.shape == own[entry.target].shape for entry in mapped)


def test_another_trunk_is_refused(hed_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="HED's weights are a VGG-16; choose a `model` with that trunk"):
        convert_file(hed_file, "hed", "deeplabv3plus", tmp_path / "model", classes=4)
    with pytest.raises(CheckpointError, match="give `classes` N"):
        convert_file(hed_file, "hed", "fcn32s", tmp_path / "model")


@pytest.mark.parametrize("fault", ["text", "cut", "lacking", "shape", "type", "link", "external", "soft"])
def test_other_files_and_files_that_lead_elsewhere_are_refused(hed_file: Path, tmp_path: Path, fault: str) -> None:
    path, secret = tmp_path / "bad.h5", tmp_path / "secret.h5"
    content, place = hed_file.read_bytes(), "block1/layers/conv2d/vars/0"
    path.write_bytes({"text": b"no HDF5", "cut": content[: len(content) // 2]}.get(fault, content))
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros((3, 3, 3, 64), np.float32)
    if fault not in ("text", "cut"):
        with h5py.File(path, "r+") as file:
            del file[place]
            if fault == "shape":
                file[place] = np.zeros((3, 3, 64, 3), np.float32)
            elif fault == "type":
                file[place] = np.zeros((3, 3, 3, 64), np.float64)
            elif fault == "link":
                file[place] = h5py.ExternalLink(str(secret), "x")
            elif fault == "soft":
                file[place] = h5py.SoftLink("/block1/layers/conv2d_1/vars/0")
            elif fault == "external":
                raw = [(str(tmp_path / "raw"), 0, 3 * 3 * 3 * 64 * 4)]
                (tmp_path / "raw").write_bytes(bytes(3 * 3 * 3 * 64 * 4))
                file.create_dataset(place, (3, 3, 3, 64), np.float32, external=raw)
    with pytest.raises(CheckpointError, match=r"bad\.h5 is not HED's file of weights, or damaged: "):
        read_hed(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.h5"):
        read_hed(tmp_path / "none.h5")
