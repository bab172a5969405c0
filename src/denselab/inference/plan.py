"""How a picture is run, as one frozen value. All options end up in a Plan, which checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from denselab.crf import Parameters
from denselab.crf.parameters import Choice, parameters_for
from denselab.data.read.spectral import shown_as_rgb, with_display
from denselab.engine.engine import Engine
from denselab.engine.spec import ModelSpec
from denselab.errors import ConfigError
from denselab.types import Image, Pixels

SCALES = (0.75, 1.0, 1.25)  # times the training size; DeepLab (v3+, section 4.1) uses 0.5 to 1.75
SAMPLES = (
    20  # the released nets take 4 and 8, the paper 40 to 50 (from memory); 20 estimate the variance to about a third
)
SMALLEST_WINDOW = 16  # pixels


@dataclass(frozen=True)
class Plan:
    """What is done with a picture, from its pixels to its label map. Raises ConfigError for invalid values.

    engines: the engine that computes the logits; exactly one.
    window: (height, width) in network pixels of a window that slides over the picture at the training scale; None runs
        the whole picture, fitted into imgsz.
    scales, flip: the views whose softmax is averaged, with flip each scale also mirrored; (1.0,) and False is one plain
        run.
    samples: runs with dropout, at least 2, whose variance is the uncertainty; 0: no dropout.
    crf: parameters of a dense CRF that refines the probabilities at the picture's own size; None: no CRF.
    crf_fast: run the CRF at half the resolution, with the error stated in crf/fast.py.
    display_bands: for pictures of other bands than RGB: which are shown and compared by the CRF; (): the model's.
    """

    engines: tuple[Engine, ...]
    window: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    samples: int = 0
    crf: Parameters | None = None
    crf_fast: bool = False
    display_bands: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.engines) != 1:
            raise ConfigError(f"a plan of {len(self.engines)} engines; give one")
        if self.window is not None:
            check_window(self.window)
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"test-time scales {self.scales}; give at least one, all above 0, such as 0.75, 1, 1.25")
        if self.samples != 0:
            check_samples(self.samples)
        with_display(self.spec.preprocessing.bands, self.display_bands)  # raises ConfigError

    @property
    def engine(self) -> Engine:
        """The engine that runs the plan."""
        return self.engines[0]

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        return self.engine.spec

    def shown(self, image: Pixels) -> Image:
        """(H, W, 3) uint8: a picture as people see it; RGB as it is."""
        return shown_as_rgb(image, with_display(self.spec.preprocessing.bands, self.display_bands))

    def without_crf(self) -> Plan:
        """The same plan without its CRF, which ends with the network's own probabilities."""
        return replace(self, crf=None, crf_fast=False)


def plan_for(
    engine: Engine,
    *,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    samples: int = 0,
    crf: Choice = None,
    crf_fast: bool = False,
    display_bands: Sequence[str | int] = (),
) -> Plan:
    """The plan for a caller's options; Plan and Predictor.__call__ explain them.

    Raises ConfigError for invalid values, and for samples of a model without dropout.
    """
    parameters = parameters_for(crf, engine.spec.crf)
    scales = SCALES if tta else (1.0,)
    fast = crf_fast and parameters is not None
    plan = Plan((engine,), window, scales, tta, samples, parameters, fast, tuple(display_bands))
    if samples:
        engine.require_sampling()
    return plan


def check_samples(samples: int) -> int:
    """Return the number of samples if it is enough for an uncertainty. Raises ConfigError."""
    if samples < 2:
        raise ConfigError(f"{samples} samples; an uncertainty needs 2 at least, {SAMPLES} are usual")
    return samples


def check_window(window: tuple[int, int]) -> None:
    """Raise ConfigError for a window (height, width) that is too small to be useful."""
    if min(window) < SMALLEST_WINDOW:
        raise ConfigError(
            f"window {window[0]}x{window[1]}; use at least {SMALLEST_WINDOW}x{SMALLEST_WINDOW} pixels, 512x512 is usual"
        )
