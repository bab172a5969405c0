"""Prediction: the trained model as a function of pictures."""

from denselab.inference.plan import Plan
from denselab.inference.prediction import Prediction
from denselab.inference.predictor import Predictor, load

__all__ = ["Plan", "Prediction", "Predictor", "load"]
