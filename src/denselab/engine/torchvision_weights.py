"""torchvision's published segmentation weights by name, such as "torchvision:deeplabv3_resnet50", fetched when needed.

The weights are COCO_WITH_VOC_LABELS_V1: VOC's 21 classes, learnt from COCO. Files go to torch's own cache (TORCH_HOME),
and their sha256 has to begin with the digits in their name.
"""

import difflib
import logging
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import torch
from torchvision.models import get_model_weights, list_models
from torchvision.models import segmentation as published

from denselab.build import find_entry
from denselab.data.layouts.tables import voc_label_space
from denselab.encoders.hub import no_answer
from denselab.engine.device import resolve_device
from denselab.engine.hub import TORCHVISION
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.engine.weights import load_weights
from denselab.errors import CheckpointError
from denselab.files import sha256_of
from denselab.models.release import IMAGENET
from denselab.tensors import read_torch_file

logger = logging.getLogger(__name__)

HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")
ANSWER_SECONDS = 8.0  # without an answer by then, there might as well be no network connection


def load_torchvision(
    name: str, device: str = "auto", output_stride: int | None = None, url: str | None = None
) -> TorchEngine:
    """The engine of "torchvision:<name>" with 21 classes.

    url: where the weights are; None for torchvision's own address.
    Raises CheckpointError: unknown name, no connection and no cached file, or a file with the wrong content;
    ConfigError for an output stride, of which these networks offer no choice.
    """
    short = name.removeprefix(TORCHVISION)
    address = url or weights_url(short)
    entry, space = find_entry(short), voc_label_space()
    architecture = Architecture(short, space.num_classes, output_stride=output_stride, aux=entry.aux)
    with torch.device("meta"):
        model = architecture.create()
    path = cached_file(address)
    model = model.to_empty(device="cpu")
    load_weights(model, read_torch_file(path), str(path))
    target = resolve_device(device)
    model = model.to(target).to(memory_format=torch.channels_last).eval()
    preprocessing = Preprocessing(entry.release.size, *IMAGENET, fit=entry.release.fit)
    return TorchEngine(ModelSpec(architecture, space, preprocessing), model, target)


def weights_url(name: str) -> str:
    """The URL of torchvision's weights for its network `name`. Raises CheckpointError with the nearest names."""
    names = list_models(module=published)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise CheckpointError(f"torchvision has no segmentation weights {name!r}; did you mean {', '.join(near)}?")
    return str(get_model_weights(name)["COCO_WITH_VOC_LABELS_V1"].url)


def cached_file(url: str) -> Path:
    """The file of `url` in torch's cache, fetched if missing. Raises CheckpointError."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    expected = HASH.search(path.name)
    if expected is None:
        raise CheckpointError(f"{url}: no digits of a sha256 in its name; such a file is not loaded unchecked")
    if not path.is_file():
        if (reason := no_answer(lambda: _ask(url), ANSWER_SECONDS)) is not None:
            raise CheckpointError(
                f"the weights {path.name} are not in {folder}, and cannot be fetched from {url}: {reason}. "
                "Fetch them on a machine with a network, and put the file there"
            )
        folder.mkdir(parents=True, exist_ok=True)
        logger.info(f"fetching {url} into {folder}")
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=expected[1], progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: wrong hash; the file is then not kept
            raise CheckpointError(f"{url} could not be fetched: {error}; try again") from None
    digits = sha256_of(path)
    if not digits.startswith(expected[1]):
        raise CheckpointError(f"{path} is damaged: its sha256 begins with {digits[:8]}, not {expected[1]}; remove it")
    return path


def _ask(url: str) -> None:
    """Open `url` and close it again. Raises OSError or ValueError where it does not answer."""
    request = urllib.request.Request(url, headers={"User-Agent": "denselab"})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):
        pass
