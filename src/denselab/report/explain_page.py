"""explain.html: what a network does with one picture, step by step, in one file; and its pictures as PNG files."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from denselab.files import write_bytes, write_text
from denselab.in_words import bytes_in_words
from denselab.inspection.activations import LayerMaps
from denselab.inspection.explanation import SHARES, Effect, Explanation
from denselab.inspection.listing import HEAD, number, short, window_text
from denselab.inspection.subject import title_of
from denselab.inspection.table import LayerRow
from denselab.labels import LabelSpace
from denselab.measure.pictures import Panel
from denselab.models import MODELS
from denselab.report.earlier import earlier, listing, remove
from denselab.report.explain_pictures import (
    effect_picture,
    layer_panels,
    probability_panels,
    result_panels,
)
from denselab.report.html import (
    Html,
    details,
    join,
    paragraph,
    picture,
    section,
    strip,
    swatch,
    table,
    text,
    tile,
)
from denselab.report.language import Language, Say
from denselab.types import Image
from denselab.visualize import colour_map, grid, overlay

PAGE = "explain.html"
CONTENTS = (
    ("result", "Result"),
    ("probabilities", "Probabilities"),
    ("layers", "Through the network"),
    ("field", "Receptive field"),
    ("table", "Layer table"),
)
STYLE = Html("""<style>
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30%, 170px), 1fr)); gap: 8px; }
.maps img { display: block; width: 100%; height: auto; border-radius: 5px; background: var(--faint);
  image-rendering: pixelated; }
.maps.smooth img { image-rendering: auto; }
.maps small { display: block; color: var(--soft); font-size: .74rem; margin-top: .15rem;
  overflow-wrap: anywhere; }
.layer { margin: 0 0 1.1rem; padding: .9rem 1rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; break-inside: avoid; }
.layer figcaption { display: flex; flex-wrap: wrap; gap: .1rem .9rem; justify-content: space-between;
  margin-bottom: .55rem; }
