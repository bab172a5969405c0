"""Writes docs/reference/: the keys of config.yaml, the exit codes and the commands, each page made from the code.

    python docs/reference_pages.py

tests/test_reference_pages.py fails where a page is older than the code.
"""

import ast
import textwrap
import tokenize
from collections.abc import Iterable, Iterator
from inspect import cleandoc, getsource
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from denselab import errors
from denselab.cli import main
from denselab.cli.examples import EXAMPLES
from denselab.config import Settings, TrainConfig
from denselab.config.read import DURATIONS, FORMS
from denselab.errors import DenseLabError, Interrupted

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made by docs/reference_pages.py from the code; change the code, then run it. -->"
HEADING_WORDS = 5  # a comment of its own line: as short as this it begins a section, longer it describes the key below


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    made = {"config.md": config_page(), "exit-codes.md": exit_codes_page(), "commands.md": commands_page()}
    return {name: f"{MADE}\n\n{text.strip()}\n" for name, text in made.items()}


# config.md


def config_page() -> str:
    """Every key of config.yaml, section by section."""
    lines = [
        "# Keys of config.yaml",
        "",
        "Write any key in a YAML file for `denselab train DATA --config FILE`, as `KEY=VALUE` after",
        "`denselab train DATA`, or in `denselab.train(data, settings={...})`. An unknown key is an error, and so is a",
        "value out of range.",
        "",
        "*Chosen by the recipe*: a key that you leave open is chosen for the data and the machine. The reason is",
        "printed, and the value stands in the run's config.yaml.",
    ]
    schema = Settings.model_json_schema()["properties"]
    for section, keys in described().items():
        lines += ["", f"## {section[0].upper()}{section[1:]}", "", *_head("key", "value", "default", "meaning")]
        for key, told in keys.items():
            meaning, _, otherwise = told.partition("; None: ")
            default = _default_of(key, schema[key]["default"], otherwise)
            lines.append(_row(f"`{key}`", FORMS.get(key) or value_form(schema[key]), default, meaning))
    return "\n".join(lines)


def described() -> dict[str, dict[str, str]]:
    """What the comments in the source of Settings say: section, then key, then the meaning."""
    source = textwrap.dedent(getsource(Settings))
    lines, ends = source.splitlines(), _comments(source)
    found: dict[str, dict[str, str]] = {}
    section = ""
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign):
            continue
        key = ast.unparse(node.target)
        above = _above(lines, node.lineno)
        meaning = [line for line in above if len(line.split()) > HEADING_WORDS]
        section = next((line for line in above if line not in meaning), section)
        told = "; ".join([*meaning, *([ends[node.lineno]] if node.lineno in ends else [])])
        found.setdefault(section, {})[key] = told
    return found


def _comments(source: str) -> dict[int, str]:
    """The comment at the end of each line of code, by line number."""
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    return {
        t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT and t.line[: t.start[1]].strip()
    }


def _above(lines: list[str], number: int) -> list[str]:
    """The comments on lines of their own right above a line, top first."""
    found: list[str] = []
    for line in reversed(lines[: number - 1]):
        if not line.strip().startswith("#"):
            break
        found.insert(0, line.strip().lstrip("# "))
    return found


def _default_of(key: str, default: Any, otherwise: str) -> str:
    if otherwise:
        return otherwise
    if key == "data":
        return "none: it is the first argument"
    if default is None:
        assert TrainConfig.model_fields[key].is_required(), f"{key}: its comment says nothing of None"
        return "chosen by the recipe"
    if FORMS.get(key) == DURATIONS:
        return f"`{default:g}s`"
    if isinstance(default, bool):
        return "`yes`" if default else "`no`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def value_form(schema: dict[str, Any]) -> str:
    """What may stand behind a key, in words, from its JSON schema."""
    if "anyOf" in schema:
        return value_form(next(part for part in schema["anyOf"] if part.get("type") != "null"))
    if "enum" in schema:
        return " ".join(f"`{word}`" for word in schema["enum"])
    if schema["type"] in ("integer", "number"):
        kind = "whole number" if schema["type"] == "integer" else "number"
        return " ".join((kind, _range(schema, whole=schema["type"] == "integer"))).strip()
    return {"boolean": "`yes` `no`", "string": "text", "array": "list of `{name, weight, options}`"}[schema["type"]]


def _range(schema: dict[str, Any], whole: bool) -> str:
    low = f"≥ {schema['minimum']}" if "minimum" in schema else ""
    if "exclusiveMinimum" in schema:
        low = f"≥ {schema['exclusiveMinimum'] + 1}" if whole else f"> {schema['exclusiveMinimum']}"
    high = f"≤ {schema['maximum']}" if "maximum" in schema else ""
    high = f"< {schema['exclusiveMaximum']}" if "exclusiveMaximum" in schema else high
    return ", ".join(bound for bound in (low, high) if bound)


