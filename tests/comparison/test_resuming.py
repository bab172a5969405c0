"""A comparison that goes on: what was measured holds for the models and pictures it was made from, and for no others."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from denselab.comparison import measuring
from denselab.comparison.compare import resumed_plan, run_plan
from denselab.comparison.data import open_data, write_folds
from denselab.comparison.measuring import Cost, measure_all
from denselab.comparison.plan import DEFAULT_BUDGET, Candidate, Plan, candidates_of, write_plan
from denselab.comparison.result import gather
from denselab.data import open_dataset
from denselab.data.recorded import class_pixels
from denselab.errors import ConfigError, ResourceError
from denselab.files import write_json
from denselab.lock import only_writer
from denselab.run_folder import DATASET


@pytest.fixture
def runs(models: tuple[Path, Path], tmp_path: Path) -> list[Path]:
    """Two models that a test may replace."""
    return [Path(shutil.copytree(folder, tmp_path / name)) for folder, name in zip(models, ("one", "two"), strict=True)]


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Cost(1, 1, 1, 1, 1.0, "cpu", "", (8, 8))
    monkeypatch.setattr(measuring, "cost_of", lambda *given: cost)


def measured(data: Path, out: Path, runs: list[Path]) -> dict[str, np.ndarray]:
    """The counts of every model in a comparison of them, by its folder's name."""
    plan = Plan(str(data), (), ("steps", 1.0), ways=("plain",), existing=tuple(map(str, runs)))
    opened = open_data(plan, out)
    measure_all(plan, opened, out, "cpu")
    return {row.name: row.entrant.evaluations[0].counts for row in gather(plan, opened, out).rows}


