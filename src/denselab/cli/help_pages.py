"""Commands whose help pages show no type beside options without a value, and no hidden argument in the usage line."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


def _typeless(params: list[Any]) -> list[Any]:
    """Without the type, which typer shows as `--help <bool>`."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, --help included."""
        return _typeless(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line, without what is hidden: `eval` takes more models by an argument behind DATA."""
        shown = [param for param in self.get_params(ctx) if not getattr(param, "hidden", False)]
        return ["[OPTIONS]", *(piece for param in shown for piece in param.get_usage_pieces(ctx))]


class Group(TyperGroup):
    """A command that has others."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options, --help included."""
        return _typeless(super().get_params(ctx))
