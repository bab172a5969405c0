"""Running out of memory, as one kind of error for every runtime."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What torch's CPU allocator, ONNX Runtime and OpenVINO say; they raise plain RuntimeErrors or their own kinds of it.
ALLOCATORS = ("can't allocate memory", "Failed to allocate memory", "bad allocation", "bad_alloc", "bad alloc")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the runtimes' out-of-memory errors into Python's MemoryError, which callers can catch without torch."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        torch = sys.modules.get("torch")  # not imported: its errors cannot have come
        if (torch and isinstance(error, torch.OutOfMemoryError)) or any(words in str(error) for words in ALLOCATORS):
            raise MemoryError(str(error)) from error
        raise
