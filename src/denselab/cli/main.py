"""The `denselab` command: one line per error, the exit code of its kind, no traceback."""

import codecs
import errno
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Annotated

import typer

import denselab
from denselab.cli.examples import epilog
from denselab.cli.help_pages import Command, Group
from denselab.cli.mending import mending_line
from denselab.cli.messages import flags_of, with_flags
from denselab.compiled.without_blas import leave_out_blas
from denselab.console import remark, stdout
from denselab.errors import DenseLabError, ResourceError, is_out_of_memory
from denselab.log import show_always
from denselab.neighbours import share_cores
from denselab.runtime import keep_freed_memory

USAGE_ERROR = 2
STOPPED = 130  # by Ctrl-C
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
# click's base of usage errors, from whichever click this typer stands on (newer ones carry their own copy)
ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="denselab",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        stdout.print(f"denselab {denselab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Semantic segmentation: from a folder of pictures and labels to a measured, usable model."""


def _register() -> None:
    from denselab.cli.check import check
    from denselab.cli.compare import compare
    from denselab.cli.convert import convert
    from denselab.cli.crf import app as crf_app
    from denselab.cli.demo import demo
    from denselab.cli.diagnose import diagnose
    from denselab.cli.doctor import doctor
    from denselab.cli.evaluate import evaluate
    from denselab.cli.explain import explain
    from denselab.cli.export import export
    from denselab.cli.info import info
    from denselab.cli.models import models
    from denselab.cli.predict import predict
    from denselab.cli.pseudo_label import pseudo_label
    from denselab.cli.refine import refine
    from denselab.cli.train import train

    panels: dict[str, dict[str, Callable[..., None]]] = {
        "Use": {
            "demo": demo,
            "check": check,
            "train": train,
            "eval": evaluate,
            "compare": compare,
            "diagnose": diagnose,
            "predict": predict,
            "pseudo-label": pseudo_label,
            "refine": refine,
            "doctor": doctor,
        },
        "Understand": {"models": models, "info": info, "explain": explain},
        "Weights": {"convert": convert, "export": export},
    }
    for panel, commands in panels.items():
        for name, function in commands.items():
            app.command(name, cls=Command, epilog=epilog(name), rich_help_panel=panel)(function)
    app.command("val", cls=Command, hidden=True, epilog=epilog("eval"))(evaluate)
    app.add_typer(crf_app, name="crf", rich_help_panel="Use")


_missing: list[ImportError] = []  # a package that is not installed, which every command needs
try:
    _register()
except ImportError as error:
    _missing.append(error)


@cache
def _flags() -> dict[str, str]:
    return flags_of(typer.main.get_command(app), sys.argv[1:])


def _with_flags(line: str) -> str:
    """A line of the library, refusal or remark, with the flags of the command that runs."""
    return with_flags(line, _flags()) if "`" in line else line


def _end(number: int, frame: FrameType | None) -> None:
    """SIGTERM outside training: what is being written is finished, nothing new is begun."""
    remark("denselab: stopped")
    raise SystemExit(128 + number)


def _end_of_other(error: Exception) -> int:
    """Say what an error is that no part of DenseLab expected; returns the exit code."""
    if is_out_of_memory(error):
        remark("denselab: out of memory; use a smaller --imgsz, --batch or --window, or fewer --workers")
        return ResourceError.exit_code
    if isinstance(error, OSError) and error.errno in FULL:  # of files the library tells itself
        stdout.on_broken_pipe()  # else Python would try to write the rest at its end
        remark(f"denselab: the output cannot be written: {error.strerror}; free some space, or send it elsewhere")
        return ResourceError.exit_code
    if isinstance(error, FileNotFoundError) and not _has_working_folder():
        remark("denselab: the folder that you are in was removed or replaced; change to one that exists (cd FOLDER)")
        return USAGE_ERROR
    if isinstance(error, ImportError):
        remark(f"denselab: the installation is not complete: {error}; mend it: {mending_line(error)}")
        return DenseLabError.exit_code
    remark(f"denselab: a fault of ours: {type(error).__name__}: {error} (DENSELAB_DEBUG=1 shows where)")
    return DenseLabError.exit_code


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _escape_what_the_terminal_lacks() -> None:
    """Names in letters that its coding does not have are written as JSON escapes them, also within --json."""

    def escaped(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError), "for writing alone"
        return json.dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("json", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="json")


def main() -> None:
    """Run the command line and exit. DENSELAB_DEBUG=1 shows tracebacks."""
    signal.signal(signal.SIGTERM, _end)
    _escape_what_the_terminal_lacks()
    keep_freed_memory()
    leave_out_blas()
    share_cores()
    show_always(_with_flags)
    warnings.filterwarnings("ignore")  # of libraries; our own remarks do not use warnings
    try:
        if _missing:
            raise _missing[0]
        code = app(standalone_mode=False)
        if sys.stdout is not None:  # `denselab ... >&-`
            sys.stdout.flush()
        if code == STOPPED:  # newer versions of Typer turn Ctrl-C into this, older ones into Abort
            remark("denselab: stopped")
    except DenseLabError as error:
        if os.environ.get("DENSELAB_DEBUG"):
            raise
        remark(f"denselab: {_with_flags(str(error))}")
        code = error.exit_code
    except ClickException as error:
        error.show()  # type: ignore[attr-defined]
        code = USAGE_ERROR
    except (KeyboardInterrupt, typer.Abort):
        remark("denselab: stopped")
        code = STOPPED
    except BrokenPipeError:  # `denselab ... | head`
        stdout.on_broken_pipe()  # else Python would try to write the rest at its end
        code = 0
    except Exception as error:
        if os.environ.get("DENSELAB_DEBUG"):
            raise
        code = _end_of_other(error)
    sys.exit(code or 0)
