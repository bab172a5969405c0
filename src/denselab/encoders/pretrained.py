"""Which ImageNet weights an encoder starts from, and where to look for them. Never unpickles arbitrary objects.

`pretrained` is a word, a file or a hub id:
    auto        the first available of: the hub's cache on this machine, an installed package (encoders.packaged), the
                hub itself; otherwise from scratch. The hub is asked at most once per process, and the log says so
    yes         the same, but an error if there are none
    no          from scratch
    a file      safetensors, or a bare state dict as torch.save writes it; of VGG-16 also Caffe's and HED's
    owner/name  model.safetensors of that repository: from the hub's cache, otherwise from the hub

With HF_HUB_OFFLINE=1 the hub is never asked. The log names the source that was used and its sha256.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from denselab.config.units import PRETRAINED_WORDS
from denselab.encoders import hub
from denselab.encoders.packaged import package_of, packaged_weights
from denselab.encoders.timm_encoder import load_timm
from denselab.encoders.vgg_files import FORMS, read_vgg
from denselab.encoders.weights import Weights, read_weights
from denselab.errors import ConfigError

logger = logging.getLogger(__name__)

FILES = (".safetensors", ".pth", ".pt", ".bin", *FORMS)
VGG = "vgg16"  # the only encoder of `FORMS`
HUB_FILE = "model.safetensors"

Download = Callable[[str, str], Path | str]

_hub_failed: list[str] = []  # why the hub could not deliver for "auto"; it is not asked again


def find_weights(architecture: str, pretrained: str, download: Download = hub.download) -> Weights | None:
    """The weights that `pretrained` (see above) means for timm's `architecture`; None to train from scratch.

    download: (repository, file) to the local file, or to the reason why there is none

    Raises ConfigError if requested weights are not available, CheckpointError for a damaged file.
    """
    if pretrained == "no":
        return None
    if pretrained not in PRETRAINED_WORDS:
        return _named_weights(architecture, pretrained, download)
    found = _imagenet_weights(architecture, _only_once(download) if pretrained == "auto" else download)
    if isinstance(found, Weights):
        return found
    package = package_of(architecture)
    remedy = f"`{package.wish}` brings them" if package else "put them into the hub's cache, or give a file"
    if pretrained == "yes":
        raise ConfigError(
            f"`pretrained` yes, but the ImageNet weights of {architecture!r} are not available: {found}; "
            f"{remedy}; or use `pretrained` auto to go on without them"
        )
    logger.info(f"{architecture}: no ImageNet weights ({found}); training from scratch; {remedy}")
    return None


def _named_weights(architecture: str, place: str, download: Download) -> Weights:
    """The weights of a file or of a hub id."""
    if not load_timm().is_model(architecture):
        raise ConfigError(
            f"pretrained={place}: there is no way to put weights of others into the trunk {architecture!r}"
        )
    path = Path(os.path.expanduser(place))  # Path's own raises for a user that does not exist
    if os.path.exists(path):
        return _of_file(architecture, path)
    if place.count("/") != 1 or place.startswith((".", "~")) or path.suffix in FILES:
        raise ConfigError(
            f"pretrained={place}: no such file; give auto, yes, no, a file of weights, or a hub id owner/name"
        )
    found = hub.cached_file(place, HUB_FILE) or download(place, HUB_FILE)
    if isinstance(found, str):
        raise ConfigError(f"pretrained={place}: no such file, and no weights from the hub's {place}: {found}")
    return read_weights(found, f"hub {place}")


def _of_file(architecture: str, path: Path) -> Weights:
    if path.suffix.lower() not in FORMS:
        return read_weights(path)
    if architecture != VGG:
        raise ConfigError(
            f"`pretrained` {path}: of {path.suffix} files {VGG!r} is read, not {architecture!r}; choose a network on it"
        )
    return read_vgg(path)


def _imagenet_weights(architecture: str, download: Download) -> Weights | str:
    """timm's default weights from the hub's cache, a package or the hub, or the reason why there are none."""
    settings = load_timm().get_pretrained_cfg(architecture)
    if settings is None or not settings.hf_hub_id:
        return "timm names no weights on the hub for it"
    repo, filename = settings.hf_hub_id, settings.hf_hub_filename or HUB_FILE
    if not filename.endswith(".safetensors"):
        return f"they exist as {filename} only, and pickles are not loaded"
    if (cached := hub.cached_file(repo, filename)) is not None:
        return read_weights(cached, f"hub {repo}")
    reasons = ["not in the hub's cache"]
    if (package := package_of(architecture)) is not None:
        packaged = packaged_weights(package)
        if isinstance(packaged, Weights):
            return packaged
        reasons.append(packaged)
    fetched = download(repo, filename)
    return ", ".join((*reasons, fetched)) if isinstance(fetched, str) else read_weights(fetched, f"hub {repo}")


def _only_once(download: Download) -> Download:
    """`download`, but logged, and not tried again in this process after a failure."""

    def announced(repo: str, filename: str) -> Path | str:
        if hub.is_offline():
            return "HF_HUB_OFFLINE is set"
        if not _hub_failed:
            logger.info(
                f"asking the hub for the ImageNet weights {repo}; pretrained=no or HF_HUB_OFFLINE=1 avoids this"
            )
            found = download(repo, filename)
            if isinstance(found, Path):
                return found
            _hub_failed.append(found)
        return _hub_failed[0]

    return announced
