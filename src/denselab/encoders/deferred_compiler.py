"""timm and torchvision without torch's compiler, until something is compiled.

At import torchvision asks the compiler's package for one function, and timm marks one of its own as not to be compiled.
With either come the compiler, sympy, Triton and pandas: 300 MiB, and more time than torch itself takes, for every
network with a timm encoder, though none is compiled. So both get a stand-in, which calls the real function when it is
called.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

COMPILER, ASKED = "torch._dynamo", "torch._dynamo.utils"


class _Utils(ModuleType):
    """Stands for ASKED. What else is asked of it loads the real module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # import's own questions
            raise AttributeError(name)
        return getattr(_real_utils(), name)

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        """As the real one."""
        return _real_utils().is_compile_supported(device_type)


def _real_utils() -> Any:
    if isinstance(sys.modules.get(ASKED), _Utils):
        del sys.modules[ASKED]
    return import_module(ASKED)


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """As torch.compiler.disable, which is asked when the function is first called."""
    if fn is None:
        return partial(_disable, recursive=recursive, reason=reason)
    made: list[Callable[..., Any]] = []

    @wraps(fn)
    def called(*arguments: Any, **options: Any) -> Any:
        if not made:
            made.append(torch.compiler.disable(fn, recursive, reason=reason))  # type: ignore[no-untyped-call]
        return made[0](*arguments, **options)

    return called


@contextmanager
def compiler_deferred() -> Iterator[None]:
    """While active, what is imported does not import torch's compiler, unless it needs it."""
    if COMPILER in sys.modules:
        yield
        return
    real = torch.compiler.disable
    sys.modules[ASKED] = _Utils(ASKED)
    torch.compiler.disable = _disable
    try:
        yield
    finally:
        torch.compiler.disable = real
        if isinstance(sys.modules.get(ASKED), _Utils):
            del sys.modules[ASKED]
