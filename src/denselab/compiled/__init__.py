"""Loops that numba compiles when they are first needed, with their machine code kept on disk."""

from denselab.compiled.compile import compiled

__all__ = ["compiled"]
