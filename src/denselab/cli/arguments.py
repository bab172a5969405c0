"""Arguments as the command line writes them: library errors say `out` or `crf_preset`, the user typed --out, --crf-preset."""

import re
from collections.abc import Sequence
from typing import Any

import typer

NAME = re.compile(r"`([a-z][a-z0-9_]*)`")


def with_dashes(message: str, app: typer.Typer, typed: Sequence[str]) -> str:
    """The message with every `name` of an argument as the command that ran calls it: --name, or METAVAR without dashes.

    typed: what followed `denselab`. A name that is none of the command's stays as it is.
    """
    written = _written(app, typed)
    return NAME.sub(lambda match: written.get(match[1], match[0]), message)


def _written(app: typer.Typer, typed: Sequence[str]) -> dict[str, str]:
    """{argument of Python: as it is written} of the command that `typed` names."""
    command: Any = typer.main.get_command(app)
    for word in typed:
        command = getattr(command, "commands", {}).get(word, command)
        if not hasattr(command, "commands"):
            break
    return {parameter.name: _as_typed(parameter) for parameter in command.params}


def _as_typed(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))