def test_another_model_of_the_same_name_is_measured_anew(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """Its place was named after position and folder alone: the scores of the model before stood under the new one."""
    before = measured(scenes, tmp_path / "out", runs)
    assert not np.array_equal(before["one"], before["two"])
    namesake = Path(shutil.copytree(runs[1], tmp_path / "elsewhere" / "one"))
    other = tmp_path / "out" / "measured" / "with-2-two" / "plain.json"
    written = other.stat().st_mtime_ns
    after = measured(scenes, tmp_path / "out", [namesake, runs[1]])
    assert np.array_equal(after["one"], before["two"])
    assert other.stat().st_mtime_ns == written, "the other is what it was"


def test_a_model_that_was_trained_on_is_measured_anew(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    before = measured(scenes, tmp_path / "out", runs)
    shutil.rmtree(runs[0])
    shutil.copytree(runs[1], runs[0])
    assert np.array_equal(measured(scenes, tmp_path / "out", runs)["one"], before["two"])


def test_corrected_labels_are_measured_anew(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """A model that joined later was ranked on the new labels beside those that had been measured on the old ones."""
    data = Path(shutil.copytree(scenes, tmp_path / "data"))
    before = measured(data, tmp_path / "out", runs)
    first, second = (item.source.path for item in open_dataset(data).of_split("val")[:2])
    first.write_bytes(second.read_bytes())
    after = measured(data, tmp_path / "out", runs)
    for name in ("one", "two"):
        assert after[name].sum(axis=1).tolist() != before[name].sum(axis=1).tolist()


def test_what_is_left_without_its_record_does_not_count(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """As a process that is killed while it makes room for new measurements leaves it."""
    before = measured(scenes, tmp_path / "out", runs)
    folder = tmp_path / "out" / "measured" / "with-1-one"
    (folder / "made-from.json").unlink()
    shutil.copy(folder.with_name("with-2-two") / "plain.json", folder / "plain.json")
    assert np.array_equal(measured(scenes, tmp_path / "out", runs)["one"], before["one"])


def test_two_processes_do_not_work_in_one_folder(scenes: Path, runs: list[Path], tmp_path: Path) -> None:
    """The second found the runs of the first in use, and called them failed."""
    plan = Plan(str(scenes), (), ("steps", 1.0), ways=("plain",), existing=tuple(map(str, runs)))
    with only_writer(tmp_path / "out"), pytest.raises(ResourceError, match="is being written by process"):
        run_plan(plan, tmp_path / "out", "cpu")


@pytest.mark.parametrize("folds", [0, 2])
def test_pictures_added_meanwhile_change_nothing(tmp_path: Path, folds: int) -> None:
    """The split of data without one was drawn anew: a network that joined later learnt from what the others were
    measured on."""
    data, out = tmp_path / "data", tmp_path / "out"
    rng = np.random.default_rng(0)

    def draw(name: str) -> None:
        for folder, shape in (("images", (12, 16, 3)), ("labels", (12, 16))):
            (data / folder).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256 if folder == "images" else 2, shape).astype(np.uint8)
            Image.fromarray(pixels).save(data / folder / f"{name}.png")

    for name in "abcdefgh":
        draw(name)
    plan = Plan(str(data), (Candidate("unet_small"), Candidate("segnet_basic")), ("steps", 1.0), folds=folds)
    begun = open_data(plan, out)
    write_folds(begun, out)
    member = begun.of(plan.members()[0])
    splits = {split: member.names_of(split) for split in ("train", "val")}
    (out / "runs" / "unet_small").mkdir(parents=True)
    write_json(out / "runs" / "unet_small" / DATASET, {"path": str(data), "splits": splits})
    for name in "ijklmnop":
        draw(name)
    later = open_data(plan, out).of(plan.members()[0])
    assert {split: later.names_of(split) for split in ("train", "val")} == splits
    assert sum(map(len, splits.values())) == 8


def test_a_comparison_goes_on_with_its_data_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was refused from another folder, where `data` led elsewhere, and after the data were moved; and a `data` of
    that other folder would have been taken. Of corrected labels, from which a network that joins learns, nothing was
    said."""
    rng = np.random.default_rng(0)
    for home in ("here", "there"):
        for name in "abcdefgh":
            for folder, shape in (("images", (12, 16, 3)), ("labels", (12, 16))):
                (tmp_path / home / "data" / folder).mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256 if folder == "images" else 2, shape).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / home / "data" / folder / f"{name}.png")
    monkeypatch.chdir(tmp_path / "here")
    out, plan = tmp_path / "out", Plan("data", (Candidate("unet_small"), Candidate("segnet_basic")), ("steps", 1.0))
    write_plan(out, plan)
    begun = open_data(plan, out).dataset
    splits = {split: begun.names_of(split) for split in ("train", "val")}
    seen = {"class_pixels": class_pixels(begun, splits["train"])}
    record = {"path": str(begun.root.resolve()), "splits": splits, **seen}
    write_json(out / "runs" / "unet_small" / DATASET, record)
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(ConfigError, match=r"out compares on .*here/data, and data is other data"):
        open_data(resumed_plan(out, Plan("data", candidates_of(None), DEFAULT_BUDGET)), out)
    first = tmp_path / "here" / "data" / "labels" / f"{Path(splits['train'][0]).name}.png"
    kept = first.read_bytes()
    Image.fromarray(np.ones((12, 16), np.uint8)).save(first)
    capsys.readouterr()
    open_data(resumed_plan(out, Plan(str(tmp_path / "here" / "data"), candidates_of(None), DEFAULT_BUDGET)), out)
    assert "labels of training pictures have changed since the comparison began" in capsys.readouterr().err
    first.write_bytes(kept)
    (tmp_path / "here" / "data").rename(tmp_path / "moved")
    for place in ("../moved", tmp_path / "moved"):
        again = open_data(resumed_plan(out, Plan(str(place), candidates_of(None), DEFAULT_BUDGET)), out).dataset
        assert {split: again.names_of(split) for split in ("train", "val")} == splits


def test_a_resumed_comparison_can_get_further_models(tmp_path: Path) -> None:
    plan = Plan("data", (Candidate("unet"), Candidate("segnet")), ("steps", 7.0), (0, 3), 5, given={"lr": 0.1})
    write_plan(tmp_path, plan)
    asked = Plan("data", candidates_of(None), DEFAULT_BUDGET)
    assert resumed_plan(tmp_path, asked) == plan
    more = resumed_plan(tmp_path, replace(asked, existing=("runs/old",)), "unet,segnet,fcn8s:vgg16")
    assert more.candidates == (*plan.candidates, Candidate("fcn8s", "vgg16"))
    assert more.existing == ("runs/old",)
    assert (more.budget, more.seeds, more.folds, more.given) == (plan.budget, plan.seeds, plan.folds, plan.given)


@pytest.mark.parametrize(
    ("now", "given", "told"),
    [
        ({"seeds": (0, 1)}, {}, r"`seeds` 0 1: the comparison in .* has 0 3, which stays; leave it out"),
        ({"budget": ("steps", 9.0)}, {}, r"`budget` steps 9: .* has steps 7,"),
        ({}, {"budget": "10m"}, r"`budget` time 600: .* has steps 7,"),
        ({"ways": ("plain",)}, {}, "`ways` plain: .* has plain views"),
        ({"imgsz": (96, 96)}, {}, "`imgsz` 96 96: .* has none"),
        ({"given": {"lr": "0.2"}}, {}, r"`lr` 0\.2: .* has 0\.1"),
        ({"given": {"flip": False}}, {}, "`flip` False: .* has none"),
    ],
)
def test_what_a_resumed_comparison_has_otherwise_is_refused(
    tmp_path: Path, now: dict[str, Any], given: dict[str, object], told: str
) -> None:
    """`compare --resume --seeds 0,1` passed the seeds over without a word."""
    plan = Plan("data", (Candidate("unet"), Candidate("segnet")), ("steps", 7.0), (0, 3), 5, given={"lr": 0.1})
    write_plan(tmp_path, plan)
    with pytest.raises(ConfigError, match=told):
        resumed_plan(tmp_path, replace(Plan("data", candidates_of(None), DEFAULT_BUDGET), **now), None, given)
    again = replace(plan, candidates=candidates_of(None), given={"lr": "1e-1"})
    assert resumed_plan(tmp_path, again, None, {"seeds": "0,3", "budget": "7"}) == plan, (
        "the same command line with --resume"
    )
