"""A comparison that goes on: what was measured holds for the models and pictures it was made from, and for no others."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.comparison.compare import compare, resumed_plan
from denselab.comparison.measuring import read_counted
from denselab.comparison.plan import Candidate, Plan, write_plan
from denselab.comparison.result import Comparison
from denselab.data import open_dataset
from denselab.errors import ResourceError
from denselab.lock import only_writer


@pytest.fixture
def runs(models: tuple[Path, Path], tmp_path: Path) -> list[Path]:
    """Two models that a test may replace."""
    return [Path(shutil.copytree(folder, tmp_path / name)) for folder, name in zip(models, ("one", "two"), strict=True)]


def compared(data: Path, out: Path, runs: list[Path], resume: bool = False) -> Comparison:
    return compare(data, out=out, models=[], with_=runs, ways=("plain",), device="cpu", resume=resume)


def counts_of(comparison: Comparison, name: str) -> np.ndarray:
    return next(row for row in comparison.rows if row.name == name).entrant.evaluations[0].counts


def test_another_model_of_the_same_name_is_measured_anew(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """Its place was named after position and folder alone: the scores of the model before stood under the new one."""
    before = compared(scenes, tmp_path / "out", runs)
    assert not np.array_equal(counts_of(before, "one"), counts_of(before, "two"))
    namesake = Path(shutil.copytree(runs[1], tmp_path / "elsewhere" / "one"))
    after = compared(scenes, tmp_path / "out", [namesake, runs[1]], resume=True)
    assert np.array_equal(counts_of(after, "one"), counts_of(before, "two"))


def test_a_model_that_was_trained_on_is_measured_anew_and_it_alone(
    scenes: Path, runs: list[Path], tmp_path: Path
) -> None:
    before = compared(scenes, tmp_path / "out", runs)
    shutil.rmtree(runs[0])
    shutil.copytree(runs[1], runs[0])
    other = tmp_path / "out" / "measured" / "with-2-two" / "plain.json"
    written = other.stat().st_mtime_ns
    after = compared(scenes, tmp_path / "out", runs, resume=True)
    assert np.array_equal(counts_of(after, "one"), counts_of(before, "two"))
    assert other.stat().st_mtime_ns == written


def test_corrected_labels_are_measured_anew(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """A model that joined later was ranked on the new labels beside those that had been measured on the old ones."""
    data = Path(shutil.copytree(scenes, tmp_path / "data"))
    before = compared(data, tmp_path / "out", runs)
    label = open_dataset(data).of_split("val")[0].source.path
    palette = Image.open(label)
    wrong = Image.fromarray(np.zeros_like(np.asarray(palette)), mode=palette.mode)
    if palette.mode == "P":
        wrong.putpalette(palette.getpalette())
    wrong.save(label)
    after = compared(data, tmp_path / "out", runs, resume=True)
    for name in ("one", "two"):
        assert counts_of(after, name).sum() == counts_of(before, name).sum()
        assert counts_of(after, name)[0].sum() > counts_of(before, name)[0].sum()


def test_a_killed_measuring_is_begun_again(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """Whatever is left without the record of what it was made from does not count."""
    before = compared(scenes, tmp_path / "out", runs)
    folder = tmp_path / "out" / "measured" / "with-1-one"
    (folder / "made-from.json").unlink()
    shutil.copy(folder.with_name("with-2-two") / "plain.json", folder / "plain.json")
    after = compared(scenes, tmp_path / "out", runs, resume=True)
    assert np.array_equal(counts_of(after, "one"), counts_of(before, "one"))
    assert read_counted(tmp_path / "out", "with-1-one", "plain") is not None


def test_two_processes_do_not_work_in_one_folder(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """The second found the runs of the first in use, and called them failed."""
    with only_writer(tmp_path / "out"), pytest.raises(ResourceError, match="is being written by process"):
        compared(scenes, tmp_path / "out", runs, resume=False)


def test_a_resumed_comparison_can_get_further_models(tmp_path: Path) -> None:
    plan = Plan("data", (Candidate("unet"), Candidate("segnet")), ("steps", 7.0), (0, 3), 5, given={"lr": 0.1})
    write_plan(tmp_path, plan)
    assert resumed_plan(tmp_path, "data", None, ()) == plan
    more = resumed_plan(tmp_path, "data", "unet,segnet,fcn8s:vgg16", ["runs/old"])
    assert more.candidates == (*plan.candidates, Candidate("fcn8s", "vgg16"))
    assert more.existing == ("runs/old",)
    assert (more.budget, more.seeds, more.folds, more.given) == (plan.budget, plan.seeds, plan.folds, plan.given)
