"""The trained model as a function: a picture in any form goes in, a Prediction comes out.

    predictor = denselab.load("runs/streets")
    result = predictor("photo.jpg")

Folders and hub ids hold safetensors and JSON; nothing that is loaded can run code.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from denselab.crf import Parameters, refined
from denselab.crf.parameters import Choice, parameters_for
from denselab.engine.hub import download_model, is_hub_id, upload_model
from denselab.engine.segmenter import Segmenter, load_segmenter, save_segmenter
from denselab.engine.torchvision_weights import is_torchvision, load_torchvision
from denselab.errors import ConfigError, ResourceError
from denselab.files import read_folder, write_folder
from denselab.inference.augmented import SCALES, blended_labels, blended_probs, run_views
from denselab.inference.inputs import Picture, as_image
from denselab.inference.prediction import Prediction
from denselab.inference.tiling import window_all_probs, window_labels
from denselab.inference.uncertainty import SAMPLES, Note, dropout_sampled, sampled_planes
from denselab.labels import LabelSpace
from denselab.run_folder import MODEL_FILES, find_model_folder
from denselab.runtime import total_memory
from denselab.types import Image, LabelMap

logger = logging.getLogger(__name__)

BYTES_PER_PIXEL = 2048  # activations alive at once in the widest layers: U-Net and VGG hold 2 to 4 maps of 64 float32
AUTO_WINDOW = (768, 768)  # network pixels, for pictures that would not fit in memory at once

Result = TypeVar("Result")
Views = Callable[[], list[torch.Tensor]]
Blend = Callable[[Views, tuple[int, int]], NDArray[np.float32]]
"""(a run over the views of a picture or window, its size) -> planes (P, H, W) of that size."""


@dataclass(frozen=True)
class Options:
    """How a picture is run. window: (height, width) in the network's pixels, None = whole picture fitted into imgsz.

    scales, flip: views whose softmax is averaged; (1.0,) and False is one plain run.
    crf: the parameters of a dense CRF that refines the probabilities at the picture's own size; None for none.
    crf_fast: run it at half the resolution, with the error that crf/fast.py states.
    """

    window: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: Parameters | None = None
    crf_fast: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and min(self.window) < 16:
            raise ConfigError(f"window {self.window[0]}x{self.window[1]}; use at least 16x16 pixels, 512x512 is usual")

    @staticmethod
    def of(tta: bool, window: tuple[int, int] | None, crf: Parameters | None = None) -> "Options":
        """The options behind --tta, --window and --crf."""
        return Options(window, SCALES, True, crf) if tta else Options(window, crf=crf)


PLAIN = Options()


class Predictor:
    """A Segmenter with everything around it: inputs of any kind, windows, test-time augmentation, hub folders."""

    def __init__(self, segmenter: Segmenter, folder: Path | None = None) -> None:
        """folder: where the model was loaded from, if it was; `save_pretrained` copies it byte for byte."""
        self.segmenter = segmenter
        self.folder = folder

    @property
    def label_space(self) -> LabelSpace:
        """The model's label table."""
        return self.segmenter.label_space

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.segmenter.device

    def __call__(
        self,
        picture: Picture,
        *,
        tta: bool = False,
        window: tuple[int, int] | None = None,
        uncertainty: bool = False,
        samples: int = SAMPLES,
        crf: Choice = None,
        crf_fast: bool = False,
        name: str = "",
    ) -> Prediction:
        """Predict one picture: a path, PIL picture, (H, W, 3) or (H, W) uint8 array, or (3, H, W) tensor.

        tta: average over sizes and mirrored views. window: slide a window of (height, width) network pixels at the
        scale of training, for pictures much larger than those of the training. uncertainty: run the network `samples`
        times with its dropout on; the prediction is the mean, and `Prediction.uncertainty` the variance. crf: refine the
        probabilities with the dense CRF; True: with the parameters tuned for the model, else the preset "deeplab_v2";
        or a preset's name or denselab.crf.Parameters. `Prediction.probs` then are the marginals. crf_fast: the CRF
        at half the resolution, faster and nearly the same (docs/crf.md).
        """
        image, options = as_image(picture), Options.of(tta, window, parameters_for(crf, self.segmenter.crf))
        options = replace(options, crf_fast=crf_fast and options.crf is not None)
        name = name or (Path(picture).stem if isinstance(picture, str | Path) else "picture")
        if uncertainty:
            return self.sampled(image, options, samples, name)
        if options.crf:  # one run gives both: the labels are where the marginals are largest
            probs = self.probs(image, options)
            labels = probs.argmax(axis=0).astype(self.label_space.dtype)
            return Prediction(name, image, labels, self.label_space, lambda: probs)
        labels = self.labels(image, options)
        return Prediction(name, image, labels, self.label_space, lambda: self.probs(image, options))

    def labels(self, image: Image, options: Options = PLAIN) -> LabelMap:
        """(H, W) class indices of a (H, W, 3) uint8 picture; without a CRF in bounded memory, whatever the classes."""
        if options.crf:
            labels: LabelMap = self.probs(image, options).argmax(axis=0).astype(self.label_space.dtype)
            return labels
        if options == PLAIN and not self._too_large(image):
            return _or_windows(lambda: self.segmenter.labels(image), lambda: self._window_labels(image, options))
        if options.window or self._too_large(image):
            return self._window_labels(image, options)
        return blended_labels(self._views(image, options), _size(image))

    def probs(self, image: Image, options: Options = PLAIN) -> NDArray[np.float32]:
        """(K, H, W) float32 probabilities of a (H, W, 3) uint8 picture. Raises ResourceError if they cannot fit."""
        count = self.label_space.num_classes
        probs = self._planes(image, options, lambda run, size: blended_probs(run(), size), count)
        return refined(image, probs, options.crf, fast=options.crf_fast) if options.crf else probs

    def sampled(
        self, image: Image, options: Options = PLAIN, samples: int = SAMPLES, name: str = "", note: Note | None = None
    ) -> Prediction:
        """The prediction of a (H, W, 3) uint8 picture from `samples` runs with dropout, and its uncertainty.

        The same picture always gives the same. Raises ConfigError for a network without dropout and fewer than 2 samples,
        ResourceError as `probs`.
        """
        if samples < 2:
            raise ConfigError(f"{samples} samples; an uncertainty needs 2 at least, {SAMPLES} are usual")
        count = self.label_space.num_classes
        with dropout_sampled(self.segmenter):
            planes = self._planes(image, options, lambda run, size: sampled_planes(run, samples, size, note), count + 1)
        probs, variance = planes[:count], planes[count]
        probs = refined(image, probs, options.crf, fast=options.crf_fast) if options.crf else probs
        labels = probs.argmax(axis=0).astype(self.label_space.dtype)
        return Prediction(name, image, labels, self.label_space, lambda: probs, variance)

    def _planes(self, image: Image, options: Options, blend: Blend, count: int) -> NDArray[np.float32]:
        """(count, H, W) of the whole picture, in windows where that is asked for or needed."""
        needed = count * image.shape[0] * image.shape[1] * 4
        if needed > 0.7 * total_memory():
            raise ResourceError(
                f"probabilities of {image.shape[1]}x{image.shape[0]} pixels and {self.label_space.num_classes} classes need "
                f"{needed / 2**30:.0f} GiB of memory; predict parts of the picture, or take the labels alone"
            )
        if options.window or self._too_large(image):
            extent, run = self._windowing(image, options, blend)
            return window_all_probs(image, extent, run, count)
        return blend(lambda: self._views(image, options), _size(image))

    def _views(self, image: Image, options: Options) -> list[torch.Tensor]:
        preprocessing = self.segmenter.preprocessing
        imgsz = preprocessing.imgsz if preprocessing.fit == "inside" else preprocessing.working_size(_size(image))
        return run_views(self.segmenter, image, imgsz, options.scales, options.flip)

    def _window_labels(self, image: Image, options: Options) -> LabelMap:
        extent, run = self._windowing(image, options, lambda run, size: blended_probs(run(), size))
        return window_labels(image, extent, run, self.label_space.dtype)

    def _windowing(
        self, image: Image, options: Options, blend: Blend
    ) -> tuple[tuple[int, int], Callable[[Image], NDArray[np.float32]]]:
        """The window's extent in the picture's own pixels, and the function from such a part to its planes.

        A window asked for works at the scale of training; one that only saves memory, at the scale of the plain run.
        """
        height, width = options.window or AUTO_WINDOW
        scale = self.segmenter.preprocessing.train_scale
        if options.window is None:
            scale = self.segmenter.preprocessing.working_size(_size(image))[1] / image.shape[1]
        extent = (max(round(height / scale), 1), max(round(width / scale), 1))

        def run(part: Image) -> NDArray[np.float32]:
            size = (max(math.ceil(part.shape[0] * scale - 0.5), 1), max(math.ceil(part.shape[1] * scale - 0.5), 1))
            return blend(lambda: run_views(self.segmenter, part, size, options.scales, options.flip), _size(part))

        return extent, run

    def _too_large(self, image: Image) -> bool:
        """Whether one run over the whole picture at its working size would not fit in memory."""
        height, width = self.segmenter.preprocessing.working_size(_size(image))
        memory = total_memory()
        if self.device.type == "cuda":
            memory = torch.cuda.get_device_properties(self.device).total_memory
        return height * width * BYTES_PER_PIXEL > memory / 2

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str = "auto",
        output_stride: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> "Predictor":
        """A model folder, a run folder, a hub id such as "owner/name", or "torchvision:deeplabv3_resnet50".

        The network is used only for the last two, where their files are not cached.
        output_stride: another than that of the training, see segmenter.load_segmenter.
        """
        name = str(pretrained_model_name_or_path)
        if is_torchvision(name):
            return cls(load_torchvision(name, device, output_stride))
        if is_hub_id(name):
            folder = download_model(name, MODEL_FILES, revision, token, cache_dir, local_files_only)
        else:
            folder = find_model_folder(Path(name))
        segmenter = load_segmenter(folder, device, output_stride)
        return cls(segmenter, folder if output_stride is None else None)  # else the folder tells another stride

    def save_pretrained(self, save_directory: str | Path) -> Path:
        """Write the model folder: model.safetensors, config.json, README.md, manifest.json. Raises ResourceError."""
        target = Path(save_directory)
        if self.folder is None:
            save_segmenter(self.segmenter, target)
        elif target.resolve() != self.folder.resolve():
            write_folder(target, read_folder(self.folder), remedy="choose another folder")
        return target

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | bool | None = None) -> str:
        """Upload the model folder to the Hugging Face hub as `owner/name`; returns its address. Needs a login or token."""
        return upload_model(self.save_pretrained, repo_id, private, token)


def load(name: str | Path, device: str = "auto", output_stride: int | None = None) -> Predictor:
    """The predictor of a model folder, a run folder, a hub id "owner/name", or "torchvision:deeplabv3_resnet50".

    output_stride: another than that of the training, for the same weights. At 8 in place of 16 DeepLab's authors gained 1.3
    points of mIoU with v3 and 0.5 with v3+ (VOC 2012 val), for about three times the computation. Raises ConfigError where the
    network has none to choose.
    """
    return Predictor.from_pretrained(name, device=device, output_stride=output_stride)


def _size(image: Image) -> tuple[int, int]:
    return (image.shape[0], image.shape[1])


def _or_windows(whole: Callable[[], Result], windows: Callable[[], Result]) -> Result:
    """The whole picture at once; where memory runs out, by windows."""
    try:
        return whole()
    except (MemoryError, torch.OutOfMemoryError):
        logger.warning("out of memory with the whole picture at once; going on with a sliding window")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return windows()
