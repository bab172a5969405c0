"""Prediction: the trained model as a function of pictures."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denselab.inference.plan import Plan
    from denselab.inference.prediction import Prediction
    from denselab.inference.predictor import Predictor, load

__all__ = ["Plan", "Prediction", "Predictor", "load"]

_HOMES = {"Plan": "plan", "Prediction": "prediction", "Predictor": "predictor", "load": "predictor"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: plans, inputs and results need no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'denselab.inference' has no attribute {name!r}")
    return getattr(import_module(f"denselab.inference.{_HOMES[name]}"), name)
