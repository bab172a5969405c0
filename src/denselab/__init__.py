"""DenseLab: semantic segmentation from a folder of pictures and labels to a measured, usable model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from denselab.log import show_by_default as _show_by_default

if TYPE_CHECKING:
    from denselab.api import train
    from denselab.build import create_model
    from denselab.comparison.compare import compare
    from denselab.convolutional.fully_convolutional import convolutionalize
    from denselab.data import Dataset, open_dataset
    from denselab.data.audit.check import check_dataset
    from denselab.errors import DenseLabError
    from denselab.inference import Prediction, Predictor, load
    from denselab.inference.distributed import predict_dataset
    from denselab.labels import LabelEntry, LabelSpace
    from denselab.measure.diagnose import diagnose
    from denselab.measure.evaluate import evaluate

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "DenseLabError",
    "LabelEntry",
    "LabelSpace",
    "Prediction",
    "Predictor",
    "check_dataset",
    "compare",
    "convolutionalize",
    "create_model",
    "diagnose",
    "evaluate",
    "load",
    "open_dataset",
    "predict_dataset",
    "train",
]

_HOMES = {
    "Dataset": "data",
    "DenseLabError": "errors",
    "LabelEntry": "labels",
    "LabelSpace": "labels",
    "Prediction": "inference",
    "Predictor": "inference",
    "check_dataset": "data.audit.check",
    "compare": "comparison.compare",
    "convolutionalize": "convolutional.fully_convolutional",
    "create_model": "build",
    "diagnose": "measure.diagnose",
    "evaluate": "measure.evaluate",
    "load": "inference",
    "open_dataset": "data",
    "predict_dataset": "inference.distributed",
    "train": "api",
}

_show_by_default()


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `denselab --help` and denselab.crf work without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'denselab' has no attribute {name!r}")
    return getattr(import_module(f"denselab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, including those not imported yet: what `dl.<TAB>` offers."""
    return sorted([*__all__, "__version__"])
