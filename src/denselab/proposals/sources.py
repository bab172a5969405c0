"""The sources of proposals by name."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from denselab.errors import ConfigError
from denselab.proposals.boxes import Boxes
from denselab.proposals.opencv import edge_boxes, opencv_version, selective_search
from denselab.proposals.windows import windows
from denselab.types import Image

Propose = Callable[[Image, int, tuple[int, int]], Boxes]
"""(picture, most boxes, (height, width) of the network's input) -> the best boxes first."""

SOURCES: Mapping[str, Propose] = {
    "windows": lambda image, most, shape: windows((image.shape[0], image.shape[1]), shape, most),
    "edgeboxes": lambda image, most, shape: edge_boxes(image, most),
    "selective": lambda image, most, shape: selective_search(image, most),
}


def source_named(name: str) -> Propose:
    """The source with this name. Raises ConfigError with the closest names."""
    if name not in SOURCES:
        near = get_close_matches(name, SOURCES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"proposals {name!r}; {hint}use one of {', '.join(SOURCES)}")
    return SOURCES[name]


def decided_by(name: str) -> str:
    """What decides which boxes a source finds in a picture, beside its options and DenseLab's version.

    Raises MissingExtra.
    """
    return "" if name == "windows" else f"OpenCV {opencv_version(name)}"
