"""Mean field, iteration by iteration: the score of one class beside the labels, as in DeepLab's figures."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from denselab.crf import Parameters, refined
from denselab.crf.refinement import refined_steps
from denselab.errors import ConfigError
from denselab.files import clear_older, write_bytes
from denselab.labels import LabelSpace
from denselab.types import Image, Marginals
from denselab.visualize import colour_map, encode_png, grid, heat_map

CELL = (240, 640)  # pixels: narrower pictures are enlarged until their caption fits, wider ones reduced
FRAME_MS, REST_MS = 500, 1500  # how long each iteration is shown, and the first and last
ANIMATION = "steps.gif"


def class_to_show(name: str | None, before: Marginals, after: Marginals, space: LabelSpace) -> int:
    """The index of the class with this name or id; None: the class whose scores the CRF changes most.

    A background class is chosen only if there is no other. Raises ConfigError that lists the classes.
    """
    if name is None:
        change = np.abs(after - before).mean(axis=(1, 2))
        background = np.array([entry.role == "background" for entry in space.classes])
        return int(np.argmax(np.where(background, -1.0, change)))
    for index, entry in enumerate(space.classes):
        if name in (entry.name, str(entry.id)):
            return index
    raise ConfigError(f"no class is called {name!r}; the classes are {', '.join(space.names[:30])}")


def step_pictures(
    image: Image, probs: Marginals, parameters: Parameters, space: LabelSpace, index: int, threads: int | None = None
) -> Iterator[Image]:
    """One picture before the CRF and one per iteration: the heat map of class `index`, and the label map."""
    name = space.names[index]
    for number, marginals in enumerate(refined_steps(image, probs, parameters, threads)):
        when = "before the CRF" if number == 0 else f"iteration {number}"
        labels = marginals.argmax(axis=0).astype(space.dtype)
        width = min(max(image.shape[1], CELL[0]), CELL[1])
        panels = [heat_map(marginals[index]), colour_map(labels, space)]
        yield grid(panels, [f"score of {name}, {when}", f"labels, {when}"], cell_width=width)


def write_steps(
    folder: Path,
    image: Image,
    probs: Marginals,
    parameters: Parameters,
    space: LabelSpace,
    class_name: str | None = None,
    threads: int | None = None,
) -> Marginals:
    """Write iteration_00.png, iteration_01.png, ... and an animation into `folder`; returns the last marginals.

    The CRF runs twice: once to find what changes most, once to draw. Only one iteration is held in memory.
    class_name: the class to show, as for `class_to_show`.
    threads: as for `refined`.
    """
    marginals = refined(image, probs, parameters, threads)
    index = class_to_show(class_name, probs, marginals, space)
    frames = []
    clear_older(folder, "iteration_*.png")
    for number, picture in enumerate(step_pictures(image, probs, parameters, space, index, threads)):
        write_bytes(folder / f"iteration_{number:02d}.png", encode_png(picture))
        frames.append(PILImage.fromarray(picture).quantize(256, dither=PILImage.Dither.NONE))
    durations = [REST_MS if i in (0, len(frames) - 1) else FRAME_MS for i in range(len(frames))]
    more: dict[str, Any] = {
        "save_all": True,
        "append_images": frames[1:],
        "duration": durations,
        "loop": 0,
        "disposal": 1,
    }
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", **more)
    write_bytes(folder / ANIMATION, buffer.getvalue())
    return marginals
