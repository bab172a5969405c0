"""Running out of memory, as one kind of error for every runtime."""

from collections.abc import Iterator
from contextlib import contextmanager

from denselab.errors import DenseLabError, is_out_of_memory

# what ONNX Runtime and OpenVINO say, in errors of their own kinds
ALLOCATORS = ("Failed to allocate memory", "bad allocation", "bad_alloc", "bad alloc")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the runtimes' out-of-memory errors into Python's MemoryError, which callers can catch without torch."""
    try:
        yield
    except (MemoryError, DenseLabError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or any(words in str(error) for words in ALLOCATORS):
            raise MemoryError(str(error)) from error
        raise
