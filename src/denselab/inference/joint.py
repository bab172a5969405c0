"""The models behind a predictor that is an ensemble: its plan for a caller's options, its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from denselab.crf import Parameters
from denselab.crf.parameters import Choice
from denselab.engine.engine import Engine
from denselab.errors import ConfigError
from denselab.inference.ensembles import (
    EDECONVNET_CRF,
    Model,
    edeconvnet,
    ensemble_of,
    load_models,
    save_ensemble,
)
from denselab.inference.instances import InstanceWise
from denselab.inference.joining import Join
from denselab.inference.plan import Plan, joint_plan
from denselab.inference.score_cache import ScoreCache
from denselab.numbers import flags, listed


@dataclass(frozen=True)
class Joint:
    """Models, and how their scores are joined.

    weights: as for Ensemble; crf: the parameters of a dense CRF that belongs to it.
    cache: of the models' scores; None: none.
    """

    models: tuple[Model, ...]
    join: Join
    weights: tuple[float, ...] = ()
    crf: Parameters | None = None
    cache: ScoreCache | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        ensemble_of(self.models, self.join, self.weights)  # raises where they do not fit

    def __str__(self) -> str:
        return f"{self.join} of {', '.join(model.engine.spec.architecture.name for model in self.models)}"

    def plan(
        self,
        *,
        window: tuple[int, int] | None = None,
        tta: bool = False,
        samples: int = 0,
        crf: Choice = None,
        crf_fast: bool = False,
        instances: InstanceWise | None = None,
        display_bands: Sequence[str | int] = (),
    ) -> Plan:
        """The plan for the options of `plan_for`. Raises ConfigError.

        window, tta: of each model that is not run box by box.
        """
        flags(tta=tta)
        if samples:
            raise ConfigError("an ensemble has no `uncertainty`; ask one of its models")
        models = [_changed(model, window, tta, instances) for model in self.models]
        joined = joint_plan(ensemble_of(models, self.join, self.weights, self.cache), crf, crf_fast, self.crf)
        return replace(joined, display_bands=listed(display_bands, "`display_bands`"))

    def alone(self, number: int) -> Plan:
        """The plan of one of the models, with its cached scores; number: from 0."""
        return joint_plan(ensemble_of([self.models[number]], "mean", (), self.cache))

    def save(self, folder: Path, more: Mapping[str, bytes] | None = None) -> None:
        """Write a model folder. more: further files of it. Raises ResourceError, ConfigError."""
        save_ensemble(self.models, self.join, self.weights, folder, self.crf, more)


def joint_of(
    models: Sequence[tuple[Engine, Path | None]],
    join: str,
    weights: Sequence[float] = (),
    *,
    instances: InstanceWise | None = None,
    window: tuple[int, int] | None = None,
    tta: bool = False,
    cache: bool | ScoreCache = True,
) -> Joint:
    """The ensemble of these engines, each with the folder it came from.

    join: as for Ensemble; or "edeconvnet", "edeconvnet+crf": DeconvNet on boxes and another network on whole pictures,
        joined as released, and the release's CRF.
    instances, window, tta: how each is run.
    cache: keep scores, where the user's cache is or in the one given.
    Raises ConfigError.
    """
    flags(tta=tta, **({} if isinstance(cache, ScoreCache) else {"cache": cache}))
    whole = [Model(engine, folder, instances, window, tta) for engine, folder in models]
    kept = cache if isinstance(cache, ScoreCache) else ScoreCache() if cache else None
    if join in ("edeconvnet", "edeconvnet+crf"):
        crf = EDECONVNET_CRF if join.endswith("crf") else None
        return Joint(tuple(edeconvnet(whole)), "release", (), crf, kept)
    ensemble = ensemble_of(whole, join, weights)  # type: ignore[arg-type]  # which checks the name
    return Joint(tuple(whole), ensemble.join, ensemble.weights, None, kept)


def load_joint(folder: Path, device: str = "auto", cache: bool = True) -> Joint:
    """The ensemble in a folder. Raises CheckpointError."""
    flags(cache=cache)
    models, stored = load_models(folder, device)
    kept = ScoreCache() if cache else None
    return Joint(tuple(models), stored.join, stored.weights, stored.crf, kept)  # type: ignore[arg-type]  # checked


def _changed(model: Model, window: tuple[int, int] | None, tta: bool, instances: InstanceWise | None) -> Model:
    if instances:
        return replace(model, instances=instances, window=None, tta=False)
    if model.instances:
        return model
    return replace(model, window=window or model.window, tta=tta or model.tta)
