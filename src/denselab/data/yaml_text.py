"""Values as they are written into data.yaml, so that a line of a message can be pasted as it stands."""

from typing import Any

import yaml


def in_yaml(value: Any) -> str:
    """A value on one line of YAML: quoted where it has to be, lists and tables in brackets."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")