# exit-codes.md

REMEDIES = {
    0: "Go on.",
    1: "Report it; `DENSELAB_DEBUG=1` shows where it happened.",
    2: "Do not try again: mend the command line, the config or the path that the message names. After "
    "`TrainingDiverged`: train again with a lower `lr`.",
    3: "Do not try again: `denselab check DATA` says which files are wrong and how to mend them.",
    4: "Use what was written; the skipped inputs stand in the output of `--json` under `skipped`, with the reason.",
    5: "Free memory or disk, or choose another `--out`; then start again. `denselab train --resume` continues a run.",
    6: "Do not try again: take the model from its source once more, or an older save.",
    7: "Nothing was written. Export in float32 where `--int8` or `--bf16` lost too much; else report the line shown.",
    130: "Continue a training with `--resume`; start other commands again.",
    143: "As 130. A batch system that stops jobs sends this signal.",
}
OUTSIDE = {  # codes that cli/main.py gives without an error of ours
    0: ["The work is done. Also when the reader of a pipe went away: `denselab models | head`."],
    1: ["A fault of ours: an error that DenseLab did not expect."],
    2: ["A usage error: an unknown command or option, a missing argument, a value of the wrong type."],
    5: ["Python ran out of memory."],
    130: ["Stopped by Ctrl-C (SIGINT). A training saves its state first."],
    143: ["Stopped by SIGTERM. A training saves its state first."],
}


def exit_codes_page() -> str:
    """Every exit code: the errors that have it, and what a script can do."""
    lines = [
        "# Exit codes",
        "",
        "One line on stderr says what came, what was expected and what to do; the exit code is that of its kind.",
        "In Python the same errors are exceptions of `denselab.errors`, with the code as `exit_code`.",
        "",
        *_head("code", "when", "what a script can do"),
    ]
    lines += [_row(f"`{code}`", "<br>".join(whens), REMEDIES[code]) for code, whens in exit_codes().items()]
    return "\n".join(lines)


def exit_codes() -> dict[int, list[str]]:
    """When each code comes, by code."""
    codes: dict[int, list[str]] = {code: list(whens) for code, whens in OUTSIDE.items()}
    for kind in _tree(DenseLabError):
        if kind in (DenseLabError, Interrupted):  # the base of all, and 128 with the number of a signal
            continue
        codes.setdefault(kind.exit_code, []).append(
            f"`{kind.__name__}`: {cleandoc(kind.__doc__ or '').splitlines()[0]}"
        )
    return dict(sorted(codes.items()))


def _tree(kind: type[DenseLabError]) -> Iterator[type[DenseLabError]]:
    """An error and those below it, in the order of their file."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below)


# commands.md


def commands_page() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(main.app)
    lines = ["# Commands", "", "`denselab COMMAND --help` shows the same in the terminal.", ""]
    lines += [
        "`denselab --version` shows the version; `denselab --install-completion` sets up <kbd>Tab</kbd> for your shell."
    ]
    for name, command in _leaves(group, ""):
        lines += ["", f"## {name}", "", *_paragraphs(command.help), "", "```sh", *EXAMPLES[name], "```", ""]
        lines += list(_parameters(command))
    return "\n".join(lines)


def _leaves(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, as a user types them; hidden ones left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}", command


def _parameters(command: Any) -> Iterator[str]:
    hints = get_type_hints(command.callback)
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    options = [p for p in command.params if p.param_type_name == "option" and p.name in hints]
    if arguments:
        yield from _head("argument", "meaning")
        yield from (_row(f"`{p.metavar}`", p.help) for p in arguments)
        yield ""
    yield from _head("option", "value", "default", "meaning")
    for option in options:
        yield _row(
            " ".join(f"`{flag}`" for flag in option.opts), _form(option, hints), default_text(option), option.help
        )


def _form(option: Any, hints: dict[str, Any]) -> str:
    if option.metavar is not None:
        return f"`{option.metavar}`" if option.metavar else ""
    kinds = (hints[option.name], *get_args(hints[option.name]))
    words = next(get_args(kind) for kind in kinds if get_origin(kind) is Literal)
    return " ".join(f"`{word}`" for word in words)


def default_text(option: Any) -> str:
    """The default of an option, as its help page tells it."""
    if option.required:
        return "required"
    return option.show_default if isinstance(option.show_default, str) else f"`{option.default}`"


def _paragraphs(text: str | None) -> list[str]:
    return cleandoc(text or "").splitlines()


# tables


def _head(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |", f"|{'---|' * len(cells)}"]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def write(folder: Path, made: Iterable[tuple[str, str]]) -> None:
    """Write the pages into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made:
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER, pages().items())
