"""Several models as one predictor: made from predictors, saved as a model folder, loaded again.

EDeconvNet and EDeconvNet+CRF, the systems of DeconvNet's authors, are here by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denselab.crf import PRESETS as CRF_PRESETS
from denselab.crf import Parameters
from denselab.engine.content import content_of
from denselab.engine.ensemble_folder import StoredEnsemble, StoredMember, read_ensemble, write_ensemble
from denselab.engine.folder import load_engine, save_engine
from denselab.errors import CheckpointError, ConfigError
from denselab.inference.instances import PRESETS, InstanceWise
from denselab.inference.joining import Join
from denselab.inference.plan import Ensemble, Member, plan_for
from denselab.inference.score_cache import ScoreCache
from denselab.labels import LabelSpace, partners
from denselab.numbers import finite
from denselab.run_folder import CARD

if TYPE_CHECKING:
    from denselab.engine.engine import Engine

DECONVNET = "deconvnet"


@dataclass(frozen=True)
class Model:
    """A model that joins an ensemble.

    engine, folder: as of a Predictor.
    instances: run box by box; None: as a whole.
    window, tta: as for a Predictor.
    """

    engine: Engine
    folder: Path | None = None
    instances: InstanceWise | None = None
    window: tuple[int, int] | None = None
    tta: bool = False

    def how(self) -> dict[str, Any]:
        """What differs from a plain run, for JSON. Raises ConfigError for proposals that are a function."""
        found: dict[str, Any] = {"window": list(self.window) if self.window else None, "tta": self.tta or None}
        if self.instances:
            if not isinstance(self.instances.proposals, str):
                raise ConfigError("an ensemble with proposals that are a function cannot be saved; name a source")
            found["instances"] = self.instances.facts()
        if stride := self.engine.spec.architecture.output_stride:
            found["output_stride"] = stride
        return {key: value for key, value in found.items() if value is not None}


def ensemble_of(
    models: Sequence[Model], join: Join = "mean", weights: Sequence[float] = (), cache: ScoreCache | None = None
) -> Ensemble:
    """The ensemble of these models.

    weights: relative ones; a mean divides them by their sum.
    Raises ConfigError where the models do not know the same classes by name, and for invalid values.
    """
    given = tuple(finite(weight, "a weight of the ensemble") for weight in weights)
    if join == "mean" and given and sum(given) > 0:
        given = tuple(weight / sum(given) for weight in given)
    space = models[0].engine.spec.label_space if models else None
    _require_same_bands(models)
    members = [
        Member(
            plan_for(model.engine, window=model.window, tta=model.tta, instances=model.instances),
            content_of(model.engine),
            _order(space, model.engine.spec.label_space, number),
        )
        for number, model in enumerate(models, 1)
        if space is not None
    ]
    return Ensemble(tuple(members), join, given, cache)


def edeconvnet(models: Sequence[Model]) -> list[Model]:
    """The two models as EDeconvNet runs them: DeconvNet on boxes as released, the other on whole pictures.

    Raises ConfigError where not exactly one of two is a DeconvNet.
    """
    ours = [model.engine.spec.architecture.name.startswith(DECONVNET) for model in models]
    if len(models) != 2 or sum(ours) != 1:
        names = ", ".join(model.engine.spec.architecture.name for model in models)
        raise ConfigError(
            f"ensemble 'edeconvnet' of {names}; it joins two models: a deconvnet, run on boxes, and another, such as "
            "fcn8s, run on whole pictures"
        )
    boxed = [(m, m.instances or PRESETS["release"]) if own else (m, None) for m, own in zip(models, ours, strict=True)]
    return [replace(model, instances=instances) for model, instances in boxed]


EDECONVNET_CRF: Parameters = CRF_PRESETS["deconvnet"]  # the release's CRF behind it


def save_ensemble(
    models: Sequence[Model],
    join: Join,
    weights: Sequence[float],
    folder: Path,
    crf: Parameters | None = None,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model folder that `load` and `denselab predict` take. Model folders are linked where the disk can.

    crf: the parameters of a dense CRF that belongs to it.
    more: further files of the folder, by name.
    Raises ResourceError, ConfigError.
    """
    members = tuple(StoredMember("", model.how()) for model in models)
    stored = StoredEnsemble(join, tuple(float(w) for w in weights), members, crf)
    writers: list[tuple[str, Path | Callable[[Path], None]]] = [
        (model.engine.spec.architecture.name, model.folder or partial(save_engine, model.engine)) for model in models
    ]
    write_ensemble(folder, writers, stored, {CARD: ensemble_card(models, stored).encode(), **(more or {})})


