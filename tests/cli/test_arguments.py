"""Library errors name arguments; the command line shows them as they are typed."""

from denselab.cli.arguments import with_dashes
from denselab.cli.main import app


def test_names_of_arguments_become_those_of_the_command() -> None:
    assert with_dashes("continue with `resume` or another `out`", app, ["train", "d"]) == (
        "continue with --resume or another --out"
    )
    assert with_dashes("`as_json`, `crf_preset`", app, ["eval", "m", "d"]) == "--json, --crf-preset"
    assert with_dashes("`data` is empty", app, ["crf", "tune", "m", "d"]) == "DATA is empty"


def test_what_is_no_argument_of_the_command_stays() -> None:
    said = "`denselab check data` lists all; `lr` and `resume` are not here"
    assert with_dashes(said, app, ["predict", "m"]) == said
    assert with_dashes("`out`", app, []) == "`out`"
