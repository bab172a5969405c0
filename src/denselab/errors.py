"""The exception tree: every error a user can meet is a DenseLabError that carries the command line's exit code.

A message says what came, what was expected, what to do, and which file or layer it is about.
"""

import errno
from collections.abc import Sequence
from pathlib import Path

# What torch, oneDNN, CUDA, MPS and numpy say when memory runs out; only some of it comes as a MemoryError.
MEMORY_WORDS = (
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "DefaultCPUAllocator"),
    *("could not create a primitive", "could not create a memory object", "std::bad_alloc"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "can't start new thread"),
)


class DenseLabError(Exception):
    """Base of all deliberate errors of DenseLab. Exit code 1 (a bug in DenseLab) unless a subclass sets another."""

    exit_code: int = 1


class ConfigError(DenseLabError):
    """A wrong setting, name or option: unknown key, wrong type, value out of range."""

    exit_code = 2


class NoSuchPath(ConfigError):
    """A given path does not exist: data, model, config, picture or table."""


class ShapeError(ConfigError):
    """An array or tensor has the wrong shape, size or dtype."""


class MissingExtra(ConfigError):
    """An optional package is missing; the message says what to install."""


def install(extra: str) -> str:
    """The line that installs an optional part; pip does not look for DenseLab itself, which is there."""
    return f"pip install 'denselab[{extra}]'"


class DataError(DenseLabError):
    """The data set cannot be read, is ambiguous, or cannot be trained on."""

    exit_code = 3


class SeveralDataSets(DataError):
    """A folder holds several data sets; `folders` lists them in order."""

    def __init__(self, message: str, folders: Sequence[Path]) -> None:
        super().__init__(message)
        self.folders = tuple(folders)


class EmptyScoreError(DataError):
    """A score has nothing to average: no labelled pixel, or no class present."""


class SkippedInputs(DenseLabError):
    """The work finished, but some inputs were skipped; each was named with its reason."""

    exit_code = 4


class ResourceError(DenseLabError):
    """Memory or disk space ran out, or the output cannot be written."""

    exit_code = 5


class OutOfMemory(ResourceError):
    """Something does not fit in memory: one picture of many, which then is skipped, or a whole run."""


class CheckpointError(DenseLabError):
    """A model file or folder is unreadable, damaged, unsafe, or does not fit the model."""

    exit_code = 6


class ParityError(DenseLabError):
    """An exported model does not compute what the network does; nothing of it was kept."""

    exit_code = 7


class TrainingDiverged(DenseLabError):
    """The loss or the weights became NaN or infinite; the message names the step and what is kept of the run."""

    exit_code = 2


class Interrupted(DenseLabError):
    """A signal stopped the training, after its state was saved; exit code 130 (SIGINT) or 143 (SIGTERM)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, OutOfMemory)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    torchs = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # without importing torch
    return torchs or any(words.lower() in text for words in MEMORY_WORDS)
