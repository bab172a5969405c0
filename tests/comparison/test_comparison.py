"""A whole comparison on a tiny data set: trained once, measured once, told in every form; and how it goes on."""

import csv
import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denselab.cli import compare as command
from denselab.comparison import compare as work
from denselab.comparison import members
from denselab.comparison.compare import checked_plan, compare, require_new, resumed_plan
from denselab.comparison.data import open_data
from denselab.comparison.measuring import existing_folder
from denselab.comparison.members import failure, is_finished
from denselab.comparison.plan import DEFAULT_BUDGET, Candidate, Member, Plan, candidates_of, read_plan, write_plan
from denselab.comparison.result import Comparison, gather
from denselab.comparison.usage import commands
from denselab.data import Dataset
from denselab.engine.folder import load_engine, save_engine
from denselab.errors import ConfigError, DataError, Interrupted, NoSuchPath, ResourceError
from denselab.inference.predictor import Predictor
from denselab.labels import LabelSpace
from denselab.measure.evaluate import evaluate

SHARED = {"pretrained": "no", "batch": 4, "workers": 0, "validations": 2, "ema": 0.9}
MODELS = "unet_small,deeplabv3plus:mobilenetv3_small_050"


@pytest.fixture(scope="module")
def done(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(
        tiny_data.root,
        out=tmp_path_factory.mktemp("compare") / "out",
        models=MODELS,
        budget=("steps", 2),
        folds=2,
        ways=("plain", "views"),
        imgsz=(32, 48),
        device="cpu",
        settings=SHARED,
    )


def test_every_picture_is_measured_once_by_every_model(done: Comparison, tiny_data: Dataset) -> None:
    names = tuple(sorted(item.name for item in tiny_data.items))
    assert [row.entrant.evaluations[0].names for row in done.rows] == [names, names]
    assert done.rows[0].miou >= done.rows[1].miou


def test_a_fold_s_counts_are_those_of_evaluate(done: Comparison, tiny_data: Dataset) -> None:
    """dl.evaluate on the run's own held-out pictures gives what the comparison added up."""
    row = next(row for row in done.rows if row.name == "unet_small")
    parts = [evaluate(run, tiny_data.root, device="cpu", quiet=True).evaluation for run in row.runs]
    merged = parts[0].merge(parts[1])
    assert (merged.counts == row.entrant.evaluations[0].counts).all()
    assert (merged.areas == row.entrant.evaluations[0].areas).all()


def test_all_train_alike(done: Comparison) -> None:
    steps = {(run / "metrics.jsonl").read_text().strip().splitlines()[-1] for row in done.rows for run in row.runs}
    assert {json.loads(line)["step"] for line in steps} == {2}
    stopped = {json.loads((run / "summary.json").read_text())["stopped"] for row in done.rows for run in row.runs}
    assert stopped == {"steps"}


def test_the_folder_tells_it_in_every_form(done: Comparison) -> None:
    out = done.out
    told = json.loads((out / "comparison.json").read_text())
    assert [model["name"] for model in told["models"]] == [row.name for row in done.rows]
    assert told["models"][0]["miou"] == pytest.approx(done.rows[0].miou, abs=1e-4)
    page = (out / "report.html").read_text()
    for anchor in re.findall(r'href="#([\w-]+)"', page):
        assert f'id="{anchor}"' in page
    for link in re.findall(r'href="(runs/[^"]+)"', page):
        assert (out / link).is_file()
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == [row.name for row in reversed(done.rows)]
    assert float(rows[-1]["mean"]) == pytest.approx(100 * done.rows[0].miou, abs=0.01)
    assert r"\toprule" in (out / "table.tex").read_text()
    assert done.rows[0].name in (out / "table.md").read_text()


def test_nothing_is_done_twice(done: Comparison, tiny_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("trained or measured again")

    monkeypatch.setattr(members, "train_run", never)
    monkeypatch.setattr("denselab.comparison.measuring.evaluate", never)
    again = compare(tiny_data.root, out=done.out, resume=True, device="cpu")
    assert [row.miou for row in again.rows] == [row.miou for row in done.rows]


def test_the_command_line_prints_the_answer(
    done: Comparison, tiny_data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    command.compare(str(tiny_data.root), out=done.out, resume=True, devices="cpu")
    printed = capsys.readouterr().out
    assert done.sentence in printed
    assert all(f"{verdict.sentence}." in printed for verdict in done.verdicts)
    command.compare(str(tiny_data.root), out=done.out, resume=True, devices="cpu", as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads((done.out / "comparison.json").read_text())


def test_a_second_start_is_refused(done: Comparison, tiny_data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file; choose another `out`"):
        require_new(tmp_path / "file")
    with pytest.raises(ConfigError, match="already holds a comparison; continue it with `resume`"):
        compare(tiny_data.root, out=done.out, models=MODELS)
    write_plan(tmp_path / "empty", Plan("data", candidates_of(MODELS), DEFAULT_BUDGET))
    with pytest.raises(ConfigError, match="compares on data, not on"):
        resumed_plan(tmp_path / "empty", Plan(str(tmp_path), candidates_of(None), DEFAULT_BUDGET))


def test_existing_models_take_part_and_those_that_saw_the_pictures_are_named(
    done: Comparison, tiny_data: Dataset, tmp_path: Path
) -> None:
    runs = [row.runs[0] for row in done.rows]
    plan = Plan(str(tiny_data.root), (), DEFAULT_BUDGET, ways=("plain",), existing=tuple(map(str, runs)))
    found = work.run_plan(checked_plan(plan), tmp_path / "out", "cpu")
    assert {row.name for row in found.rows} == {run.name for run in runs}
    assert all(row.trained_on > 0 for row in found.rows)  # the fold's training pictures are val here
    assert found.recommended is None
    assert "has seen" in found.sentence


def test_one_that_fails_leaves_its_reason_and_the_others_go_on(
    done: Comparison, tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(settings: Any, run: Path, **options: Any) -> None:
        raise DataError("this one cannot")

    monkeypatch.setattr(members, "train_run", failing)
    data, trained = str(tiny_data.root), str(done.rows[0].runs[0])
    plan = Plan(data, candidates_of("unet_small"), DEFAULT_BUDGET, ways=("plain",), given=SHARED, existing=(trained,))
    found = work.run_plan(plan, tmp_path / "out", "cpu")
    assert [row.name for row in found.rows] == [done.rows[0].runs[0].name]
    assert found.failed == (("unet_small-seed0", "this one cannot"),)


def test_a_stop_passes_through(tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(settings: Any, run: Path, **options: Any) -> None:
        raise Interrupted("stopped", signal.SIGTERM)

    monkeypatch.setattr(members, "train_run", stopped)
    with pytest.raises(
        Interrupted,
        match="stopped in unet_small-seed0; what was trained is saved; `denselab compare .* --resume` continues",
    ):
        compare(tiny_data.root, out=tmp_path / "out", models="unet_small,segnet", device="cpu", imgsz=(32, 48))
    assert read_plan(tmp_path / "out").candidates == (Candidate("unet_small"), Candidate("segnet"))


def test_side_by_side_in_processes_of_their_own(tiny_data: Dataset, tmp_path: Path) -> None:
    """Two devices, both the CPU: each run in its own process; one whose process fails is told with its last line."""
    given = {**SHARED, "validations": 1}
    plan = checked_plan(Plan(str(tiny_data.root), candidates_of(MODELS), ("steps", 1), imgsz=(32, 48), given=given))
    write_plan(tmp_path, plan)
    first, second = plan.members()
    members._side_by_side(plan, [first], tmp_path, ["cpu", "cpu"])
    assert is_finished(tmp_path, first), (tmp_path / "runs" / f"{first.key}.txt").read_text()
    (tmp_path / "plan.json").write_text("damaged")
    members._side_by_side(plan, [second], tmp_path, ["cpu", "cpu"])
    assert "plan.json is not JSON" in failure(tmp_path, second)


def test_plans_survive_the_disk(tmp_path: Path) -> None:
    plan = Plan("data", (Candidate("unet"), Candidate("fcn8s", "vgg16")), ("steps", 7.0), (0, 3), 5, "val",
                ("plain", "crf"), (96, 128), {"lr": 0.1, "flip": False}, ("runs/a",))  # fmt: skip
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert plan.command() == (
        "denselab compare data lr=0.1 flip=no --models unet,fcn8s:vgg16 --budget steps 7 --with runs/a --folds 5 "
        "--seeds 0,3 --ways plain,crf --imgsz 96x128 --out compare/again"
    )
    assert [m.key for m in plan.members()][:3] == ["unet-fold1-seed0", "fcn8s-vgg16-fold1-seed0", "unet-fold2-seed0"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"models": "unet"}, "two models at least"),
        ({"models": "unet,unte"}, "unte"),
        ({"models": "unet,unet"}, "given twice"),
        ({"models": "unet,segnet", "folds": 1}, "use 2 to 1000"),
        ({"models": "unet,segnet", "folds": 10**9}, "use 2 to 1000"),  # took 8 GB, and more with every second
        ({"models": "unet,segnet", "folds": 3, "split": "test"}, "leave one of the two out"),
        ({"models": "unet,segnet", "ways": ("crf",)}, "`ways` crf; plain"),
        (
            {"models": "unet,segnet", "settings": {"seed": 3}},
            "the comparison itself sets it for every run; give `seeds`",
        ),
        ({"models": "unet,segnet", "settings": {"imgsz": 96}}, "imgsz: .*; give `imgsz`"),
        ({"models": "unet,segnet", "settings": {"lr": -1}}, "lr"),
        ({"models": "unet,segnet", "budget": ("steps", -1)}, "steps"),
        ({"models": "unet,segnet", "budget": ("lr", 0.1)}, "`budget` 'lr'; use time, epochs, steps"),
        ({"models": "unet", "with_": ["nowhere-at-all"]}, "nowhere-at-all"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_data_are_read(
    arguments: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, NoSuchPath), match=told):
        compare("nowhere", out=tmp_path / "out", **arguments)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """{id: folder} of what a hub without a connection knows; it starts empty."""
    known: dict[str, Path] = {}

    def download(name: str, **options: Any) -> str:
        if name not in known:
            raise OSError("no such repository")
        return str(known[name])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    existing_folder.cache_clear()
    return known


def test_models_of_the_hub_are_fetched_first_and_an_ensemble_among_them_is_not_joined(
    done: Comparison, tiny_data: Dataset, tmp_path: Path, hub: dict[str, Path]
) -> None:
    """An unknown id was told when all was trained; an ensemble, when the best models were to be joined."""
    with pytest.raises(NoSuchPath, match="someone/unknown"):
        compare("nowhere", out=tmp_path / "none", models="unet", with_=["someone/unknown"])
    for row, name in zip(done.rows, ("a", "b"), strict=False):
        hub[f"someone/{name}"] = shutil.copytree(row.runs[0] / "model", tmp_path / "hub" / name)
    hub["someone/both"] = Predictor.ensemble(list(hub.values()), device="cpu").save_pretrained(tmp_path / "hub" / "c")
    ids = ("hf://someone/a", "someone/b", "someone/both")
    asked = Plan(str(tiny_data.root), (), DEFAULT_BUDGET, ways=("plain", "ensemble"), existing=ids)
    found = work.run_plan(checked_plan(asked), tmp_path / "out", "cpu", cache=False)
    assert {row.name for row in found.rows if not row.joins} == {"a", "b", "both"}
    assert [sorted(row.name.split(" + ")) for row in found.rows if row.joins] == [["a", "b"]]
    alone = replace(found, rows=tuple(replace(row, no_better_than="") for row in found.rows if row.name == "a"))
    assert commands(alone) == ["denselab predict hf://someone/a photos/ --out predicted/"]


def test_an_existing_model_of_other_classes_is_refused_before_anything_is_trained(
    models: tuple[Path, Path], tiny_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(members, "train_run", never)
    engine = load_engine(models[0], "cpu")
    things = tuple(replace(entry, name=f"thing {entry.id}") for entry in engine.spec.label_space.entries)
    spec = replace(engine.spec, label_space=LabelSpace(things))
    save_engine(replace(engine, spec=spec), tmp_path / "other")
    with pytest.raises(DataError, match="does not fit the model"):
        compare(tiny_data.root, out=tmp_path / "out", models="unet_small", with_=[tmp_path / "other"], device="cpu")


def test_accelerate_launch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="accelerate launch"):
        members.devices_of("auto")
    monkeypatch.delenv("WORLD_SIZE")
    assert members.devices_of("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]


def test_the_folds_on_disk_are_read_as_data_yaml_reads_them(done: Comparison, tiny_data: Dataset) -> None:
    from denselab.data.splits.split_tables import read_table

    table = read_table(done.out / "folds.csv")
    data = open_data(done.plan, done.out)
    first = {item.name for item in data.of(done.plan.members()[0]).of_split("val")}
    assert set(table[0]["val"]) == first
    assert len(table) == 2


def test_the_answer_is_the_same_when_it_is_gathered_again(done: Comparison, tiny_data: Dataset) -> None:
    again = gather(done.plan, open_data(done.plan, done.out), done.out)
    assert again.sentence == done.sentence
    assert np.isclose([row.miou for row in again.rows], [row.miou for row in done.rows]).all()


def test_a_run_that_is_gone_is_told_no_more(done: Comparison) -> None:
    """Its measurements are still there; its model, which the report would recommend, is not."""
    row = done.rows[0]
    aside = row.runs[1].with_name("aside")
    row.runs[1].rename(aside)
    try:
        again = gather(done.plan, open_data(done.plan, done.out), done.out)
        assert [one.name for one in again.rows] == [done.rows[1].name]
    finally:
        aside.rename(row.runs[1])


class Process:
    """A training in a process of its own that ends with a code after some looks, or when it is asked to stop."""

    def __init__(self, code: int, looks: int) -> None:
        self.returncode, self.looks, self.signals = code, looks, list[int]()

    def poll(self) -> int | None:
        self.looks -= 1
        return self.returncode if self.looks <= 0 or self.signals else None

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def wait(self) -> int:
        return self.returncode


def test_side_by_side_each_device_has_one_run_and_a_stop_stops_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, str, Process]] = []

    def start(out: Path, member: Member, device: str, share: int) -> Process:
        assert share == 2
        assert all(process.looks <= 0 for _, used, process in started if used == device), "the device is free"
        started.append((member.key, device, Process(*ends[len(started)])))
        return started[-1][2]

    ends = [(0, 2), (0, 3), (143, 3), (0, 100)]  # the third is stopped from outside while the fourth trains

    monkeypatch.setattr(members, "_start", start)
    monkeypatch.setattr(members, "POLL", 0.0)
    plan = Plan("data", candidates_of("unet,segnet"), ("steps", 1.0), seeds=(0, 1, 2))
    with pytest.raises(Interrupted, match="stopped; what was trained is saved; `denselab compare data --out"):
        members._side_by_side(plan, plan.members(), tmp_path, ["cuda:0", "cuda:1"])
    assert [device for _, device, _ in started] == ["cuda:0", "cuda:1"] * 2
    assert [key for key, _, _ in started] == [member.key for member in plan.members()[:4]]
    assert [process.signals for _, _, process in started] == [[], [], [], [signal.SIGTERM]]


def test_side_by_side_no_process_outlives_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full where a reason was to be noted: the processes on the other devices trained on alone."""
    started: list[Process] = []
    looks = [2, 100]

    def start(*given: object) -> Process:
        started.append(Process(1, looks.pop(0)))
        return started[-1]

    monkeypatch.setattr(members, "_start", start)
    monkeypatch.setattr(members, "POLL", 0.0)

    def full(*given: object) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr(members, "_heed", full)
    plan = Plan("data", candidates_of("unet,segnet"), ("steps", 1.0))
    with pytest.raises(ResourceError, match="the disk is full"):
        members._side_by_side(plan, plan.members(), tmp_path, ["cuda:0", "cuda:1"])
    assert [process.signals for process in started] == [[], [signal.SIGTERM]]


@pytest.mark.parametrize(
    ("code", "told"), [(1, "denselab: no such data"), (-9, "its process was ended by signal 9; 9 is sent where memory")]
)
def test_why_a_process_ended(code: int, told: str, tmp_path: Path) -> None:
    """Of one that the system ended, the last line was told: step 40, loss 0.8."""
    member = Plan("data", candidates_of("unet,segnet"), ("steps", 1.0)).members()[0]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / f"{member.key}.txt").write_text("step 40\ndenselab: no such data\n")
    members._heed(tmp_path, member, code)
    assert failure(tmp_path, member).startswith(told)
