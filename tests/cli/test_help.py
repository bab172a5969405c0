"""Help pages: every option tells its default, what commands share reads alike, commands stand in panels, <TAB> completes."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from denselab.cli.completion import complete_network, complete_preset, complete_recipe
from denselab.cli.main import app
from denselab.configs import config_names
from denselab.crf import PRESETS
from denselab.models import MODELS

GROUP = typer.main.get_command(app)
COMMANDS = {name: command for name, command in GROUP.commands.items() if name not in ("crf", "val")}
COMMANDS["crf tune"] = GROUP.commands["crf"].commands["tune"]
OPTIONS = [
    (name, parameter)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.param_type_name == "option" and parameter.name != "help"
]


def tells_its_default(option: Any) -> bool:
    """A default in words, a value that is shown, or required."""
    return option.required or isinstance(option.show_default, str) or (option.show_default and bool(option.default))


def is_choice(command: str, name: str) -> bool:
    """Whether an option takes one of a few words, which its help page then lists."""
    hint = get_type_hints(COMMANDS[command].callback)[name]
    return any(get_origin(kind) is Literal for kind in (hint, *get_args(hint)))


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value))
def test_an_option_tells_its_default_and_its_form(command: str, option: Any) -> None:
    """`--batch <int>  Pictures per step.` left open how many are taken without it."""
    assert option.default == 0 or tells_its_default(option), f"{command} {option.opts[0]}"
    assert option.help
    assert option.is_flag or option.metavar or is_choice(command, option.name), f"{option.opts[0]}: a type alone"
    assert "Default:" not in option.help, "the default has a place of its own"


@pytest.mark.parametrize("command", ["", "crf", *COMMANDS])
def test_an_option_without_a_value_shows_no_type(command: str) -> None:
    """typer's own options, and ours by its default, read `--help <bool>  Show this message and exit.`"""
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).output
    assert "--help" in shown
    assert "bool" not in shown.lower()


@pytest.mark.parametrize("name", ["data", "device", "as_json", "window", "tta", "seed", "encoder", "output_stride"])
def test_what_commands_share_reads_alike(name: str) -> None:
    texts = {(p.metavar, p.help) for command in COMMANDS.values() for p in command.params if p.name == name}
    assert len(texts) == 1


def test_one_way_to_write_out() -> None:
    outs = [parameter for _, parameter in OPTIONS if parameter.name == "out"]
    assert {(tuple(out.opts), out.metavar) for out in outs} == {(("--out", "-o"), "FOLDER")}


def test_commands_stand_in_panels() -> None:
    panels = {command.rich_help_panel for command in GROUP.commands.values() if not command.hidden}
    assert panels == {"Use", "Understand", "Weights"}
    told = CliRunner().invoke(app, ["--help"]).output
    assert told.index("Use") < told.index("Understand") < told.index("Weights")


def test_tab_completes_names() -> None:
    assert complete_network("fcn8") == [name for name in MODELS if name.startswith("fcn8")] != []
    assert complete_recipe("") == list(config_names())
    assert complete_preset("deep") == [name for name in PRESETS if name.startswith("deep")] != []
    assert complete_network("nothing") == [], "the shell then completes files"


def test_the_shell_gets_them() -> None:
    words = {
        "_DENSELAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "denselab train data --config fcn8s",
        "COMP_CWORD": "4",
    }
    given = CliRunner().invoke(app, [], env=words, prog_name="denselab").output.split()
    assert given == complete_recipe("fcn8s")


def test_a_usage_line_leaves_out_what_is_hidden() -> None:
    """It was "eval [OPTIONS] {MODEL...} {DATA} []...": an argument takes the models behind the first."""
    (usage,) = (line for line in CliRunner().invoke(app, ["eval", "--help"]).output.splitlines() if "Usage:" in line)
    assert "DATA" in usage
    assert "[]" not in usage