def load_models(folder: Path, device: str = "auto") -> tuple[list[Model], StoredEnsemble]:
    """The models of an ensemble's folder, and its record. Raises CheckpointError, ConfigError."""
    stored = read_ensemble(folder)
    models = []
    for member in stored.members:
        how, place = member.how, folder / member.folder
        try:
            instances = InstanceWise(**how["instances"]) if how.get("instances") else None
            window = (int(how["window"][0]), int(how["window"][1])) if how.get("window") else None
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder}: how {member.folder} is run cannot be read: {error!r}") from None
        engine = load_engine(place, device, how.get("output_stride") if _changes_stride(place, how) else None)
        models.append(Model(engine, place, instances, window, bool(how.get("tta"))))
    return models, stored


def ensemble_card(models: Sequence[Model], stored: StoredEnsemble) -> str:
    """The README of an ensemble's folder."""
    rows = []
    for number, model in enumerate(models):
        ways = [model.instances.told()] if model.instances else []
        ways += [f"window {model.window[0]}x{model.window[1]}"] if model.window else []
        ways += ["sizes and mirrored views"] if model.tta else []
        weight = f"{stored.weights[number]:.3g}" if stored.weights else "equal"
        rows.append(
            f"| {number + 1} | {model.engine.spec.architecture.name} | {weight} | {'; '.join(ways) or 'whole'} |"
        )
    table = "\n".join(rows)
    return f"""---
library_name: denselab
pipeline_tag: image-segmentation
---
# An ensemble of {len(models)} models, joined by {stored.join}

```python
import denselab as dl
result = dl.load("this folder")("photo.jpg")
```

| # | network | weight | run |
|---|---|---|---|
{table}
"""


def _changes_stride(folder: Path, how: Mapping[str, Any]) -> bool:
    from denselab.engine.stored_spec import read_spec

    return how.get("output_stride") not in (None, read_spec(folder).architecture.output_stride)


def _require_same_bands(models: Sequence[Model]) -> None:
    """Raise ConfigError unless all models take pictures of the same bands: each picture is read once for all."""
    seen = [model.engine.spec.preprocessing.bands for model in models]
    kinds = [None if bands is None else (bands.names, bands.real, bands.take, bands.files) for bands in seen]
    for number, kind in enumerate(kinds, 1):
        if kind != kinds[0]:
            own, first = ("RGB" if bands is None else bands.told() for bands in (seen[number - 1], seen[0]))
            raise ConfigError(
                f"model {number} of the ensemble takes pictures of {own}, the first model {first}; an ensemble joins "
                "models of the same bands"
            )


def _order(first: LabelSpace, own: LabelSpace, number: int) -> tuple[int, ...]:
    """For each class of the first model its index in another. Raises ConfigError where the names differ."""
    partner = partners(first.names, own.names)
    if not len(partner) == first.num_classes == own.num_classes:
        raise ConfigError(
            f"model {number} of the ensemble knows the classes {', '.join(own.names[:12])}, the first model "
            f"{', '.join(first.names[:12])}; an ensemble joins models of the same classes"
        )
    return tuple(own.names.index(partner[name]) for name in first.names)
