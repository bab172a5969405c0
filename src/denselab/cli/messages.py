"""Messages of the library in the words of the command line: it names an argument, `imgsz`; here that is --imgsz."""

import re
from collections.abc import Sequence
from typing import Any


def with_flags(message: str, flags: dict[str, str]) -> str:
    """`message`, with every argument in backticks that has a flag replaced by it. flags: as `flags_of` gives them."""
    return re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), message)


def flags_of(group: Any, words: Sequence[str]) -> dict[str, str]:
    """The flags of the command that `words` call, by argument: {"imgsz": "--imgsz", ...}; {} where they call none.

    group: the click group of all commands, whose commands may be groups.
    """
    command = group
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    if command is group:
        return {}
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return {option.name: max(option.opts, key=len) for option in options}
