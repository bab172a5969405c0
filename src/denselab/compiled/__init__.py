"""Loops compiled with numba when they are first needed, and their machine code kept on disk."""

from denselab.compiled.compile import compiled

__all__ = ["compiled"]
