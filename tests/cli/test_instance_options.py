"""The flags of instance-wise inference, from the command line to the result."""

import json
from pathlib import Path

import pytest
from PIL import Image as PILImage

from denselab.cli.evaluate import evaluate
from denselab.cli.instance_options import folder_suffix
from denselab.cli.predict import predict
from denselab.errors import ConfigError
from denselab.inference.instances import PRESETS, instances_for


def photo(folder: Path) -> Path:
    PILImage.effect_noise((60, 40), 90).convert("RGB").save(folder / "photo.png")
    return folder / "photo.png"


def test_predict_says_how_the_boxes_are_run(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, out = [str(photo(tmp_path))], tmp_path / "out"
    predict(str(models[0]), inputs, out, proposals="windows", aggregate="max", boxes=7, device="cpu")
    assert "at most 7 boxes from windows, and the whole picture; max of probs" in capsys.readouterr().err
    with PILImage.open(out / "labels" / "photo.png") as labels:
        assert labels.size == (60, 40)


def test_a_window_beside_boxes_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`proposals` together with `window`"):
        predict(str(models[0]), [str(photo(tmp_path))], tmp_path / "out", proposals="windows", window="32x32")


def test_eval_writes_the_boxes_beside_the_scores(models: tuple[Path, Path], scenes: Path, tmp_path: Path) -> None:
    evaluate(str(models[0]), str(scenes), proposals="windows", boxes=3, as_json=True, out=tmp_path, device="cpu")
    stored = json.loads((tmp_path / "evaluation.json").read_bytes())["instances"]
    assert (stored["proposals"], stored["boxes"], stored["aggregate"], stored["whole"]) == ("windows", 3, "mean", True)


def test_folders_of_results_tell_the_ways_apart() -> None:
    assert folder_suffix(None, None) == ""
    assert folder_suffix(PRESETS["release"], "release") == "-release-edgeboxes-max50"
    assert folder_suffix(instances_for(proposals="windows"), None) == "-boxes-windows-mean50"
