"""The formats of a model folder's config.json, and the migration from each to the newest.

1  the first; fields added over time may be missing: preprocessing's `fit`, `pad_to` and `white`, the architecture's
   `crf_layer` and `frozen_norm`, the dense CRF's parameters `crf`
2  all of those are present, as are `written_by` and `started_from`: what the training started from, null if unknown;
   unet_release joins the up-convolved map first, as its authors did. `temperature` is there only where one was fitted
3  preprocessing's `bands`: of pictures that are not RGB of 8 bits, null where they are. Models of RGB are still written
   in format 2, so that earlier versions read them
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from denselab.migration import Record, migrated, ours, stamped, writer

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
SKIP_FIRST = "skip_first"  # marks a config migrated from format 1, whose weights of unet_release are in the old order


def current_config(config: Mapping[str, Any], source: str) -> Record:
    """The config of a model folder in the newest format. Raises CheckpointError naming `source`."""
    return migrated(config, {1: _from_1, 2: _from_2}, source)


def stamped_config(config: Mapping[str, Any]) -> Record:
    """The config of a model folder as it is written."""
    seen = config["preprocessing"]
    if seen["bands"] is not None:
        return stamped(config, FORMAT)
    without = {key: value for key, value in seen.items() if key != "bands"}
    return stamped({**config, "preprocessing": without}, FORMAT - 1)


def _from_1(config: Record) -> Record:
    preprocessing = {"fit": "inside", "pad_to": None, "white": None, **config["preprocessing"]}
    architecture = {"crf_layer": None, "frozen_norm": False, **config["architecture"]}
    return {
        **({SKIP_FIRST: True} if architecture["name"] == "unet_release" else {}),
        "written_by": None,
        "scores": {},
        "crf": None,
        "started_from": None,
        **config,
        "architecture": architecture,
        "preprocessing": preprocessing,
    }


def _from_2(config: Record) -> Record:
    return {**config, "preprocessing": {**config["preprocessing"], "bands": None}}


def current_weights(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights of a model folder for the network as it is now. config: as returned by `current_config`."""
    if not config.get(SKIP_FIRST):
        return tensors
    from denselab.models.unet import up_first  # here: configs are read without torch

    return up_first(tensors)


def told_misfit(misfit: str, name: str, config: Mapping[str, Any]) -> str:
    """One line for weights that do not fit the network named in the config.

    misfit: the first name or shape that does not fit.
    name: the network.
    config: in the newest format.
    """
    return (
        f"{misfit}. The folder was written by {writer(config)}, and {name} has other layers in {ours()}: use the "
        "version that wrote it, or train or convert the model again"
    )
