"""Messages of the library name arguments; the command line shows them as the flags of its command."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import denselab
from denselab.cli.main import app
from denselab.cli.messages import flags_of, with_flags

ROOT = Path(denselab.__file__).parent
ROOMS = [
    path.name
    for path in sorted(ROOT.iterdir())
    if path.name not in ("cli", "__pycache__") and (path.is_dir() or path.suffix == ".py")
]


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


def test_a_key_of_data_yaml_is_no_flag() -> None:
    """`denselab train` said "add it to --labels in data.yaml"."""
    flags = flags_of(typer.main.get_command(app), ["train", "DATA"])
    assert flags["labels"] == "--labels"
    assert with_flags("give another `labels`", flags) == "give another --labels"
    assert with_flags("add it to `labels` in data.yaml", flags) == "add it to `labels` in data.yaml"
    assert (
        with_flags("x/my.yml: ignore needs `labels`; see `out`", flags) == "x/my.yml: ignore needs `labels`; see --out"
    )


def test_lines_that_are_logged_have_flags_too(monkeypatch, capsys) -> None:
    """predict warned "`window` 64x80 keeps the training's scale", which could not be pasted."""
    import logging
    import sys

    from denselab.cli import main
    from denselab.log import HANDLER

    monkeypatch.setattr(sys, "argv", ["denselab", "predict", "RUN", "a.jpg"])
    for name in ("alone", "in_words"):
        monkeypatch.setattr(HANDLER, name, getattr(HANDLER, name))
    main._flags.cache_clear()
    main.show_always(main._with_flags)
    logging.getLogger("denselab.inference.reduced").warning("warning: lost; `window` 64x80 keeps the scale")
    main._flags.cache_clear()
    assert "; --window 64x80 keeps" in capsys.readouterr().err


def strings_of(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file with their lines, docstrings left out; what an f-string fills in is "{}"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def flags_in(text: str) -> list[str]:
    """The flags in a message. A whole command line may stand in one; `--name:` and `var(--name)` are CSS."""
    if text.startswith("denselab "):
        return []
    text = re.sub(r"`denselab [^`]*`|var\([^)]*\)", "", text)
    return re.findall(r"(?:^|[ (])(--[a-z][a-z-]*)(?![a-z-]*[:a-z])", text) if " " in text else []


@pytest.mark.parametrize("room", ROOMS)
def test_the_library_names_no_flag(room: str) -> None:
    """`dl.train` answered "choose another --out", which is no Python; a whole command line may stand in a message."""
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    found = {
        f"{path.name}:{line}": flags for path in files for line, text in strings_of(path) if (flags := flags_in(text))
    }
    assert not found


def test_flags_are_found() -> None:
    assert flags_in("give --classes N, or another --model") == ["--classes", "--model"]
    assert flags_in("`denselab train DATA --out RUN --resume` continues") == []
    assert flags_in(":root { --paper: #fff; color: var(--ink); }") == []
    assert flags_in("--always") == [], "an argument for another program"
