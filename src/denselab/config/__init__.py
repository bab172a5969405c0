"""The settings of a training run: what a user wrote, what a run stores, and the types both use."""

from denselab.config.read import make_config, make_settings, merged, read_duration, read_settings, read_words, to_yaml
from denselab.config.settings import LossTerm, Settings, TrainConfig
from denselab.config.units import parse_duration, parse_size

__all__ = [
    "LossTerm",
    "Settings",
    "TrainConfig",
    "make_config",
    "make_settings",
    "merged",
    "parse_duration",
    "parse_size",
    "read_duration",
    "read_settings",
    "read_words",
    "to_yaml",
]
