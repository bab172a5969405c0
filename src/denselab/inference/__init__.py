"""Prediction: the trained model as a function of pictures."""

from denselab.inference.prediction import Prediction
from denselab.inference.predictor import Options, Predictor, load

__all__ = ["Options", "Prediction", "Predictor", "load"]
