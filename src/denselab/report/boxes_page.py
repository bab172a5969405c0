"""boxes.html: the boxes of a picture, the prediction as they are added, and the class maps of two models.

After figures 5 and 6 of DeconvNet (Noh, Hong, Han, ICCV 2015, arXiv 1505.04366), on the user's own picture.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw

from denselab.engine.enlarge import arg_max
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.files import write_bytes, write_text
from denselab.inference.instance_wise import growing
from denselab.inference.instances import InstanceWise
from denselab.inference.plan import plan_for
from denselab.inference.run import probs_of
from denselab.inspection.explanation import Explanation
from denselab.proposals.boxes import Boxes
from denselab.report.earlier import earlier, listing, remove
from denselab.report.html import Html, join, paragraph, picture, section, text
from denselab.report.language import Language, Say
from denselab.types import Image
from denselab.visualize import HEAT, colour_map, encode_png, fit, grid, heat_map, overlay

Floats = NDArray[np.float32]
Panel = tuple[str, Image]

PAGE = "boxes.html"
SIDE = (360, 480)  # largest (height, width) of a panel, in pixels
COUNTS = (1, 2, 4, 8, 16, 32, 64)  # boxes, the largest first
CLASSES = 6  # class maps: those that take most of the picture
STYLE = Html("""<style>
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(45%, 260px), 1fr)); gap: 10px; }
.maps img { display: block; width: 100%; height: auto; border-radius: 5px; }
.maps small { display: block; color: var(--soft); font-size: .8rem; margin-top: .15rem; }
</style>""")


def write_boxes(
    explanation: Explanation,
    how: InstanceWise | None,
    other: TorchEngine | None,
    out: Path,
    source: str,
    language: Language = "en",
) -> list[Path]:
    """Write boxes.html and its pictures into `out`; returns their paths, the page first.

    Without anything to show there is none; that of an earlier look, at another model or picture, goes.

    how: the boxes; None: nothing is shown of them.
    other: a second model of the same classes; None: nothing is compared.
    source: the picture's name, for the title.
    language: of the page and of the captions.
    Raises ConfigError for a second model of other classes, ResourceError where the folder cannot be written.
    """
    engine, image, say, others = explanation.engine, explanation.image, Say(language), earlier(out / PAGE)
    if not how and not other:
        remove({*others, out / PAGE} if others else ())
        return []
    parts: list[tuple[str, str, str, list[Panel]]] = []
    if how:
        parts.append(_growth(engine, how, image, say))
    if other:
        parts.append(_class_maps(engine, other, how, image, say))
    sections = [section(name, title, paragraph(note, note=True), maps(panels)) for name, title, note, panels in parts]
    head = Html(
        f'<header><p class="brand">DenseLab explain</p><h1>{say("Box by box")}</h1>'
        f'<p class="lead">{text(source)}</p></header>'
    )
    beside = listing(f"{name}.png" for name, *_ in parts)
    write_text(out / PAGE, say.page(say("Boxes of {source}", source=source), [STYLE, head, *sections, beside]))
    written = [out / PAGE]
    for name, _, _, panels in parts:
        sheet = grid([one for _, one in panels], [caption for caption, _ in panels], cell_width=SIDE[1])
        write_bytes(out / f"{name}.png", encode_png(sheet))
        written.append(out / f"{name}.png")
    remove(others.difference(written))
    return written


def _growth(engine: TorchEngine, how: InstanceWise, image: Image, say: Say) -> tuple[str, str, str, list[Panel]]:
    """The boxes, and the prediction as they are added by decreasing size."""
    space = engine.spec.label_space
    steps = growing(engine, how, image, [*COUNTS, how.boxes + 1])
    every = steps[-1][0]
    kept = [step for i, step in enumerate(steps) if i == 0 or len(step[0]) > len(steps[i - 1][0])]
    panels = [(say("{count} boxes from {source}", count=len(every), source=how.source), drawn(image, every))]
    for boxes, values in kept:
        labelled = overlay(image, arg_max(values), space, 0.6)
        count = "1 box, the largest" if len(boxes) == 1 else "{count} boxes, the largest"
        outlined = drawn(labelled, boxes[-1:] if len(boxes) < len(every) else boxes[:0])
        panels.append((say(count, count=len(boxes)), outlined))
    note = say(
        "{told}. Boxes are added from the largest to the smallest: the small ones bring back small objects.",
        told=say.told(how.told()),
    )
    return "boxes", say("The prediction as boxes are added"), note, [(caption, small(one)) for caption, one in panels]


def _class_maps(
    engine: TorchEngine, other: TorchEngine, how: InstanceWise | None, image: Image, say: Say
) -> tuple[str, str, str, list[Panel]]:
    """The class-conditional maps of two models, class by class."""
    space = engine.spec.label_space
    if other.spec.label_space.names != space.names:
        raise ConfigError(
            f"`against`: the model knows the classes {', '.join(other.spec.label_space.names[:8])}, the first "
            f"{', '.join(space.names[:8])}; give a model of the same classes"
        )
    first = probs_of(plan_for(engine, instances=how), image)
    second = probs_of(plan_for(other), image)
    panels: list[Panel] = []
    names = (engine.spec.architecture.name, other.spec.architecture.name)
    for maps, name in zip((first, second), names, strict=True):
        panels.append((say("{name}: labels", name=name), colour_map(arg_max(maps), space)))
    for index in _shown(first, second):
        panels += [
            (f"{name}: {space.names[index]}", heat_map(maps[index]))
            for maps, name in zip((first, second), names, strict=True)
        ]
    note = say(
        "The probability of each class, from 0 (dark) to 1 (pale): {first} run {way}, {second} as a whole.",
        first=names[0],
        way=say("box by box") if how else say("as a whole"),
        second=names[1],
    )
    return "class-maps", say("Class maps of two models"), note, [(caption, small(one)) for caption, one in panels]


def _shown(first: Floats, second: Floats) -> list[int]:
    """The classes that take most of the picture in either map."""
    shares = first.mean(axis=(1, 2)) + second.mean(axis=(1, 2))
    return [int(i) for i in np.argsort(-shares, kind="stable")[:CLASSES]]


def drawn(image: Image, boxes: Boxes) -> Image:
    """The picture with the outlines of boxes (top, left, bottom, right), the first pale and the last dark."""
    canvas = PILImage.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(max(image.shape[:2]) / 300))
    for place, (top, left, bottom, right) in reversed(list(enumerate(boxes.tolist()))):
        colour = HEAT[len(HEAT) - 1 - min(place * (len(HEAT) - 2) // max(len(boxes), 1), len(HEAT) - 2)]
        pen.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=width)
    return np.array(canvas)


def small(image: Image) -> Image:
    """The picture, reduced to SIDE where it is larger."""
    factor = min(SIDE[0] / image.shape[0], SIDE[1] / image.shape[1], 1.0)
    size = (max(round(image.shape[0] * factor), 1), max(round(image.shape[1] * factor), 1))
    return image if factor == 1 else fit(image, size[1], size[0])


def maps(panels: Sequence[Panel]) -> Html:
    """Panels in as many columns as there is room for; STYLE must stand on the page."""
    cells = [Html(f"<div>{picture(image, caption)}<small>{text(caption)}</small></div>") for caption, image in panels]
    return Html(f'<div class="maps">{join(cells)}</div>')
