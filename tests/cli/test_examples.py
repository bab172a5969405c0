"""The lines that help pages and documents print are command lines that the commands take."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import denselab as dl
from denselab.cli.examples import EXAMPLES
from denselab.cli.main import app
from denselab.config import make_settings, read_words
from denselab.configs import find_config

LINES = [(command, line) for command, lines in EXAMPLES.items() for line in lines]
ROOT = Path(__file__).parents[2]
HISTORY = {"log.md", "benchmarks.md", "reliability.md"}  # of commits whose options may be gone
PAGES = [
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in HISTORY),
    *(ROOT / name for name in ("README.md", "README.ko.md", "examples/browser/README.md")),
]
UsageError = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")


@pytest.mark.parametrize(("command", "line"), LINES, ids=[line for _, line in LINES])
def test_an_example_is_taken(command: str, line: str) -> None:
    words = shlex.split(line)
    assert words[: len(command.split()) + 1] == ["denselab", *command.split()]
    take(words[1:])


def take(words: list[str]) -> None:
    """Parse a command line without its program. Raises a usage error for what the command does not know."""
    group = typer.main.get_command(app)
    context = group.make_context("denselab", list(words))
    while hasattr(group, "commands"):
        name, *words = words
        group = group.get_command(context, name)
        context = group.make_context(name, list(words), parent=context)
    if config := context.params.get("config"):
        find_config(config)
    make_settings(read_words(context.params.get("words") or ()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_lines_of_a_page_are_taken(page: Path) -> None:
    """Pages name options and settings that come and go; `...` and words in capitals stand for something."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    inline = re.findall(r"`(denselab [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [*re.findall(r"^denselab .+$", blocks, re.MULTILINE), *inline]:
        words = shlex.split(" ".join(line.split()), comments=True)[1:]
        if words[0].isupper() or words[0].startswith("-") or "..." in line:
            continue
        try:
            take(words)
        except UsageError as error:
            if line not in inline or not re.search("Missing|requires an argument", str(error)):
                raise AssertionError(f"{page.name}: {line}: {error}") from None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_benchmarks_of_a_page_have_its_options(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, rest in re.findall(r"python benchmarks/(\w+)\.py([^\n`#]*)", text):
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        missing = [flag for flag in re.findall(r"--[a-z0-9-]+", rest) if f'"{flag}"' not in source]
        assert not missing, f"{page.name}: benchmarks/{name}.py has no {missing}"


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
