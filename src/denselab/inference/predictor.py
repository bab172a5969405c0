"""The trained model as a function: a picture in any form goes in, a Prediction comes out.

    predictor = denselab.load("runs/streets")
    result = predictor("photo.jpg")

Folders and hub ids hold safetensors and JSON; loading them runs no code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from denselab.crf.parameters import Choice
from denselab.engine.engine import Engine
from denselab.engine.ensemble_folder import is_ensemble
from denselab.engine.hub import is_torchvision
from denselab.engine.open import EngineName, model_folder, open_folder, open_model
from denselab.engine.spec import ModelSpec
from denselab.errors import ConfigError
from denselab.inference.ahead import read_ahead
from denselab.inference.inputs import Source, by_picture
from denselab.inference.instances import InstanceWise
from denselab.inference.joining import Join
from denselab.inference.pictures import Picture, as_pixels, files_of, name_of, named, several
from denselab.inference.plan import SAMPLES, Plan, check_samples, plan_for
from denselab.inference.prediction import Prediction
from denselab.inference.run import labels_of, probs_of, run
from denselab.inference.side_by_side import side_by_side
from denselab.labels import LabelSpace
from denselab.numbers import flag, flags, listed
from denselab.paths import given_path
from denselab.types import LabelMap, Pixels

if TYPE_CHECKING:
    from denselab.inference.joint import Joint

Thing = TypeVar("Thing")


class Predictor:
    """A model with everything around it: inputs of any kind, windows, test-time augmentation, the CRF, hub folders."""

    def __init__(self, engine: Engine, folder: Path | None = None, joint: Joint | None = None) -> None:
        """The predictor of an engine.

        engine: what runs the model; of an ensemble, its first model.
        folder: where the model was loaded from, if anywhere; `save_pretrained` copies it byte for byte.
        joint: the models of an ensemble; `Predictor.ensemble` makes it.
        """
        self.engine = engine
        self.folder = folder
        self.joint = joint

    def __repr__(self) -> str:
        architecture = self.spec.architecture
        encoder = f" on {architecture.encoder}" if architecture.encoder else ""
        model = self.joint or f"{architecture.name}{encoder}"
        return f"Predictor({model}, {self.label_space.num_classes} classes, {self.device})"

    @property
    def spec(self) -> ModelSpec:
        """What the model is: architecture, label table, preprocessing, scores, tuned CRF; of an ensemble, the first."""
        if self.joint is None:
            return self.engine.spec
        return replace(self.engine.spec, crf=self.joint.crf, scores={}, temperature=1.0)

    @property
    def label_space(self) -> LabelSpace:
        """The model's label table."""
        return self.spec.label_space

    @property
    def device(self) -> Any:
        """The device the network runs on."""
        return self.engine.device

    def __call__(
        self,
        picture: Picture | Sequence[Picture],
        *,
        tta: bool = False,
        window: tuple[int, int] | None = None,
        uncertainty: bool = False,
        samples: int = SAMPLES,
        crf: Choice = None,
        crf_fast: bool = False,
        instances: InstanceWise | None = None,
        name: str = "",
        display_bands: Sequence[str | int] = (),
    ) -> Any:
        """Predict one picture or many; the return type follows from the input.

        picture:
            one picture (a path, a PIL picture, a (H, W, 3) or (H, W) uint8 array, a (3, H, W) tensor): its Prediction;
            for a model of other bands a path, (H, W, C) array or (C, H, W) tensor, in the files' numbers;
            a list or tuple of pictures, a batch (B, H, W, 3) uint8 or a tensor (B, 3, H, W): a list, in the same order;
            a folder, searched with its subfolders, or a pattern such as "in/*.jpg": an iterator over its pictures,
            sorted by path. It reads and predicts as you go, on a CPU a few pictures at once, so any number of them
            fits in memory; list() collects all.
        tta: average over sizes and mirrored views.
        window: (height, width) network pixels, slid over the picture at the training scale, for much larger pictures.
        uncertainty: run the network `samples` times with dropout on; the prediction is the mean.
        samples: number of those runs, at least 2.
        crf: refine the probabilities with the dense CRF. True: with the parameters tuned for the model, else the preset
            "deeplab_v2"; or a preset's name or denselab.crf.Parameters. `Prediction.probs` then holds the marginals.
        crf_fast: run the CRF at half the resolution, faster and nearly the same (docs/crf.md).
        instances: run boxes of the picture one by one and join their scores, as DeconvNet does: InstanceWise(), or
            PRESETS["release"] of inference.instances.
        name: the prediction's name, also used for its files. Default: the file's own, relative to the folder that was
            given, or "picture". If several share a name, their positions are appended.
        display_bands: for a model of other bands than RGB: the band, or the three, that the pictures show and the CRF
            compares, by name or by number from 1. Default: those of the training data.
        Raises ConfigError for invalid options, DataError for unreadable files, ShapeError for arrays that are not
        pictures, ResourceError where probabilities are needed and do not fit in memory.
        """
        runs = check_samples(samples) if flag(uncertainty, "`uncertainty`") else 0
        of_crf: dict[str, Any] = {"crf": crf, "crf_fast": crf_fast, "display_bands": display_bands}
        plan = self.plan(tta=tta, window=window, samples=runs, instances=instances, **of_crf)
        preprocessing = self.spec.preprocessing
        if (sources := files_of(picture)) is not None:
            return _of_files(plan, by_picture(sources, preprocessing.bands)[0])
        if (pictures := several(picture)) is not None:
            # prepared in this thread: one PIL picture, which may be in the list twice, is not loaded by two
            prepared = ((own, as_pixels(one, preprocessing)) for own, one in named(pictures, name))
            return list(_predictions(plan, prepared, lambda pixels: pixels, len(pictures)))
        return run(plan, as_pixels(one := cast(Picture, picture), preprocessing), name or name_of(one))

    def plan(
        self,
        *,
        tta: bool = False,
        window: tuple[int, int] | None = None,
        samples: int = 0,
        crf: Choice = None,
        crf_fast: bool = False,
        instances: InstanceWise | None = None,
        display_bands: Sequence[str | int] = (),
    ) -> Plan:
        """These options as one checked value, for `labels` and `probs`.

        samples: 0 for no uncertainty.
        """
        make = self.joint.plan if self.joint else partial(plan_for, self.engine)
        return make(
            window=window,
            tta=tta,
            samples=samples,
            crf=crf,
            crf_fast=crf_fast,
            instances=instances,
            display_bands=display_bands,
        )

    def labels(self, image: Pixels, plan: Plan | None = None) -> LabelMap:
        """(H, W) class indices of a (H, W, 3) uint8 picture.

        Without a CRF memory is bounded, whatever the number of classes.
        """
        return labels_of(plan or self.plan(), image)

    def probs(self, image: Pixels, plan: Plan | None = None) -> NDArray[np.float32]:
        """(K, H, W) float32 probabilities of a (H, W, 3) uint8 picture.

        Raises ResourceError if they do not fit in memory.
        """
        return probs_of(plan or self.plan(), image)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str = "auto",
        output_stride: int | None = None,
        engine: EngineName = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        cache: bool = True,
    ) -> Predictor:
        """Load a model folder, a run folder, a hub id such as "owner/name", or "torchvision:deeplabv3_resnet50".

        The network connection is used only for the last two, if their files are not cached.
        output_stride: use one other than in training, see `load`.
        engine: what runs the model, see `load`.
        revision, token, cache_dir, local_files_only: hub options.
        cache: of an ensemble, see `load`.
        """
        flags(local_files_only=local_files_only, cache=cache)
        given_path(pretrained_model_name_or_path, "the model's name")
        name = str(pretrained_model_name_or_path)
        if is_torchvision(name):
            return cls(*open_model(name, device, output_stride, engine))
        folder = model_folder(
            name, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
        )
        if not is_ensemble(folder):
            return cls(open_folder(folder, device, output_stride, engine), folder)
        from denselab.inference.joint import load_joint

        joint = load_joint(folder, device, cache)
        return cls(joint.models[0].engine, folder, joint)

    @classmethod
    def ensemble(
        cls,
        models: Sequence[str | Path | Predictor],
        join: Join = "mean",
        weights: Sequence[float] = (),
        *,
        device: str = "auto",
        cache: bool = True,
    ) -> Predictor:
        """Several models of the same classes as one, whose scores are joined; `save_pretrained` makes it a folder.

        join: "mean" or "product" of the probabilities, or "release": the product of raw scores clipped at 0.
        weights: of the mean, or exponents of the product; (): equal ones.
        cache: keep each model's scores on disk, so that no network runs twice on a picture.
        Raises ConfigError for models of different classes, and for a model that is an ensemble.
        """
        from denselab.inference.joint import joint_of

        given = listed(models, "`models`")
        loaded = [model if isinstance(model, Predictor) else load(model, device) for model in given]
        joint = joint_of(networks_of(loaded), join, listed(weights, "`weights`"), cache=cache)
        return cls(joint.models[0].engine, None, joint)

    def save_pretrained(self, save_directory: str | Path) -> Path:
        """Write the model folder: model.safetensors, config.json, README.md, manifest.json. Raises ResourceError."""
        from denselab.engine.stored_spec import read_spec
        from denselab.folders import read_folder, write_folder

        target = Path(save_directory)
        if self.joint:
            self.joint.save(target)
            return target
        # a spec may be another than its folder's: loaded with another output stride
        if self.folder is None or read_spec(self.folder) != self.spec:
            from denselab.engine.folder import save_engine  # here: it needs torch

            save_engine(self.engine, target)
        elif target.resolve() != self.folder.resolve():
            write_folder(target, read_folder(self.folder), remedy="choose another folder")
        return target

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | bool | None = None) -> str:
        """Upload the model folder to the Hugging Face hub as `owner/name`; returns its URL. Needs a login or token."""
        from denselab.engine.hub import upload_model

        flags(private=private)
        return upload_model(self.save_pretrained, repo_id, private, token)


