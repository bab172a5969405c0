"""What <TAB> offers behind an option: names of networks, recipes and CRF presets."""

from collections.abc import Iterable


def complete_network(incomplete: str) -> list[str]:
    """The networks whose name begins with what was typed."""
    from denselab.models import MODELS  # here: `denselab --help` needs no torch

    return _beginning(MODELS, incomplete)


def complete_recipe(incomplete: str) -> list[str]:
    """The shipped recipes whose name begins with what was typed; where none does, the shell completes files."""
    from denselab.configs import config_names

    return _beginning(config_names(), incomplete)


def complete_preset(incomplete: str) -> list[str]:
    """The CRF presets whose name begins with what was typed."""
    from denselab.crf.parameters import PRESETS  # here: `denselab --help` needs no numba

    return _beginning(PRESETS, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
