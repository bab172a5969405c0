"""The exception tree: every error a user can cause or meet is a DenseLabError with the command line's exit code.

A message says what came, what was expected, what to do, and the file or layer it is about.
"""

from collections.abc import Sequence
from pathlib import Path


class DenseLabError(Exception):
    """Base of all errors that DenseLab raises on purpose; exit code 1 (a fault of ours) unless a subclass says otherwise."""

    exit_code: int = 1


class ConfigError(DenseLabError):
    """A wrong setting, name or option: unknown key, wrong type, value out of range."""

    exit_code = 2


class NoSuchPath(ConfigError):
    """A path that was given does not exist: data, model, config, picture or table."""


class ShapeError(ConfigError):
    """An array or tensor of the wrong shape, size or dtype was passed in."""


class MissingExtra(ConfigError):
    """An optional package is needed; the message says what to install."""


class DataError(DenseLabError):
    """The data set cannot be read, is ambiguous, or would not train."""

    exit_code = 3


class SeveralDataSets(DataError):
    """A folder holds several data sets; `folders` are theirs, in order."""

    def __init__(self, message: str, folders: Sequence[Path]) -> None:
        super().__init__(message)
        self.folders = tuple(folders)


class EmptyScoreError(DataError):
    """A score has nothing to average over: no labelled pixel, or no class present."""


class SkippedInputs(DenseLabError):
    """The work is done, but some inputs were skipped; each was named with its reason."""

    exit_code = 4


class ResourceError(DenseLabError):
    """Memory or disk ran out, or an output place cannot be written."""

    exit_code = 5


class CheckpointError(DenseLabError):
    """A model file or folder is unreadable, damaged, unsafe, or does not fit the model."""

    exit_code = 6


class TrainingDiverged(DenseLabError):
    """The loss became NaN or infinite; the message names the step and the pictures of the batch."""


class Interrupted(DenseLabError):
    """Training was stopped by a signal after saving; exit code 130 (SIGINT) or 143 (SIGTERM)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
