"""What the scripts of pictures share: which pictures to draw, and how they are written."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

Drawn = TypeVar("Drawn")


def options(about: str | None, names: Iterable[str]) -> ArgumentParser:
    """The command line of a script. about: its docstring; names: of its pictures, for `--only`."""
    parser = ArgumentParser(description=about, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(names), help="draw these only")
    return parser


def write(
    pictures: Mapping[str, Callable[..., Drawn]],
    only: Iterable[str] | None,
    path: str,
    encode: Callable[[Drawn], bytes],
    *given: object,
) -> None:
    """Draw and write pictures, or those named; each begins with the same random numbers, whichever others are drawn.

    path: of the files, {} for the picture's name
    given: what each drawing function takes
    """
    for name, draw in pictures.items():
        if only and name not in only:
            continue
        torch.manual_seed(0)
        file = Path(path.format(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(draw(*given)))
        print(file, file.stat().st_size)
