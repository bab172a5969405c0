"""The lines that help pages print are command lines that the commands take."""

import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import denselab as dl
from denselab.cli.examples import EXAMPLES
from denselab.cli.main import app
from denselab.configs import find_config

LINES = [(command, line) for command, lines in EXAMPLES.items() for line in lines]


@pytest.mark.parametrize(("command", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_taken(command: str, line: str) -> None:
    words = shlex.split(line)
    assert words[: len(command.split()) + 1] == ["denselab", *command.split()]
    words, group = words[1:], typer.main.get_command(app)
    context = group.make_context("denselab", list(words))
    for name in command.split():
        words, group = words[1:], group.get_command(context, name)
        context = group.make_context(
            name, list(words), parent=context
        )  # raises a usage error for what it does not know
    if config := context.params.get("config"):
        find_config(config)


def test_every_command_has_examples() -> None:
    group = typer.main.get_command(app)
    commands = {name for name, command in group.commands.items() if not command.hidden} - {"crf"}
    assert commands | {"crf tune"} == set(EXAMPLES)


def test_the_help_page_shows_them() -> None:
    shown = CliRunner().invoke(app, ["doctor", "--help"]).output
    assert "Examples:" in shown
    assert "denselab doctor" in shown


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.strip()) == (0, f"denselab {dl.__version__}")


def test_completion_can_be_installed() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "--install-completion" in shown


def test_tab_shows_the_public_names() -> None:
    assert {"train", "load", "Predictor", "__version__"} <= set(dir(dl))
    assert all(hasattr(dl, name) for name in dir(dl))


def test_the_public_names_are_the_documented_ones() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api" / "denselab.md").read_text(encoding="utf-8")
    named = [name for name in dl.__all__ if f"denselab.{name}\n" in page or f"denselab.{name}`" in page]
    assert sorted(set(dl.__all__) - set(named)) == ["DenseLabError"], "the errors have a section of their own"
