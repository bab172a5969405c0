"""Messages of the library name arguments; the command line shows them as the flags of its command."""

import re
from pathlib import Path

import pytest
import typer

import denselab
from denselab.cli.main import app
from denselab.cli.messages import flags_of, with_flags

ROOT = Path(denselab.__file__).parent
ROOMS = ("api.py", "config", "losses", "memory.py", "training")


def test_arguments_become_the_flags_of_the_command() -> None:
    flags = flags_of(typer.main.get_command(app), ["train", "DATA", "--time", "5s"])
    assert (flags["imgsz"], flags["crf_layer"], flags["as_json"]) == ("--imgsz", "--crf-layer", "--json")
    told = with_flags("use a smaller `imgsz`, lower `lr`, or see `denselab models`", flags)
    assert told == "use a smaller --imgsz, lower `lr`, or see `denselab models`", "lr has no flag"


def test_commands_in_groups_and_no_command() -> None:
    group = typer.main.get_command(app)
    assert flags_of(group, ["crf", "tune", "RUN", "DATA"])["pictures"] == "--pictures"
    assert flags_of(group, ["crf", "tune", "RUN", "DATA"])["data"] == "DATA"
    assert flags_of(group, []) == {}


@pytest.mark.parametrize("room", ["api.py", "config", "losses", "memory.py", "training"])
def test_the_library_names_no_flag(room: str) -> None:
    """`dl.train` answered "choose another --out", which is no Python; a whole command line may stand in a message."""
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    for path in files:
        text = re.sub(r"`denselab [^`]*`", "", path.read_text(encoding="utf-8"))
        assert not (found := re.findall(r"[ (]--[a-z][a-z-]*", text)), f"{path.name}: {found}"
