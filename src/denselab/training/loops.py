"""The loops that a training runs, compiled beside its start where none are kept yet, as in a new installation.

They take a quarter of a minute of a core. How long a step takes, and so how many fit into the time, is not known before
they are there. So processes of their own compile them while this one reads the data and makes the network, and the
first step waits for them. This module imports no torch: it is what these processes run.
"""

import logging
import os
from collections.abc import Callable, Collection
from importlib import import_module
from subprocess import Popen
from typing import Any

from denselab.compiled.beside import is_beside, start
from denselab.runtime import cpu_count

logger = logging.getLogger(__name__)

PROGRAM = "denselab.training.loops"
KERNELS = "denselab.layers.cpu.{}_kernels"
PICTURES, LOSS, LAYERS = "pictures", {"enlarge", "softmax"}, {"norm", "depthwise"}  # by the names of their modules
SECONDS = {PICTURES: 3.0, "enlarge": 2.6, "softmax": 1.6, "norm": 2.2, "depthwise": 3.0}  # of a core (docs/log.md)
START_SECONDS = 5.0  # of a core, for the start of these processes and of the one that waits
STEPS = {
    "enlarge": ("enlarged", "shrunk"),
    "softmax": ("softmax_sums", "softmax_slopes"),
    "norm": ("sums", "apply", "gradient_sums", "gradient", "resting_gradient"),
    "depthwise": ("gradients",),
}
SINGLE = "softmax"  # computes in float32 whatever the run does
ALSO_SINGLE = {"enlarged", "shrunk", "apply"}  # in half precision, too: logits and validations are in float32
_begun: dict[tuple[str, bool], "Popen[str]"] = {}


def begin(kinds: Collection[str], halves: bool, coming: Collection[str] = ()) -> None:
    """Begin to compile what is not kept yet of these kinds, on the cores that compile nothing yet, and return at once.

    halves: whether the run computes in bfloat16
    coming: kinds that may be begun later, which the user is told of now
    """
    wanted = missing([kind for kind in kinds if (kind, halves) not in _begun], halves)
    if wanted and not _begun:
        logger.info(
            "denselab: compiling the loops of training for this machine, beside what else is to be prepared (about "
            f"{seconds(wanted | missing(coming, halves)):.0f} s, once: they are kept)"
        )
    free = cpu_count() - len({process for process in _begun.values() if process.poll() is None})
    for group in shared_out(wanted, max(free, 1)):
        process = start(PROGRAM, _maps(halves), *group)
        _begun.update(((kind, halves), process) for kind in group)


def wait() -> None:
    """Wait for what was begun. What a process could not keep is compiled by this one, when it is first called."""
    for process in _begun.values():
        process.wait()


def missing(kinds: Collection[str], halves: bool) -> set[str]:
    """Those of the kinds whose code could be kept, but is not.

    Of several processes that train together the first compiles, and the others wait for its plan.
    """
    other = is_beside() or os.environ.get("LOCAL_RANK", "0") != "0"
    return set() if other else {kind for kind in kinds if _is_missing(kind, _maps(halves))}


def shared_out(kinds: Collection[str], count: int) -> list[list[str]]:
    """The kinds in at most `count` groups that take about as long as each other; none is empty."""
    groups: list[list[str]] = [[] for _ in range(min(count, len(kinds)))]
    for kind in sorted(kinds, key=lambda kind: (-SECONDS[kind], kind)):
        min(groups, key=lambda group: sum(SECONDS[other] for other in group)).append(kind)
    return groups


def seconds(kinds: Collection[str]) -> float:
    """How long compiling all of these kinds takes here, about."""
    each = [SECONDS[kind] for kind in kinds]
    return max((sum(each) + START_SECONDS) / cpu_count(), *each) if each else 0.0


def _maps(halves: bool) -> str:
    return "bfloat16" if halves else "float32"


def main(maps: str, *kinds: str) -> int:
    """Compile kinds of loops; returns the exit code. maps: of a run's layers, "float32" or "bfloat16"."""
    from denselab.compiled.jobs import job_function

    for kind in kinds:
        for function, numbers in jobs(kind, maps) if kind in STEPS else ():
            job_function(function, numbers)
        for _, compile_one in _of_pictures() if kind == PICTURES else ():
            compile_one()
    return 0


def jobs(kind: str, maps: str) -> list[tuple[Callable[..., Any], str]]:
    """The job functions of a kind that a run with such maps calls, and the maps of each."""
    module = import_module(KERNELS.format(kind))
    single = {"float32"}
    return [
        (getattr(module, name), numbers)
        for name in STEPS[kind]
        for numbers in sorted(single if kind == SINGLE else {maps} | (single if name in ALSO_SINGLE else set()))
    ]


def _is_missing(kind: str, maps: str) -> bool:
    if kind == PICTURES:
        from denselab.compiled.code_cache import to_be_kept

        return any(to_be_kept(loop) for loop, _ in _of_pictures())
    from denselab.compiled.jobs import job_to_be_kept

    return any(job_to_be_kept(function, numbers) for function, numbers in jobs(kind, maps))


def _of_pictures() -> list[tuple[Any, Callable[[], object]]]:
    """The loops that read pictures and labels, and calls that compile them."""
    import numpy as np

    from denselab.data.resizing import resample

    labels, image = np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8)
    window = (0, 0, 2, 2)
    return [
        (resample._nearest_labels, lambda: resample.resample_labels(labels, (2, 2), window, labels.copy())),
        (resample._resample, lambda: resample.resample_image(image, (2, 2), window, image.copy())),
        (resample._largest_share, lambda: resample.largest_share(labels, (2, 2), window, 255, 1)),
    ]
