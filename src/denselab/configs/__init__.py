"""The recipes shipped with the package: complete configs, each named after its network and data.

    denselab train VOC --config fcn8s-voc

The header of each file gives the paper, the deviations, the authors' score and ours.
"""

import difflib
import os
from pathlib import Path

from denselab.errors import ConfigError

FOLDER = Path(__file__).parent


def config_names() -> tuple[str, ...]:
    """The names of the recipes, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def find_config(config: str | Path) -> Path:
    """The file that `config` names: a path as given, or the recipe of that name.

    A file in the working directory takes precedence over a recipe of the same name. Raises ConfigError with the nearest
    names.
    """
    path, names = Path(config), config_names()
    if os.path.isfile(path) or path.suffix in (".yaml", ".yml"):
        return path
    if str(config) in names:
        return FOLDER / f"{config}.yaml"
    near = difflib.get_close_matches(str(config), names, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"the recipes are {', '.join(names)}"
    raise ConfigError(f"config {str(config)!r} is neither a file nor a recipe of this package; {hint}")
