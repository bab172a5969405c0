"""`denselab pseudo-label` as a function: the new data set opens, and what it says is so."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.cli.pseudo_label import pseudo_label
from denselab.data import open_dataset
from denselab.errors import SkippedInputs


def test_the_new_set_has_the_old_pictures_and_the_new_ones(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "x.png")
    (tmp_path / "in" / "y.png").write_bytes(b"")
    out = tmp_path / "out"
    with pytest.raises(SkippedInputs, match="1 input skipped: .*y.png"):
        pseudo_label(str(models[0]), str(scenes), [str(tmp_path / "in")], out, 0.05, device="cpu", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["labelled"] == {"train": 2, "val": 4}
    assert told["added"] == [str(tmp_path / "in" / "x.png")]
    data = open_dataset(out)
    assert (len(data.of_split("train")), len(data.of_split("val"))) == (3, 4)
    assert data.label_space.names == open_dataset(scenes).label_space.names
