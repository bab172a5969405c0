"""How `make docs` builds the site: Markdown by MyST, the API from the docstrings, every warning an error."""

import inspect
import re
from typing import Any

import denselab

project, author, copyright = "DenseLab", "the DenseLab authors", "the DenseLab authors, Apache-2.0"
version = release = denselab.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
highlight_language = "text"
html_theme = "furo"
html_title = f"DenseLab {release}"
html_static_path: list[str] = []
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # torch describes `forward` in a markup of its own
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False
# what a page links to outside of docs/: on the site such a link leads nowhere, in the repository it does
suppress_warnings = ["myst.xref_missing"]

ARGUMENT = re.compile(r"^((?:[a-z_]\w*)(?:, [a-z_]\w*)*): (.*)$")
ITEM = re.compile(r"^(- |\d+\. )")


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text: `name: what it is` begins an argument, `- ` an item, any other indent a sketch
    or code.

    Nothing else in them has a meaning to Sphinx, so everything else is escaped.
    """
    told: list[str] = []
    kind = ""  # of the block that the line before belongs to
    for line in inspect.cleandoc("\n".join(lines)).splitlines():
        before, kind = kind, _kind(line, kind)
        if kind == "code":
            told += ["", ".. code-block:: text", ""] if before != "code" else []
            told.append("    " + line)
        elif kind == "item":
            told += [""] if before != "item" else []
            told.append(_escaped(line) if ITEM.match(line) else "  " + _escaped(line.strip()))
        elif argument := ARGUMENT.match(line):
            told += ["", f"**{argument[1]}**: {_escaped(argument[2])}"]
        elif kind == "argument":
            told.append(_escaped(line.strip()))
        else:
            told += ["", _escaped(line)] if before in ("code", "item") else [_escaped(line)]
    lines[:] = told


def _kind(line: str, before: str) -> str:
    if not line.strip():
        return "code" if before == "code" else ""
    if ITEM.match(line):
        return "item"
    if line.startswith("  "):
        return before if before in ("item", "argument") else "code"
    if ARGUMENT.match(line):
        return "argument"
    return before if before == "item" else "text"


def _escaped(line: str) -> str:
    """`code` as code, and every sign that reStructuredText would read as markup as itself."""
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(f"`{p}`" if p.startswith("`") else re.sub(r"([*|\\`])|(?<=\w)_(?!\w)", r"\\\g<0>", p) for p in parts)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_rst)
