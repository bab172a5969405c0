"""Messages of the library in the words of the command line: it names an argument, `imgsz`; here that is --imgsz."""

import re
from collections.abc import Sequence
from typing import Any

YAML = re.compile(r"\.ya?ml\b")


def with_flags(message: str, flags: dict[str, str]) -> str:
    """`message`, in which every argument in backticks that has a flag is replaced by it.

    flags: as `flags_of` gives them

    A message about a data.yaml means its keys: `labels` there is not --labels.
    """
    keys = _keys_of_data_yaml() if YAML.search(message) else frozenset[str]()
    return re.sub(r"`(\w+)`", lambda m: m[0] if m[1] in keys else flags.get(m[1], m[0]), message)


def _keys_of_data_yaml() -> frozenset[str]:
    from denselab.data.described.yaml_file import Settings

    return frozenset(Settings.model_fields)


def flags_of(group: Any, words: Sequence[str]) -> dict[str, str]:
    """How a command writes each of its arguments: {"imgsz": "--imgsz", "data": "DATA", ...}; {} where none is called.

    group: the click group of all commands, whose commands may be groups
    words: the command line, without the program's name
    """
    command = group
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    if command is group:
        return {}
    return {parameter.name: _as_typed(parameter) for parameter in command.params}


def _as_typed(parameter: Any) -> str:
    """--imgsz for an option, DATA for a positional argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))
