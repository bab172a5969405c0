"""numba's cache of machine code, with a digest of all sources behind the code in its key.

numba only checks whether the file of the function itself has changed. But a compiled function contains the functions
and constants it uses, which may come from other files; after an update, machine code of their older forms would still
run. Here the file name of machine code holds a digest of the function's module and of everything that module imports.
"""

import functools
import hashlib
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.registry import cpu_target

IMPORT = re.compile(r"^(?:from\s+([\w.]+)\s+)?import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)
COMMENT = re.compile(r"#[^\n]*")
DIGITS = 16  # of the digest: two states of the sources share it with a probability of 2^-64


class CodeCache(FunctionCache):
    """The kept code of one function. numba's own key, the processor and its instruction sets, stays as it is.

    Code of older sources is removed when the first code of the current ones is kept, so that updates do not pile up.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        digest = sources_digest(function.__module__)
        base = self._impl.filename_base
        name = f"{base}.{digest}"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, digest)  # type: ignore[no-untyped-call]
        self._module, self._digest = base.partition(".")[0], digest
        self._python = base.rpartition(".")[2]

    def kept(self) -> list[Any]:
        """The kinds of arguments that code is kept for, on this processor. Raises OSError."""
        processor = cpu_target.target_context.codegen().magic_tuple()
        index = self._cache_file._load_index()  # type: ignore[no-untyped-call]
        return [kind[0] for kind in index if kind[1] == processor]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code of one combination of types; warns if the disk does not accept it."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
            sweep(Path(self._cache_path), self._module, self._python, self._digest)
        except OSError as error:
            warnings.warn(f"compiled code could not be kept: {error}", RuntimeWarning, stacklevel=2)


def to_be_kept(function: Any, lanes: int | None = None) -> bool:
    """Whether a compiled function can be kept, but is not kept yet for this processor.

    function: what `compiled` returned
    lanes: of a kernel that takes a number of them; None: kept is kept, whatever it takes
    """
    cache = function.made._cache
    if not isinstance(cache, CodeCache):
        return False
    wanted = None if lanes is None else types.UniTuple(types.int64, lanes)  # type: ignore[no-untyped-call]
    with suppress(OSError):
        return not any(wanted is None or wanted in tuple(kind) for kind in cache.kept())
    return False


@functools.cache
def sweep(folder: Path, module: str, python: str, digest: str) -> None:
    """Remove the code that earlier sources of a module left in its folder, once per process.

    folder: of the kept code
    module: name of the module's file, without suffix
    python: such as py311; code of other Pythons is left alone
    digest: of the current sources
    """
    for path in folder.glob(f"{escape(module)}.*.nb[ci]"):  # MODULE.FUNCTION-LINE.PYTHON.DIGEST.NUMBER.nbc, and .nbi
        if f".{python}." in path.name and f".{digest}." not in path.name:
            with suppress(OSError):  # another process may hold it open, or remove it first
                path.unlink()


@functools.cache
def sources_digest(module: str) -> str:
    """A digest of a module's sources, of everything it imports at any depth, and of the compilers' versions.

    module: dotted name of an imported module

    Only imports of DenseLab and of the module's own package count.
    """
    ours = {"denselab", module.partition(".")[0]}
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in sources and name.partition(".")[0] in ours and name in sys.modules:
            sources[name] = "".join(_lines(name))
            waiting += imported(sources[name])
    parts = [numba.__version__, llvmlite.__version__, *(part for pair in sorted(sources.items()) for part in pair)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]


def imported(source: str) -> Iterator[str]:
    """The dotted names of the modules that a source imports at the top level."""
    for package, names in IMPORT.findall(COMMENT.sub("", source)):
        for name in filter(str.strip, names.strip("()").split(",")):
            first = name.partition(" as ")[0].strip()
            whole = f"{package}.{first}" if package else first
            yield whole if whole in sys.modules or not package else package


def _lines(module: str) -> list[str]:
    """The source of an imported module, also from a zip archive; empty if it has no source."""
    found = sys.modules[module]
    return linecache.getlines(getattr(found, "__file__", None) or "", vars(found))
