"""numba without BLAS: no loop of ours multiplies matrices, and only who asks for it goes without."""

import ast
import sys
from pathlib import Path

import pytest

from denselab.compiled import without_blas
from denselab.compiled.without_blas import BLAS, fill_numba, leave_out_blas

SOURCES = sorted(Path(without_blas.__file__).parent.parent.rglob("*.py"))
PRODUCTS = {"dot", "vdot", "matmul", "linalg"}


def loops_of(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions with a decorator that compiles."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    words = ("compiled", "_vectorised", "vectorised", "njit")
    return [f for f in functions if any(word in ast.unparse(d) for d in f.decorator_list for word in words)]


def test_no_loop_multiplies_matrices() -> None:
    loops = [loop for path in SOURCES for loop in loops_of(ast.parse(path.read_text(encoding="utf-8")))]
    assert len(loops) > 30
    for node in (node for loop in loops for node in ast.walk(loop)):
        assert not isinstance(node, ast.MatMult)
        assert not (isinstance(node, ast.Attribute) and node.attr in PRODUCTS)


def test_it_is_done_once_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(name: str) -> None:
        seen.append((name, sys.modules[BLAS]))

    monkeypatch.setattr(without_blas.importlib, "import_module", note)
    monkeypatch.delitem(sys.modules, BLAS, raising=False)
    monkeypatch.setattr(without_blas, "_wanted", False)
    fill_numba()
    assert seen == []  # nobody asked
    leave_out_blas()
    fill_numba()
    fill_numba()
    assert seen == [("numba.np.arraymath", None)]
    assert BLAS not in sys.modules