.layer figcaption b { font-weight: 640; }
.layer figcaption span { color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.layer figcaption p { flex-basis: 100%; margin: .1rem 0 0; color: var(--soft); font-size: .9rem; }
.field { display: block; max-width: 100%; height: auto; border-radius: 8px; }
.layers td:nth-child(2) { text-align: left; }
</style>""")


def write_explanation(explanation: Explanation, out: Path, source: str, language: Language = "en") -> list[Path]:
    """Write explain.html and the PNG files into `out`. Returns their paths, the page first.

    source: the picture's name, for the title. language: of the page and of the captions.
    Raises ResourceError where the folder cannot be written.
    """
    say, space = Say(language), explanation.engine.spec.label_space
    overlaid = overlay(explanation.image, explanation.labels, space)
    layers = [(layer, layer_panels(layer, space, explanation.effect.class_index, say)) for layer in explanation.layers]
    probabilities = [] if explanation.random else probability_panels(explanation, say)
    effect = effect_picture(explanation.working, explanation.effect)
    files = {
        "labels.png": colour_map(explanation.labels, space),
        "overlay.png": overlaid,
        **({"probabilities.png": _sheet(probabilities)} if probabilities else {}),
        "receptive-field.png": effect,
        **{_file_name(i, layer): _sheet(panels) for i, (layer, panels) in enumerate(layers, 1)},
    }
    body = [
        STYLE,
        _headline(explanation, source, say),
        _result(explanation, result_panels(explanation, overlaid, say), say),
        _probabilities(explanation, probabilities, say),
        _layers(layers, say),
        _field(explanation, effect, say),
        _table(explanation.table, say),
        Html(f"<footer>{say('Made by DenseLab. This file needs no other file and no network.')}</footer>"),
        listing(files),
    ]
    written, others = [out / PAGE], earlier(out / PAGE)
    title = say("{network} on {picture}", network=explanation.engine.spec.architecture.name, picture=source)
    write_text(out / PAGE, say.page(title, body))
    for name, image in files.items():
        write_bytes(out / name, _png(image))
        written.append(out / name)
    remove(others.difference(written))  # of another network, whose maps would seem to be this one's
    return written


def _sheet(panels: Sequence[Panel]) -> Image:
    return grid([image for _, image, _ in panels], [caption for caption, _, _ in panels], cell_width=240)


def _png(image: Image) -> bytes:
    """PNG bytes, weakly compressed: there are dozens, and the best compression takes ten times as long to save 10 %."""
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _file_name(position: int, layer: LayerMaps) -> str:
    return f"layer-{position:02d}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', layer.path)[-60:]}.png"


def _headline(explanation: Explanation, source: str, say: Say) -> Html:
    architecture, summary = explanation.engine.spec.architecture, explanation.summary
    entry, field = MODELS[architecture.name], summary.receptive_field
    height, width = explanation.working.shape[:2]
    tiles = [
        tile(
            say("all") if field is None else f"{field:,}",
            say("receptive field"),
            say("the whole picture") if field is None else say("pixels, of the logits"),
            main=True,
        ),
        tile(
            short(summary.learnable).replace("G", "B"),
            say("parameters"),
            say("{count} learnable", count=f"{summary.learnable:,}"),
        ),
        tile(
            short(summary.multiply_adds), say("multiply-adds"), say("at {height}x{width}", height=height, width=width)
        ),
        tile(
            number(summary.output_stride),
            say("output stride"),
            say("logits at {stride}", stride=number(summary.logits_stride)),
        ),
        tile(bytes_in_words(summary.memory_forward), say("memory to predict"), say("estimate, batch 1")),
    ]
    warning = say("The weights are random, so this shows what the design does, not what training makes of it.") + " "
    links = "".join(f'<a href="#{anchor}">{say(title)}</a>' for anchor, title in CONTENTS)
    return join(
        [
            Html(f'<header><p class="brand">DenseLab explain</p><h1>{text(say.title(title_of(architecture)))}</h1>'),
            Html(f'<p class="lead">{text(warning if explanation.random else "")}{text(source)}; '
                 f'{text(say.told(entry.paper))}, {entry.year}.</p></header>'),
            Html(f'<div class="tiles">{join(tiles)}</div><nav>{links}</nav>'),
        ]
    )  # fmt: skip


def _result(explanation: Explanation, panels: Sequence[Panel], say: Say) -> Html:
    space = explanation.engine.spec.label_space
    counts = np.bincount(explanation.labels.ravel(), minlength=space.num_classes)[: space.num_classes]
    shares = counts / explanation.labels.size
    height, width = explanation.image.shape[:2]
    shown = [(c, picture(image, c, sharp)) for c, image, sharp in panels]
    present = [i for i in np.argsort(-shares, kind="stable") if shares[i] > 0][:24]
    size = say("{height} x {width} pixels", height=height, width=width)
    return section(
        "result",
        say("Result"),
        strip(size, "" if explanation.random else say("dark: unsure, pale: sure"), shown),
        _legend(space, present, shares),
    )


def _legend(space: LabelSpace, present: Sequence[int], shares: np.ndarray) -> Html:
    items = "".join(
        f"<li>{swatch(space.classes[i].colour)}{text(space.names[i])} <small>{shares[i]:.1%}</small></li>"
        for i in present
    )
    return Html(f'<ul class="legend">{items}</ul>')


def _probabilities(explanation: Explanation, panels: Sequence[Panel], say: Say) -> Html:
    title = say("Probabilities of the classes")
    if not panels:
        note = "Not shown: the weights are random, and the softmax of random scores tells nothing of the picture."
        return section("probabilities", title, paragraph(say(note)))
    note = say(
        "The softmax of the logits, class by class, from 0 (dark) to 1 (pale): {name} first, then those that take most "
        "of the picture.",
        name=explanation.engine.spec.label_space.names[explanation.effect.class_index],
    )
    return section("probabilities", title, paragraph(note, note=True), _maps(panels))


def _maps(panels: Sequence[Panel]) -> Html:
    sharp = all(panel[2] for panel in panels)
    cells = "".join(
        f'<div>{picture(image, caption, exact, css="map")}<small title="{text(caption)}">{text(caption)}</small></div>'
        for caption, image, exact in panels
    )
    return Html(f'<div class="maps{"" if sharp else " smooth"}">{cells}</div>')


def _layers(layers: Sequence[tuple[LayerMaps, list[Panel]]], say: Say) -> Html:
    note = say(
        "The maps are in the order of computation. Each shows the mean of the absolute values of all channels, then "
        "the channels that vary most from place to place, each on its own scale from dark (lowest) to pale (highest). "
        "A map of class scores shows the class with the highest score in each cell, then the scores of the classes. "
        "Margins outside the picture are cut off."
    )
    figures = [_figure(layer, panels, say) for layer, panels in layers]
    return section("layers", say("Through the network"), paragraph(note, note=True), *figures)


def _figure(layer: LayerMaps, panels: Sequence[Panel], say: Say) -> Html:
    kind = "{count} channels" if layer.scores is None else "scores of {count} classes"
    field = layer.receptive_field
    facts = say(
        "{kind} · {height}x{width} cells, {step} · sees {field}",
        kind=say(kind, count=layer.channels),
        height=layer.size[0],
        width=layer.size[1],
        step=say("one per pixel") if layer.jump == 1 else say("one per {jump} pixels", jump=number(layer.jump)),
        field=say("the whole picture") if field is None else say("{count} pixels", count=f"{field:,}"),
    )
    caption = f"<b>{text(layer.path)}</b><span>{text(facts)}</span><p>{text(say.told(layer.caption))}</p>"
    return Html(f'<figure class="layer"><figcaption>{caption}</figcaption>{_maps(panels)}</figure>')


def _field(explanation: Explanation, image: Image, say: Say) -> Html:
    effect, names = explanation.effect, explanation.engine.spec.label_space.names
    row, column = explanation.pixel
    note = say(
        "How much each pixel moves the logit of {name} at row {row}, column {column} (the cross): the size of the "
        "gradient, mean over the channels, blurred a little, brightness by its square root (Luo et al. 2016).",
        name=names[effect.class_index],
        row=row,
        column=column,
    )
    shown = picture(image, say("effective receptive field"), css="field")
    content = paragraph(f"{note} {_box_words(effect, say)} {_square_words(effect, say)}")
    return section("field", say("The receptive field of a pixel"), content, shown)


def _box_words(effect: Effect, say: Say) -> str:
    if effect.box is None:
        return say("In theory this pixel sees the whole picture.")
    height, width = effect.box.size
    return say(
        "The blue frame, {height} x {width} pixels, is what the layers' windows let it see in theory.",
        height=height,
        width=width,
    )


def _square_words(effect: Effect, say: Say) -> str:
    if not any(effect.squares):
        return say("Here no pixel has an effect: the logit is constant.")
    (half, most), (side, large) = (f"{share:.0%}" for share in SHARES), effect.squares
    return say(
        "Within the picture, {half} of the effect lies in a square of {side} pixels and {most} of the effect lies in a "
        "square of {large} pixels around it.",
        half=half,
        side=side,
        most=most,
        large=large,
    )


def _table(rows: Sequence[LayerRow], say: Say) -> Html:
    body = [_row(row, say) for row in rows]
    shown = Html(f'<div class="layers">{table([say(head) for head in HEAD], body, tall=True)}</div>')
    return section("table", say("Layer table"), details(say("{count} layers", count=len(rows)), shown))


def _row(row: LayerRow, say: Say) -> tuple[object, ...]:
    channels = f"{row.in_channels} → {row.out_channels}" if row.in_channels != row.out_channels else row.out_channels
    windows = (window_text(w) for w in (row.kernel, row.stride, row.pad, row.dilation))
    return (
        *(row.name, say(row.kind), *windows, channels, f"{row.size[0]}x{row.size[1]}"),
        *(f"{row.parameters:,}" if row.parameters else "", short(row.multiply_adds) if row.multiply_adds else ""),
        say("all") if row.receptive_field is None else f"{row.receptive_field:,}",
    )
