"""The command that repeats a comparison: the command line makes the very same plan of it."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from denselab.cli import compare as command
from denselab.cli.main import app
from denselab.comparison import compare as work
from denselab.comparison.compare import checked_plan
from denselab.comparison.plan import OWN_KEYS, Candidate, Plan
from denselab.comparison.usage import train_command
from denselab.config import make_settings, read_words
from denselab.configs import __file__ as configs_file
from denselab.documents import parse_yaml

PLAN = Plan("my data", (Candidate("unet", "resnet34"), Candidate("segnet")), ("steps", 200.0))
CONFIGS = sorted(Path(configs_file).parent.glob("*.yaml"))


def planned(line: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan that the command line makes of a line; nothing is run."""
    found: list[Plan] = []

    def note(plan: Plan, *more: Any, **options: Any) -> None:
        found.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "run_plan", note)
    group = typer.main.get_command(app)
    name, *words = shlex.split(line)[1:]
    context = group.make_context("denselab", [name, *words])
    parsed = group.get_command(context, name).make_context(name, words, parent=context)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        command.compare(**parsed.params)
    return found[0]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"budget": ("epochs", 40.0), "folds": 5, "seeds": (0, 3, 7)},
        {"budget": ("time", 1800.0), "split": "test", "ways": ("plain", "crf")},
        {"budget": ("time", 2_000_000.0)},  # 2e+06s once, which the command line refuses
        {"budget": ("time", 12345.75), "imgsz": (96, 128), "existing": ("owner/name", "owner/other")},
        {"given": {"lr": 1e-5, "flip": False, "pretrained": "no", "precision": "no", "save_every": 90.0}},
        {"given": {"crop": None}},  # crop=None once, which the command line refuses
        {"given": {"losses": [{"name": "dice"}, {"name": "cross_entropy", "weight": 2.0}]}},
        {"candidates": (), "existing": ("owner/name", "owner/other")},
    ],
    ids=lambda changed: "-".join(map(str, changed)) or "plain",
)
def test_the_command_makes_the_same_plan(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denselab.comparison.compare.existing_folder", Path)  # the hub is asked elsewhere
    plan = checked_plan(replace(PLAN, **changed))
    assert planned(plan.command(str(tmp_path / "again")), monkeypatch) == plan


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_words_say_every_setting_again(path: Path) -> None:
    """Every key of every recipe that is shipped: several losses were written as no command line takes them."""
    values = parse_yaml(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in OWN_KEYS and key != "imgsz"}
    plan = checked_plan(replace(PLAN, given=kept))
    assert make_settings(read_words(plan.words())) == make_settings(kept)
    assert shlex.split(train_command(plan, "segnet", "out"))[3 : 3 + len(plan.words())] == plan.words()


def test_spaces_in_a_list_of_ways_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in --models and --seeds: "plain, crf" was refused."""
    line = f"denselab compare data --models 'unet, segnet' --ways 'plain, crf' --seeds '0, 1' --out {tmp_path / 'out'}"
    plan = planned(line, monkeypatch)
    assert (plan.ways, plan.seeds) == (("plain", "crf"), (0, 1))
