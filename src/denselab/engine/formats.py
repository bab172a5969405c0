"""The forms that config.json of a model folder has had, and the way from each to the newest.

1  the first; what was added to it in the course of time may be missing: preprocessing's `fit` and `pad_to`, the architecture's
   `crf_layer` and `frozen_norm`, the dense CRF's parameters `crf`
2  everything is there, and `written_by`
3  `started_from`: what the training started from, null where that is not known
"""

from collections.abc import Mapping
from typing import Any

from denselab.migration import Record, migrated, ours, stamped, writer

FORMAT = 3


def current_config(config: Mapping[str, Any], source: str) -> Record:
    """The config of a model folder in the newest form. Raises CheckpointError that names the source."""
    return migrated(config, {1: _from_1, 2: _from_2}, source)


def stamped_config(config: Mapping[str, Any]) -> Record:
    """The config of a model folder as it is written."""
    return stamped(config, FORMAT)


def _from_1(config: Record) -> Record:
    preprocessing = {"fit": "inside", "pad_to": None, **config["preprocessing"]}
    architecture = {"crf_layer": None, "frozen_norm": False, **config["architecture"]}
    return {
        "written_by": None,
        "scores": {},
        "crf": None,
        **config,
        "architecture": architecture,
        "preprocessing": preprocessing,
    }


def _from_2(config: Record) -> Record:
    return {"started_from": None, **config}


def told_misfit(misfit: str, name: str, config: Mapping[str, Any]) -> str:
    """One line for weights that are not those of the network that the config names.

    misfit: the first name or shape that does not fit. name: the network. config: in the newest form.
    """
    return (
        f"{misfit}. The folder was written by {writer(config)}, and {name} has other layers in {ours()}: use the version that "
        "wrote it, or train or convert the model again"
    )
