"""A model on data as a library function: the numbers of the command, and its files where they are wanted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

import denselab as dl
from denselab.crf import PRESETS
from denselab.data import Dataset
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError
from denselab.measure.data import Selection
from denselab.measure.files import default_folder


def test_a_model_that_is_right_everywhere(engine: TorchEngine, flat: Dataset, tmp_path: Path) -> None:
    measured = dl.evaluate(dl.Predictor(engine), flat, quiet=True)
    assert measured.miou == measured.pixel_accuracy == 1.0
    assert measured.class_iou.tolist() == [1.0] * 4
    assert repr(measured) == "Measured(mIoU 1.0000, 4 pictures, 4 classes)"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"], "nothing is written unasked"


def test_the_files_are_written_where_asked(engine: TorchEngine, flat: Dataset, tmp_path: Path) -> None:
    measured = dl.evaluate(dl.Predictor(engine), flat, quiet=True, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "evaluation.csv",
        "evaluation.json",
        "pictures.csv",
        "worst",
    ]
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["exact"] == measured.evaluation.to_dict()
    assert "crf" not in document
    assert (document["data"], document["split"]) == (str(flat.root.resolve()), "val")


def test_with_a_crf_both_scores_and_its_parameters_are_told(
    engine: TorchEngine, flat: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = dl.evaluate(dl.Predictor(engine), flat, crf="deconvnet", quiet=True, out=tmp_path / "out")
    assert "dense CRF, preset deconvnet" in capsys.readouterr().err
    assert measured.paired is not None
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())["crf"]
    assert told["parameters"]["theta_alpha"] == PRESETS["deconvnet"].theta_alpha
    assert told["fast"] is False


def test_data_that_do_not_fit_are_refused(engine: TorchEngine, flat: Dataset) -> None:
    with pytest.raises(DataError, match="no picture in test; it has val"):
        dl.evaluate(dl.Predictor(engine), flat, "test")
    renamed = replace(flat.label_space.entries[1], name="purple")
    other = replace(flat, label_space=dl.LabelSpace((flat.label_space.entries[0], renamed)))
    with pytest.raises(DataError, match="label 10 'purple' does not fit the model"):
        dl.evaluate(dl.Predictor(engine), other)


def test_a_window_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match="`window` 8x8"):
        dl.evaluate("no/such/model", "no/such/data", window=(8, 8))


def selection(data: Path, split: str = "val", own: bool | None = True) -> Selection:
    nothing = Dataset(data, "test", "index", dl.LabelSpace((dl.LabelEntry(0, "ground", (0, 0, 0)),)), ())
    return Selection(nothing, [], split, str(data), own)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder, as far as names go."""
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    return tmp_path / "run"


def test_results_go_into_the_run_or_beside(run: Path) -> None:
    """Another stride and a CRF have folders of their own, so that results with and without them can be compared."""
    own, other = selection(Path("/some/data")), selection(Path("/other/street set"), "all", own=False)
    assert default_folder(str(run), own) == run / "eval-val"
    assert default_folder(str(run), own, output_stride=8, crf=True, crf_fast=True) == run / "eval-val-os8-crf-fast"
    assert default_folder(str(run), own, window=(64, 96), tta=True) == run / "eval-val-64x96-tta"
    assert default_folder(str(run), own, crf="deeplab_v1") == run / "eval-val-crf-deeplab_v1"
    assert default_folder(str(run), other) == run / "eval-street_set-all"
    assert default_folder(str(run / "model"), own) == Path("denselab-eval/model-data-val")


def test_two_evaluations_never_overwrite_each_other(run: Path) -> None:
    """Two test folders that are both called "test" went into one RUN/eval-test, the second over the first."""
    first, second = (selection(Path(f"/{place}/test"), "all", own=False) for place in ("roof", "yard"))
    for _ in range(2):  # the same again is replaced
        folder = default_folder(str(run), first)
        assert folder == run / "eval-test-all"
        folder.mkdir(exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps({"data": first.source, "model": str(run)}))
    assert default_folder(str(run), second) == run / "eval-test-all-2"


def test_the_worst_pictures_are_those_with_the_lowest_score(engine: TorchEngine, flat: Dataset, tmp_path: Path) -> None:
    """p2 shows red where its labels say green."""
    PILImage.fromarray(np.full((4, 6, 3), (255, 0, 0), np.uint8)).save(flat.items[2].image)
    measured = dl.evaluate(dl.Predictor(engine), flat, quiet=True, out=tmp_path / "out")
    assert measured.miou < 1
    assert sorted(p.name for p in (tmp_path / "out" / "worst").iterdir())[0] == "worst-1-p2.png"


def test_the_worst_pictures_of_an_earlier_evaluation_do_not_stay(
    engine: TorchEngine, flat: Dataset, tmp_path: Path
) -> None:
    """After a model was trained on, its worst pictures stood beside those of before: two of each rank, under one folder.

    What others put there stays.
    """
    shown = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    for first in (2, 0):
        before = flat.items[first].image.read_bytes()
        PILImage.fromarray(shown).save(flat.items[first].image)
        dl.evaluate(dl.Predictor(engine), flat, quiet=True, out=tmp_path / "out")
        names = sorted(path.name for path in (tmp_path / "out" / "worst").iterdir() if path.suffix == ".png")
        assert names[0] == f"worst-1-p{first}.png"
        assert len({name.split("-")[1] for name in names}) == len(names)
        flat.items[first].image.write_bytes(before)
        (tmp_path / "out" / "worst" / "notes.txt").touch()
    assert (tmp_path / "out" / "worst" / "notes.txt").exists()
