"""The `denselab` command: one line per error, the exit code of its kind, no traceback."""

import os
import sys
import warnings

import click
import typer

from denselab.console import remark
from denselab.errors import DenseLabError
from denselab.runtime import keep_freed_memory

USAGE_ERROR = 2

app = typer.Typer(
    name="denselab",
    help="Semantic segmentation: from a folder of pictures and labels to a measured, usable model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _register() -> None:
    from denselab.cli.check import check
    from denselab.cli.demo import demo
    from denselab.cli.doctor import doctor
    from denselab.cli.evaluate import evaluate
    from denselab.cli.models import models
    from denselab.cli.predict import predict
    from denselab.cli.train import train

    app.command("demo")(demo)
    app.command("check")(check)
    app.command("train")(train)
    app.command("eval")(evaluate)
    app.command("val", hidden=True)(evaluate)
    app.command("predict")(predict)
    app.command("models")(models)
    app.command("doctor")(doctor)


_register()


def main() -> None:
    """Run the command line and exit. DENSELAB_DEBUG=1 shows tracebacks."""
    keep_freed_memory()
    warnings.filterwarnings("ignore")  # of libraries; our own remarks do not use warnings
    try:
        code = app(standalone_mode=False)
    except DenseLabError as error:
        if os.environ.get("DENSELAB_DEBUG"):
            raise
        remark(f"denselab: {error}")
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = USAGE_ERROR
    except (KeyboardInterrupt, click.Abort):
        remark("denselab: stopped")
        code = 130
    except BrokenPipeError:  # `denselab ... | head`
        code = 0
    except MemoryError:
        remark("denselab: out of memory; use a smaller --imgsz or --window, or fewer --workers")
        code = 5
    except Exception as error:
        if os.environ.get("DENSELAB_DEBUG"):
            raise
        remark(f"denselab: a fault of ours: {type(error).__name__}: {error} (DENSELAB_DEBUG=1 shows where)")
        code = 1
    sys.exit(code or 0)
