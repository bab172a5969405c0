"""The commands that use the recommended model are those that the command line takes, with the folders that exist."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from denselab.cli.main import app
from denselab.comparison.plan import Candidate, Plan
from denselab.comparison.result import Comparison, Row
from denselab.comparison.usage import commands
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.ranking import Entrant, Ranking

PLAN = Plan(
    "my data", (Candidate("unet", "resnet34"), Candidate("segnet")), ("steps", 200.0), (3,), imgsz=(96, 128),
    given={"lr": 0.1, "flip": False},
)  # fmt: skip


def row(name: str, right: int, runs: tuple[str, ...], joins: tuple[str, ...] = ()) -> Row:
    """A model with so many of 100 pixels of either class right, in each of 20 pictures."""
    areas = np.array([[[right] * 2, [100] * 2, [100] * 2]] * 20, np.int64)
    names = tuple(f"p{i}" for i in range(20))
    counts = 20 * np.array([[right, 100 - right], [100 - right, right]])
    evaluation = Evaluation(("a", "b"), names, counts, areas, None, {})
    paths = tuple(map(Path, runs))
    return Row(
        name, {"plain": Entrant(name, (evaluation,))}, None, None, (), paths, 60.0, joins=tuple(map(Path, joins))
    )


def compared(plan: Plan, *rows: Row) -> Comparison:
    ordered = tuple(sorted(rows, key=lambda one: -one.miou))
    return Comparison(plan, ordered, Ranking(tuple(one.entrant for one in ordered)), (), (), Path("out"))


BEST, OTHER = row("unet:resnet34", 90, ("out/runs/unet",)), row("segnet", 50, ("out/runs/segnet",))
BOTH = row("unet:resnet34 + segnet", 95, (), ("out/runs/unet", "out/runs/segnet"))


def taken(comparison: Comparison) -> list[str]:
    """The commands, each of which the command line takes: a word that it does not know raises a usage error."""
    lines = commands(comparison)
    group = typer.main.get_command(app)
    for line in lines:
        name, *words = shlex.split(line)[1:]
        context = group.make_context("denselab", [name, *words])  # type: ignore[attr-defined]
        group.get_command(context, name).make_context(name, words, parent=context)  # type: ignore[attr-defined]
    return lines


def test_a_single_model_predicts_from_its_run() -> None:
    assert taken(compared(PLAN, BEST, OTHER)) == ["denselab predict out/runs/unet photos/ --out predicted/"]


def test_an_ensemble_is_joined_first() -> None:
    assert taken(compared(PLAN, BEST, OTHER, BOTH)) == [
        "denselab eval out/runs/unet out/runs/segnet 'my data' --save models/joined",
        "denselab predict models/joined photos/ --out predicted/",
    ]


@pytest.mark.parametrize(
    ("budget", "length"),
    [(("steps", 200.0), "steps=200 --model unet --encoder resnet34"),
     (("time", 90.0), "--model unet --encoder resnet34 --time 90s"),
     (("epochs", 7.0), "--model unet --encoder resnet34 --epochs 7")],
)  # fmt: skip
def test_a_model_of_folds_is_trained_once_more(budget: tuple[str, float], length: str) -> None:
    plan = replace(PLAN, folds=5, budget=budget)
    assert taken(compared(plan, BEST, OTHER)) == [
        f"denselab train 'my data' lr=0.1 flip=no {length} --imgsz 96x128 --seed 3 --out runs/unet-resnet34",
        "denselab predict runs/unet-resnet34 photos/ --out predicted/",
    ]


def test_nothing_is_told_where_nothing_is_recommended() -> None:
    seen = [replace(one, trained_on=1) for one in (BEST, OTHER)]
    assert commands(compared(PLAN, *seen)) == []
