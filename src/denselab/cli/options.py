"""Options that several commands share: each has one name, one help text and one way of being read.

Every option shows its default: the value itself, or words where it depends on the data, the model or the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from denselab.cli.completion import complete_network
from denselab.config import parse_size
from denselab.errors import ConfigError
from denselab.paths import deepest_folder

MODEL_FORMS = "Model folder, run folder, or hub id OWNER/NAME"
OUT_FLAGS = ("--out", "-o")


def option(
    metavar: str,
    meaning: str,
    default: str | bool = True,
    *,
    flag: str = "",
    least: int | None = None,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    """An option with a value.

    default: in words where the command leaves it open; False: it is required.
    flag: where it is not the argument's name. least: the smallest number that is taken. complete: what <TAB> offers.
    """
    flags = (flag,) if flag else ()
    return typer.Option(
        *flags, metavar=metavar or None, help=meaning, show_default=default, min=least, autocompletion=complete
    )


def choice(meaning: str, default: str | bool = True, *, flag: str = "") -> Any:
    """An option whose values are those of its type, a Literal; default, flag: as for `option`."""
    return option("", meaning, default, flag=flag)


def argument(
    metavar: str, meaning: str, default: str | bool = True, *, complete: Callable[[str], list[str]] | None = None
) -> Any:
    """A positional argument; default, complete: as for `option`."""
    return typer.Argument(metavar=metavar, help=meaning, show_default=default, autocompletion=complete)


def switch(flag: str, meaning: str) -> Any:
    """An option without a value, which is off unless it is given."""
    return typer.Option(flag, help=meaning, metavar="", show_default="off")


def out_option(holds: str, default: str | None = None) -> Any:
    """`--out FOLDER`.

    holds: what the folder is for. default: the folder that is taken without the option, in words; None: it is required.
    """
    return typer.Option(*OUT_FLAGS, metavar="FOLDER", help=holds, show_default=default or False, callback=_no_file)


def _no_file(given: Any) -> Any:
    """A folder, or the address of a store, as it was given; a file is refused before anything is done."""
    if given is not None and "://" not in str(given):
        deepest_folder(Path(given))
    return given


def device_option(default: str | bool = True) -> Any:
    """`--device NAME`; default: in words where the command leaves it open."""
    return option("NAME", "Device: auto, cpu, cuda, cuda:1 or mps.", default)


def seed_option(default: str | bool = True) -> Any:
    """`--seed N`; default: in words where the command leaves it open."""
    meaning = "Seed of all that is drawn at random: a split, scenes, weights, order, augmentation."
    return option("N", meaning, default, least=0)


def network_option(default: str | None = None) -> Any:
    """`--model NAME`: a network, not a model folder; default: in words, None: it is required."""
    return option("NAME", "Network; `denselab models` lists them.", default or False, complete=complete_network)


def size_option(default: str, meaning: str) -> Any:
    """`--imgsz HxW`."""
    return option("HxW", f"{meaning}, height x width in pixels: 360x480.", default)


Model = Annotated[str, argument("MODEL", f"{MODEL_FORMS}.")]
Data = Annotated[
    str,
    argument(
        "DATA",
        "Folder of pictures and labels in any known layout, its data.yaml, or synthetic scenes: `synthetic`, or "
        "`synthetic:N` with N to train on.",
    ),
]
Split = Annotated[Literal["train", "val", "test"], choice("Part of the data set to use.")]
Window = Annotated[
    str | None,
    option(
        "HxW",
        "Slide a window of this size over larger pictures, height x width in pixels: 512x512.",
        "the whole picture, where memory allows it",
    ),
]
Tta = Annotated[bool, switch("--tta", "Test-time augmentation: average over sizes and mirror images.")]
DisplayBands = Annotated[
    str | None,
    option(
        "BANDS",
        "Pictures of other bands than RGB: one band, or three, to show, by name or number: nir,red,green.",
        "as the data or the model say",
    ),
]
OutputStride = Annotated[
    int | None,
    option("8|16|32", "DeepLab: another output stride, in pixels, with the same weights.", "the model's own"),
]
Encoder = Annotated[
    str | None,
    option(
        "NAME", "Encoder, such as resnet34; `denselab models` says which ones a network takes.", "the network's own"
    ),
]
Device = Annotated[str, device_option()]
EngineOption = Annotated[
    Literal["auto", "torch", "onnx", "openvino"],
    choice("What runs the model: torch its weights, onnx and openvino an exported one.", flag="--engine"),
]
Seed = Annotated[int, seed_option()]
AsJson = Annotated[bool, switch("--json", "Print one JSON document instead of text.")]


def band_names(bands: str | None) -> tuple[str, ...]:
    """The bands of "nir,red,green"; () where none are given."""
    return tuple(band.strip() for band in (bands or "").split(",") if band.strip())


def read_size(imgsz: str | None) -> tuple[int, int] | None:
    """(height, width) of "256x320" or "256"; None without. Raises ConfigError."""
    if imgsz is None:
        return None
    size = parse_size(imgsz)
    if not isinstance(size, tuple) or min(size) < 1:
        raise ConfigError(f"--imgsz {imgsz!r}; write height x width in pixels, such as 360x480, or one number")
    return (int(size[0]), int(size[1]))


def window_size(window: str | None) -> tuple[int, int] | None:
    """(height, width) of "512x512" or "512". Raises ConfigError."""
    from denselab.inference.plan import check_window  # here: `denselab --help` needs no numba

    if window is None:
        return None
    size = parse_size(window)
    if not isinstance(size, tuple):
        raise ConfigError(f"--window {window!r}; write height x width in pixels, such as 512x512")
    check_window((int(size[0]), int(size[1])))
    return (int(size[0]), int(size[1]))