def load(
    name: str | Path,
    device: str = "auto",
    output_stride: int | None = None,
    engine: EngineName = "auto",
    *,
    cache: bool = True,
) -> Predictor:
    """The predictor of a model folder, a run folder, a hub id "owner/name", or "torchvision:deeplabv3_resnet50".

    device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    output_stride: use one other than in training, with the same weights. At 8 instead of 16 DeepLab's authors gained
        1.3 points of mIoU with v3 and 0.5 with v3+ (VOC 2012 val), for about three times the computation.
    engine: "torch" runs weights, "onnx" and "openvino" what `denselab export` wrote, without torch; "auto" takes what
        the folder holds.
    cache: of an ensemble: keep each model's scores on disk, so that no network runs twice on a picture.
    Raises ConfigError where the network offers no choice of output stride, or the folder holds nothing for the engine.
    """
    return Predictor.from_pretrained(name, device=device, output_stride=output_stride, engine=engine, cache=cache)


def networks_of(models: Sequence[Predictor]) -> list[tuple[Engine, Path | None]]:
    """(engine, folder) of each model, to be joined. Raises ConfigError for one that is an ensemble itself."""
    if any(model.joint for model in models):
        raise ConfigError("an ensemble of ensembles; give the models themselves")
    return [(model.engine, model.folder) for model in models]


def _of_files(plan: Plan, sources: Sequence[Source]) -> Iterator[Prediction]:
    files = ((str(source.stem), source) for source in sources)
    return _predictions(plan, files, lambda source: source.read(plan.spec.preprocessing), len(sources))


def _predictions(
    plan: Plan, pictures: Iterable[tuple[str, Thing]], read: Callable[[Thing], Pixels], count: int
) -> Iterator[Prediction]:
    """The prediction of each of so many (name, picture), in order. read: its pixels; runs in another thread."""

    def look(picture: tuple[str, Thing]) -> Pixels | Prediction:
        pixels = read(picture[1])
        return run(beside.plan, pixels, picture[0]) if beside.takes(pixels) else pixels

    with side_by_side(plan, count) as beside:
        for (name, _), looking in read_ahead(pictures, look, *beside.ahead()):
            found = looking.result()
            yield found if isinstance(found, Prediction) else run(plan, found, name)
