"""The start of a training in a new installation: which loops it needs compiled, and whether its time allows that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from denselab.config import Settings
from denselab.config.settings import Precision
from denselab.engine.device import resolve_device
from denselab.layers.compiled_step import loops_left_out
from denselab.layers.cpu.swap import kinds_of
from denselab.layers.cpu.team import can_run
from denselab.models.base import SegmentationModel
from denselab.training.loops import LAYERS, LOSS, PICTURES, begin, missing, seconds, wait
from denselab.training.precision import precision_on

logger = logging.getLogger(__name__)

LARGEST_SHARE = 0.5  # of a run's time that compiling the loops of its steps may take


@contextmanager
def loops_beside(settings: Settings) -> Iterator[None]:
    """Within it, a training runs: what every one needs is being compiled, or left out where the time is too short."""
    device = resolve_device(settings.device)
    halves = precision_on(device.type, settings.precision) == "bf16"
    steps = LAYERS | LOSS if _takes(device) else set()
    needed = seconds(missing(steps, halves))
    short = bool(steps) and settings.time is not None and needed > LARGEST_SHARE * settings.time
    if short:
        logger.info(
            f"denselab: compiling the loops of a training step would take about {needed:.0f} of {settings.time:.0f} s: "
            "this run does without them, in slower steps; one of a minute or more compiles them for all that follow"
        )
    with loops_left_out() if short else nullcontext():
        if short or not steps:
            begin({PICTURES}, halves)
        else:
            begin({PICTURES, *LOSS}, halves, coming=LAYERS)
        yield


def begin_layers(network: SegmentationModel, device: torch.device, precision: Precision) -> None:
    """Begin to compile the loops of a network's layers."""
    if _takes(device):
        begin(kinds_of(network), precision == "bf16")


def compile_for(network: SegmentationModel, device: torch.device, precision: Precision) -> None:
    """Have all loops compiled that a step of this network takes; what is begun already is waited for."""
    begin({PICTURES, *LOSS} if _takes(device) else {PICTURES}, precision == "bf16")
    begin_layers(network, device, precision)
    wait()


def _takes(device: torch.device) -> bool:
    return device.type == "cpu" and can_run()
