"""A network as a figure: SVG that works in any browser, in light and dark, without a script or another file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from xml.sax.saxutils import escape, quoteattr

from denselab.inspection.layout import Arrow, Box, Layout, layout_of, level_of, shifted
from denselab.inspection.listing import short
from denselab.inspection.operations import Pair
from denselab.inspection.outline import ENLARGING, Drawn, outline_of
from denselab.inspection.subject import Subject, title_of
from denselab.inspection.summary import summarise

HEAD = 78.0  # pixels above the figure
FOOT = 16.0
LEGEND_LINE = 20.0
LETTER = 5.3  # width of a character of the legend, at most
BEND = 5.0  # radius of an arrow's corners
TIP = 6.0  # length of an arrow's head
POOLS = ("max pool", "avg pool", "global pool", "adaptive pool")
PAINT = {  # class of a map by its kind, and the words of the legend
    "picture": ("picture", "picture"),
    "border": ("border", "with its border"),
    "conv": ("conv", "convolution; k: kernel, if not 3x3"),
    "separable": ("separable", "separable convolution"),
    "block": ("conv", "blocks of convolutions"),
    **dict.fromkeys(POOLS, ("pool", "pool")),
    "unpool": ("unpool", "unpooling"),
    "transposed conv": ("transposed", "transposed convolution"),
    "interpolation": ("enlarged", "interpolation"),
    "linear": ("linear", "fully connected"),
    "product": ("linear", "product of maps"),
    "sum": ("joined", "sum"),
    "maximum": ("joined", "maximum"),
    "concat": ("copied", "concatenation, its parts"),
    "crop": ("picture", "crop"),
}
LINES = {  # class of an arrow and the words of the legend
    "skip": "skip",
    "skip cropped": "skip, cropped",
    "switch": "places of the maxima",
    "transposed": "enlarged by a transposed convolution",
    "enlarged": "enlarged by interpolation",
    "gate": "a factor for each channel",
}
STYLE = """
svg { --paper: #ffffff; --ink: #1c2026; --soft: #68707c; --band: #f5f6f4; --edge: #00000055; --flow: #8a929d;
  --picture: #ccd1d8; --border: #e4e7ea; --conv: #7ea6e0; --separable: #7cc3d6; --pool: #ea8878; --unpool: #f0bb5a;
  --transposed: #76bd8b; --enlarged: #b3d98a; --linear: #b49ae2; --joined: #d8a3cf; --copied: #ffffff;
  --skip: #4a515c; --switch: #c98a10; --transposed-line: #3f9259; --enlarged-line: #6f9f3c; --pool-line: #cd5442; }
@media (prefers-color-scheme: dark) { svg { --paper: #15181c; --ink: #e9ebee; --soft: #9aa3af; --band: #1c2025;
  --edge: #ffffff45; --flow: #7b8491; --picture: #4b535e; --border: #333a43; --conv: #3f6cb0; --separable: #2f8499;
  --pool: #b4503f; --unpool: #b98318; --transposed: #37814f; --enlarged: #5e8436; --linear: #7459ab; --joined: #97598c;
  --copied: #15181c; --skip: #c6ccd5; --switch: #e0a63a; --transposed-line: #62b980; --enlarged-line: #94c262;
  --pool-line: #e58270; } }
text { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; fill: var(--ink); }
.title { font-size: 19px; font-weight: 600; } .about { font-size: 12px; fill: var(--soft); }
.label { font-size: 10px; paint-order: stroke; stroke: var(--band); stroke-width: 2.5px; stroke-linejoin: round; }
.label tspan { fill: var(--soft); } .row, .legend { font-size: 10.5px; fill: var(--soft); }
.paper { fill: var(--paper); } .band { fill: var(--band); }
.map { stroke: var(--edge); stroke-width: .8; } .lead { stroke: var(--soft); stroke-width: .6; opacity: .6; }
.arrow { fill: none; stroke-width: 1.4; } .tip { stroke: none; }
"""
FILLS = sorted({name for name, _ in PAINT.values()})
STROKES = {
    "flow": "flow",
    "skip": "skip",
    "switch": "switch",
    "gate": "switch",
    "pool": "pool-line",
    "unpool": "switch",
}
STROKES |= {"transposed": "transposed-line", "enlarged": "enlarged-line"}


@dataclass(frozen=True)
class Heading:
    """What stands above a figure. title: of the network. about: paper, year, parameters, size of the picture."""

    title: str
    about: str


def network_diagram(subject: Subject) -> str:
    """A network by name or from a folder as an SVG document: its trace, drawn."""
    traced, entry, architecture = subject.trace(), subject.entry, subject.architecture
    learnable = short(summarise(subject.model, traced).learnable).replace("G", "B")
    height, width = subject.imgsz
    about = (architecture.name, f"{entry.paper}, {entry.year}", f"{learnable} parameters", f"picture {height}x{width}")
    layout = layout_of(outline_of(traced, architecture.in_channels))
    return diagram(layout, Heading(title_of(architecture), "  ·  ".join(about)), subject.imgsz)


def diagram(layout: Layout, heading: Heading, picture: Pair) -> str:
    """The figure as an SVG document.

    layout: of the network's outline
    heading: what stands above
    picture: (height, width) that the network was shown
    """
    placed = shifted(layout, HEAD)
    legend, tall = _legend(placed, placed.height + LEGEND_LINE, picture)
    height = placed.height + LEGEND_LINE + tall + FOOT
    rules = [f".map.{name} {{ fill: var(--{name}); }}" for name in FILLS]
    rules += [f".arrow.{name} {{ stroke: var(--{tone}); }} .tip.{name} {{ fill: var(--{tone}); }}"
              for name, tone in STROKES.items()]  # fmt: skip
    rules += [".arrow.skip { stroke-width: 1.8; } .arrow.switch { stroke-dasharray: 4 3; }"]
    rules += [".arrow.cropped { stroke-dasharray: 9 3; } .arrow.enlarged { stroke-dasharray: 2 2; }"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {placed.width:g} {height:.0f}" '
        f'width="{placed.width:g}" height="{height:.0f}" role="img" aria-label={quoteattr(heading.title)}>',
        f"<title>{escape(heading.title)}</title>",
        f"<style>{STYLE}{chr(10).join(rules)}</style>",
        f'<rect class="paper" width="{placed.width:g}" height="{height:.0f}" rx="10"/>',
        f'<text class="title" x="20" y="34">{escape(heading.title)}</text>',
        f'<text class="about" x="20" y="54">{escape(heading.about)}</text>',
        *_rows(placed),
        *(_arrow(arrow, placed, picture) for arrow in placed.arrows),
        *(_box(box, placed) for box in placed.boxes),
        *legend,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rows(layout: Layout) -> Iterable[str]:
    for row in layout.rows:
        yield (
            f'<rect class="band" x="8" y="{row.top - 3:.1f}" width="{layout.width - 16:g}" '
            f'height="{row.bottom - row.top + 12:.1f}" rx="7"/>'
        )
        yield f'<text class="row" x="18" y="{(row.top + row.bottom) / 2 + 6:.1f}">{escape(row.name)}</text>'


def _box(box: Box, layout: Layout) -> str:
    drawn = box.drawn
    name = PAINT[drawn.kind][0]
    shape = [f"<title>{escape(_told(drawn))}</title>"]
    if drawn.kind == "block" and drawn.convolutions > 1:
        shape += [_rect(name, box.x + d, box.y + d, box.width, box.height) for d in (4.0, 2.0)]
    shape.append(_rect(name, box.x, box.y, box.width, box.height))
    if drawn.kind == "concat":
        shape += _parts(box, layout)
    if box.label:
        label = box.label
        x, y = label.x, label.y
        side = box.x + 0.5 if x >= box.x else box.x + box.width - 0.5
        shape.append(f'<path class="lead" d="M{side:.1f} {y + 2:.1f}V{box.y:.1f}"/>')
        detail = f" <tspan>{escape(label.detail)}</tspan>" if label.detail else ""
        anchor, at = ("", x) if x >= box.x else (' text-anchor="end"', x + label.width)
        shape.append(f'<text class="label" x="{at:.1f}" y="{y:.1f}"{anchor}>{escape(label.text)}{detail}</text>')
    return f"<g>{''.join(shape)}</g>"


def _rect(name: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="map {name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="1.5"/>'


def _parts(box: Box, layout: Layout) -> list[str]:
    """A concatenation shows what it is made of: each part as wide as its share of the channels; skips are white."""
    found, x = [], box.x
    drawn = {b.key: b.drawn for b in layout.boxes}
    skips = {a.link for a in layout.arrows if a.target == box.key and a.skips}
    total = sum(link.channels for link in box.drawn.links)
    for link in box.drawn.links:
        width = box.width * link.channels / total
        made = next((kind for kind in link.through if kind in ENLARGING), drawn[link.source].kind)
        name = "copied" if link in skips and made not in ENLARGING else PAINT[made][0]
        found.append(_rect(name, x, box.y, width, box.height))
        x += width
    return found


def _told(drawn: Drawn) -> str:
    """What the pointer shows over a box."""
    names = drawn.first if drawn.first == drawn.last else f"{drawn.first} to {drawn.last}"
    size = f"{drawn.channels} @ {drawn.size[0]}x{drawn.size[1]}" if drawn.gridded else f"{drawn.channels} numbers"
    if drawn.kind in ("picture", "border"):
        return f"{drawn.kind}, {size}"
    layers = f"{drawn.convolutions} convolutions" if drawn.kind == "block" else drawn.kind
    return f"{names}: {layers}, {size}"


def _arrow_class(arrow: Arrow, layout: Layout, picture: Pair) -> str:
    link, boxes = arrow.link, {box.key: box.drawn for box in layout.boxes}
    target, source = boxes[arrow.target], boxes[link.source]
    made = next((kind for kind in link.through if kind in ENLARGING), None)
    if link.switches:
        return "switch"
    if made is not None:
        return PAINT[made][0]
    if source.size == (1, 1) and len(target.sources) == 2 and target.kind in ENLARGING:
        return "gate"
    if arrow.skips:
        return "skip cropped" if "crop" in link.through else "skip"
    name = PAINT[target.kind][0]
    return name if name in STROKES and level_of(target, picture) != level_of(source, picture) else "flow"


def _arrow(arrow: Arrow, layout: Layout, picture: Pair) -> str:
    name = _arrow_class(arrow, layout, picture)
    points = list(arrow.points)
    (x0, y0), (x1, y1) = points[-2:]
    length = max(hypot(x1 - x0, y1 - y0), 1e-6)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    tip = min(TIP, length)
    points[-1] = (x1 - dx * tip * 0.8, y1 - dy * tip * 0.8)
    base = (x1 - dx * tip, y1 - dy * tip)
    half = tip * 0.45
    head = f"M{x1:.1f} {y1:.1f}L{base[0] - dy * half:.1f} {base[1] + dx * half:.1f} "
    head += f"{base[0] + dy * half:.1f} {base[1] - dx * half:.1f}Z"
    return f'<path class="arrow {name}" d="{_rounded(points)}"/><path class="tip {name}" d="{head}"/>'


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A line of corners, each rounded."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (before, corner), (_, after) in pairwise(pairwise(points)):
        a, b = _toward(corner, before), _toward(corner, after)
        path += f"L{a[0]:.1f} {a[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {b[0]:.1f} {b[1]:.1f}"
    return path + f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def _toward(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    length = hypot(other[0] - corner[0], other[1] - corner[1])
    share = min(BEND, length / 2) / max(length, 1e-6)
    return corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share


def _legend(layout: Layout, top: float, picture: Pair) -> tuple[list[str], float]:
    """The signs that occur in the figure, in lines, and their height."""
    kinds = {box.drawn.kind for box in layout.boxes}
    classes = {_arrow_class(arrow, layout, picture) for arrow in layout.arrows}
    signs = dict.fromkeys(("map", *PAINT[kind]) for kind in PAINT if kind in kinds)
    items = [*signs, *(("line", name, words) for name, words in LINES.items() if name in classes)]
    parts, x, y = [], 20.0, top
    for sort, name, words in items:
        wide = 30 + LETTER * len(words) + 14
        if x + wide > layout.width - 10 and x > 20:
            x, y = 20.0, y + LEGEND_LINE
        if sort == "map":
            parts.append(_rect(name, x + 6, y - 10, 10, 13))
        else:
            parts.append(f'<path class="arrow {name}" d="M{x:.1f} {y - 3.5:.1f}h17"/>')
            parts.append(f'<path class="tip {name}" d="M{x + 22:.1f} {y - 3.5:.1f}l-6 -2.7v5.4Z"/>')
        parts.append(f'<text class="legend" x="{x + 28:.1f}" y="{y:.1f}">{escape(words)}</text>')
        x += wide
    return parts, y - top
