"""numba's cache of machine code, with all sources that the code was made from in its key.

numba asks whether the file of the function itself has changed. But a compiled function contains those that it calls,
and constants, which may come from other files; after an update it would go on with machine code of their older forms.
Here the name of a file of machine code holds a digest of the function's module and of all that this imports.
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
from numba.core.caching import FunctionCache, IndexDataCacheFile

IMPORT = re.compile(r"^(?:from\s+([\w.]+)\s+)?import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)
COMMENT = re.compile(r"#[^\n]*")
DIGITS = 16  # of the digest: two states of the sources share it with a probability of 2^-64


class CodeCache(FunctionCache):
    """The kept code of one function. numba's own key, the processor and its instruction sets, stays as it is.

    Code of former sources is removed when the first of the present ones is kept, so that updates do not pile up.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        digest = sources_digest(function.__module__)
        base = self._impl.filename_base
        name = f"{base}.{digest}"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, digest)  # type: ignore[no-untyped-call]
        self._module, self._digest = base.partition(".")[0], digest
        self._python = base.rpartition(".")[2]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code of one combination of types; where the disk does not take it, the user is warned."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
            sweep(Path(self._cache_path), self._module, self._python, self._digest)
        except OSError as error:
            warnings.warn(f"compiled code could not be kept: {error}", RuntimeWarning, stacklevel=2)


@functools.cache
def sweep(folder: Path, module: str, python: str, digest: str) -> None:
    """Remove what earlier sources of a module left in its folder, once in a process.

    module: the name of its file, without suffix. python: such as py311; what another Python keeps is left alone.
    """
    for path in folder.glob(f"{escape(module)}.*.nb[ci]"):  # MODULE.FUNCTION-LINE.PYTHON.DIGEST.NUMBER.nbc, and .nbi
        if f".{python}." in path.name and f".{digest}." not in path.name:
            with suppress(OSError):  # another process may hold it open, or be as quick
                path.unlink()


@functools.cache
def sources_digest(module: str) -> str:
    """A digest of the sources of a module and of all that it imports, at any depth, and of the compilers' versions.

    module: the dotted name of an imported module. Only imports of DenseLab and of the module's own package count.
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
    """The dotted names of the modules that a source imports at its top level."""
    for package, names in IMPORT.findall(COMMENT.sub("", source)):
        for name in filter(str.strip, names.strip("()").split(",")):
            first = name.partition(" as ")[0].strip()
            whole = f"{package}.{first}" if package else first
            yield whole if whole in sys.modules or not package else package


def _lines(module: str) -> list[str]:
    """The source of an imported module, from a zip archive too; none where there is none."""
    found = sys.modules[module]
    return linecache.getlines(getattr(found, "__file__", None) or "", vars(found))
