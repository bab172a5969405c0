"""Commands whose help pages show no type beside options without a value: typer's own read `--help <bool>`."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


def _typeless(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, --help included."""
        return _typeless(super().get_params(ctx))


class Group(TyperGroup):
    """A command that has others."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, --help included."""
        return _typeless(super().get_params(ctx))
