"""The CRF's parameters in a model folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from denselab.crf import Parameters
from denselab.engine.segmenter import Architecture, Preprocessing, Segmenter, load_segmenter, save_segmenter, store_crf
from denselab.errors import CheckpointError
from denselab.labels import LabelEntry, LabelSpace

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")
TWO = LabelSpace((LabelEntry(0, "dark", (0, 0, 0)), LabelEntry(1, "light", (250, 250, 250))))


def test_parameters_are_stored_with_a_model(tmp_path: Path) -> None:
    architecture = Architecture("unet_small", 2)
    preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.2,) * 3)
    network = architecture.create().eval()
    device = next(network.parameters()).device
    save_segmenter(
        Segmenter(network, architecture, TWO, preprocessing, device, {}), tmp_path / "m", "a card of its own"
    )
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    assert json.loads(before["config.json"])["crf"] is None
    assert load_segmenter(tmp_path / "m", "cpu").crf is None
    store_crf(tmp_path / "m", FEW)
    assert load_segmenter(tmp_path / "m", "cpu").crf == FEW
    after = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"config.json", "manifest.json"}
    save_segmenter(load_segmenter(tmp_path / "m", "cpu"), tmp_path / "n")
    assert load_segmenter(tmp_path / "n", "cpu").crf == FEW
    config = json.loads(after["config.json"])
    config["crf"] = {"sxy": 3}
    save_segmenter(load_segmenter(tmp_path / "m", "cpu"), tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="damaged"):
        load_segmenter(tmp_path / "broken", "cpu")
    impossible = replace(FEW)
    object.__setattr__(impossible, "theta_alpha", 0)
    store_crf(tmp_path / "m", impossible)
    with pytest.raises(CheckpointError, match="theta_alpha is 0"):
        load_segmenter(tmp_path / "m", "cpu")
