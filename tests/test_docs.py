"""The documents keep their word: every line of Python in docs/lineage.md runs, every picture and file they name exists."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from denselab.models import MODELS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "README.ko.md", ROOT / "CONTRIBUTING.md"])


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def pictures(page: str) -> list[str]:
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "docs" / page).read_text(encoding="utf-8"))


def test_the_lineage_runs() -> None:
    namespace: dict[str, Any] = {}
    for block in python_blocks("lineage.md"):
        exec(compile(block, "docs/lineage.md", "exec"), namespace)


@pytest.mark.parametrize("page", ["lineage", "lineage-segments", "lineage-columns", "by-hand", "look-inside"])
def test_the_korean_page_has_the_same_code_and_pictures(page: str) -> None:
    assert python_blocks(f"{page}.ko.md") == python_blocks(f"{page}.md")
    assert pictures(f"{page}.ko.md") == pictures(f"{page}.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_network_s_file_has_a_row_with_its_certificate() -> None:
    """The README's table of networks: a row names the file and the tests that state what its paper states."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|") and "`tests/" in line]
    table = "\n".join(rows)
    for name, entry in MODELS.items():
        builder = entry.build.func if isinstance(entry.build, partial) else entry.build
        assert f"{builder.__module__.rsplit('.', 1)[1]}.py`" in table, f"{name} has no row in README.md"
    certificates = re.findall(r"`tests/(\w+/test_\w+\.py)`", table)
    certificates += [f"models/{file}" for file in re.findall(r"`(test_\w+\.py)`", table)]
    assert [file for file in certificates if not (ROOT / "tests" / file).is_file()] == []
    assert all(re.search(r"`(tests/\w+/)?test_\w+\.py`", row) for row in rows)


@pytest.mark.parametrize(
    "page",
    [
        "crf.md",
        "regions.md",
        "lineage-segments.md",
        "lineage-columns.md",
        "by-hand.md",
        "convolutional.md",
        "look-inside.md",
    ],
)
def test_a_page_s_python_runs(page: str) -> None:
    namespace: dict[str, Any] = {}
    for block in python_blocks(page):
        exec(compile(block, f"docs/{page}", "exec"), namespace)


def test_every_system_of_the_first_table_has_a_picture_that_a_script_makes() -> None:
    """Of trained networks; under 150 kB each, and a script of docs/ draws it anew."""
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("lineage_*.py"))
    wanted = {
        "lineage-columns.md": ("hypercolumn", "columns", "zoomout"),
        "lineage-segments.md": ("msra_cfm",),
        "lineage.md": ("boxes", "tags", "boxsup"),
    }
    for page, names in wanted.items():
        for name in names:
            assert f"images/lineage/learnt_{name}.jpg" in pictures(page), name
            assert (ROOT / "docs" / "images" / "lineage" / f"learnt_{name}.jpg").stat().st_size < 150_000, name
            assert f"def {name}(" in scripts, name
