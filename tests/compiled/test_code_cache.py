"""Kept machine code: from which sources it may be taken, on a compiled function of two that takes its steps from another file."""

import importlib
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from denselab.compiled import code_cache

LOOP = """
from denselab.compiled import compiled
from toy.steps import (
    STEP,  # a constant becomes part of the machine code
    moved,
)

@compiled
def far(x):
    return moved(x) + STEP
"""
MOVED = "from denselab.compiled import compiled\nimport toy.deep as deep\nSTEP = {step}\nmoved = compiled(lambda x: x + {by})\n"
ALONE = "from denselab.compiled import compiled\n\n@compiled\ndef own(x):\n    return x\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package: loops.py needs steps.py, which needs deep.py; alone.py needs none of them."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, source in (("__init__", ""), ("loops", LOOP), ("deep", ""), ("alone", ALONE)):
        (folder / f"{name}.py").write_text(source)
    (folder / "steps.py").write_text(MOVED.format(step=1, by=10))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python's own cache tells files apart by seconds
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]
    linecache.clearcache()
    code_cache.sources_digest.cache_clear()
    code_cache.sweep.cache_clear()


def imported(module: str) -> Any:
    """The module as a new process has it."""
    forget()
    importlib.invalidate_caches()
    return importlib.import_module(f"toy.{module}")


def kept(folder: Path, module: str) -> set[str]:
    return {path.name for path in (folder / "__pycache__").glob(f"{module}.*.nb*")}


def test_code_is_taken_from_the_disk_while_no_source_has_changed(toy: Path) -> None:
    assert imported("loops").far(0) == 11
    again = imported("loops").far
    assert again(0) == 11
    assert sum(again.made.stats.cache_hits.values()) == 1


@pytest.mark.parametrize(("steps", "result"), [({"step": 1, "by": 20}, 21), ({"step": 5, "by": 10}, 15)])
def test_a_change_in_another_file_is_seen(toy: Path, steps: dict[str, int], result: int) -> None:
    """After an update of vectors.py the dense CRF went on with the machine code of the former one: numba looks at the file of
    the compiled function alone, not at the files of those that it calls, nor at those of its constants."""
    assert imported("loops").far(0) == 11
    (toy / "steps.py").write_text(MOVED.format(**steps))
    assert imported("loops").far(0) == result
    assert imported("loops").far(0) == result


def test_a_change_two_files_away_compiles_anew_and_elsewhere_does_not(toy: Path) -> None:
    assert imported("loops").far(0) == 11
    assert imported("alone").own(7) == 7
    before = kept(toy, "alone")
    (toy / "deep.py").write_text("DEEP = 1\n")
    far = imported("loops").far
    assert far(0) == 11
    assert sum(far.made.stats.cache_misses.values()) == 1
    own = imported("alone").own
    assert own(7) == 7
    assert sum(own.made.stats.cache_hits.values()) == 1
    assert kept(toy, "alone") == before


def test_code_of_former_sources_is_swept(toy: Path) -> None:
    """Ten updates leave as many files as one; those of another Python, and of other modules, are left alone."""
    imported("loops").far(0)
    first = kept(toy, "loops")
    assert {name.rpartition(".")[2] for name in first} == {"nbi", "nbc"}
    old = toy / "__pycache__" / next(iter(first)).split(".")[0]
    python = f".py{sys.version_info[0]}{sys.version_info[1]}"
    for name in (f".gone-9{python}.nbi", f".far-3{python}.1.nbc", ".far-3.py27.nbi", "other.far-3.py27.nbi"):
        Path(f"{old}{name}").write_text("as numba itself names them")
    for number in range(3):
        (toy / "steps.py").write_text(MOVED.format(step=number, by=10))
        imported("loops").far(0)
    present = kept(toy, "loops")
    assert len(present) == len(first) + 1
    assert not first & present
    assert "loops.far-3.py27.nbi" in present
    assert (toy / "__pycache__" / "loopsother.far-3.py27.nbi").exists()


def test_names_of_imported_modules() -> None:
    source = "import os, sys as s\nfrom denselab.compiled import (\n    compiled,  # (why), so\n    code_cache as c,\n)\nfrom a.b import c"
    found = set(code_cache.imported(source))
    assert found == {"os", "sys", "denselab.compiled", "denselab.compiled.code_cache", "a.b"}
