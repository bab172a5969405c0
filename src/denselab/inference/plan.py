"""How a picture is run, as one frozen value. All options end up in a Plan, which checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from denselab.crf import Parameters
from denselab.crf.parameters import Choice, parameters_for
from denselab.data.pixels.spectral import shown_as_rgb, with_display
from denselab.engine.engine import Engine
from denselab.engine.spec import ModelSpec
from denselab.errors import ConfigError
from denselab.inference.instances import InstanceWise, refuse_with
from denselab.inference.joining import Join
from denselab.inference.score_cache import ScoreCache
from denselab.numbers import flags, is_finite, listed, size, whole
from denselab.types import Image, Pixels

SCALES = (0.75, 1.0, 1.25)  # times the training size; DeepLab (v3+, section 4.1) uses 0.5 to 1.75
# The released nets take 4 and 8, the paper 40 to 50 (from memory); 20 estimate the variance to about a third.
SAMPLES = 20
SMALLEST_WINDOW = 16  # pixels


@dataclass(frozen=True)
class Plan:
    """What is done with a picture, from its pixels to its label map. Raises ConfigError for invalid values.

    engines: the engine that computes the logits; one, or those of the ensemble.
    window: (height, width) in network pixels of a window that slides over the picture at the training scale; None runs
        the whole picture, fitted into imgsz.
    scales, flip: the views whose softmax is averaged, with flip each scale also mirrored; (1.0,) and False is one plain
        run.
    samples: runs with dropout, at least 2, whose variance is the uncertainty; 0: no dropout.
    crf: parameters of a dense CRF that refines the probabilities at the picture's own size; None: no CRF.
    crf_fast: run the CRF at half the resolution, with the error stated in crf/fast.py.
    instances: run boxes of the picture instead of the whole; None: the whole, or windows.
    ensemble: several models, each run by its own plan, whose scores are joined; None: one model.
    display_bands: for pictures of other bands than RGB: which are shown and compared by the CRF; (): the model's.
    """

    engines: tuple[Engine, ...]
    window: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    samples: int = 0
    crf: Parameters | None = None
    crf_fast: bool = False
    instances: InstanceWise | None = None
    ensemble: Ensemble | None = None
    display_bands: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        flags(flip=self.flip, crf_fast=self.crf_fast)
        if self.ensemble is None and len(self.engines) != 1:
            raise ConfigError(f"a plan of {len(self.engines)} engines; give one")
        if self.window is not None:
            object.__setattr__(self, "window", check_window(self.window))
        if not self.scales or not all(is_finite(scale) and scale > 0 for scale in self.scales):
            raise ConfigError(f"test-time scales {self.scales}; give at least one, all above 0, such as 0.75, 1, 1.25")
        if self.samples != 0:
            check_samples(self.samples)
        with_display(self.spec.preprocessing.bands, self.display_bands)  # raises ConfigError
        refuse_with(self.instances, self.window, self.flip or self.scales != (1.0,), self.samples)
        if self.ensemble and (self.samples or self.instances):
            raise ConfigError("an ensemble has no `uncertainty`, and boxes are chosen for each of its models")

    @property
    def engine(self) -> Engine:
        """The engine that runs the plan."""
        return self.engines[0]

    @property
    def spec(self) -> ModelSpec:
        """What the model is; of an ensemble, its first model, without the temperature, which is that one's alone."""
        return replace(self.engine.spec, temperature=1.0) if self.ensemble else self.engine.spec

    def shown(self, image: Pixels) -> Image:
        """(H, W, 3) uint8: a picture as people see it; RGB as it is."""
        return shown_as_rgb(image, with_display(self.spec.preprocessing.bands, self.display_bands))

    def without_crf(self) -> Plan:
        """The same plan without its CRF, which ends with the network's own probabilities."""
        return replace(self, crf=None, crf_fast=False)


@dataclass(frozen=True)
class Member:
    """A model of an ensemble.

    plan: how it runs, without a CRF.
    digest: of its content, for cached scores; "": they are not cached.
    order: for each class of the ensemble, its index in this model.
    """

    plan: Plan
    digest: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Ensemble:
    """Models whose scores are joined. Raises ConfigError for invalid values.

    members: at least one; the first one's label table is the ensemble's.
    join: see inference.joining.
    weights: one for each member, for "mean" (of sum 1) and "product"; (): equal ones.
    cache: keeps the members' scores; None: they are computed each time.
    """

    members: tuple[Member, ...]
    join: Join = "mean"
    weights: tuple[float, ...] = ()
    cache: ScoreCache | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.members:
            raise ConfigError("an ensemble of no models; give two or more")
        if self.join not in get_args(Join):
            raise ConfigError(f"`ensemble` {self.join!r}; use one of {', '.join(get_args(Join))}")
        if self.weights and (
            len(self.weights) != len(self.members) or min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf")
        ):
            raise ConfigError(f"weights {self.weights} of {len(self.members)} models; give one of 0 or more for each")
        if self.weights and self.join == "release":
            raise ConfigError("ensemble 'release' takes no weights; use 'mean' or 'product'")
        if self.weights and self.join == "mean" and abs(sum(self.weights) - 1) > 1e-6:
            raise ConfigError(f"weights {self.weights} of a mean; they add up to {sum(self.weights):g}, not 1")


def joint_plan(
    ensemble: Ensemble, crf: Choice = None, crf_fast: bool = False, stored: Parameters | None = None
) -> Plan:
    """The plan for an ensemble. crf, crf_fast: as for Plan; stored: the CRF's parameters tuned for it."""
    flags(crf_fast=crf_fast)
    parameters = parameters_for(crf, stored)
    engines = tuple(member.plan.engine for member in ensemble.members)
    return Plan(engines, crf=parameters, crf_fast=crf_fast and parameters is not None, ensemble=ensemble)


def plan_for(
    engine: Engine,
    *,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    samples: int = 0,
    crf: Choice = None,
    crf_fast: bool = False,
    instances: InstanceWise | None = None,
    display_bands: Sequence[str | int] = (),
) -> Plan:
    """The plan for a caller's options; Plan and Predictor.__call__ explain them.

    Raises ConfigError for invalid values, and for samples of a model without dropout.
    """
    flags(tta=tta, crf_fast=crf_fast)
    parameters = parameters_for(crf, engine.spec.crf)
    scales = SCALES if tta else (1.0,)
    fast = crf_fast and parameters is not None
    shown = listed(display_bands, "`display_bands`")
    plan = Plan((engine,), window, scales, tta, samples, parameters, fast, instances, display_bands=shown)
    if samples:
        engine.require_sampling()
    return plan


def check_samples(samples: int) -> int:
    """Return the number of samples if it is enough for an uncertainty. Raises ConfigError."""
    if whole(samples, "`samples`") < 2:
        raise ConfigError(f"`samples` {samples}; an uncertainty needs 2 at least, {SAMPLES} are usual")
    return samples


def check_window(window: tuple[int, int]) -> tuple[int, int]:
    """Return the window (height, width). Raises ConfigError where it is none, or too small to be useful."""
    window = size(window, "`window`")
    if min(window) < SMALLEST_WINDOW:
        least = f"{SMALLEST_WINDOW}x{SMALLEST_WINDOW}"
        raise ConfigError(f"`window` {window[0]}x{window[1]}; use at least {least} pixels, 512x512 is usual")
    return window
