"""The pictures of docs/by-hand.md, computed by the functions that the page shows and drawn as small SVG files.

python docs/by_hand_pictures.py [--only gridding separable]
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from drawing import options, write
from numpy.typing import NDArray
from torch.nn import functional as F

from denselab.crf import Parameters
from denselab.crf.refinement import refined_steps
from denselab.crf_layer.crf_rnn import CRFRNN, CRFSettings
from denselab.layers.convolution_matrix import convolution_matrix
from denselab.layers.unpool import bed_of_nails, max_pool_with_indices, max_unpool, nearest_unpool

OUT = Path(__file__).parent / "images" / "by-hand"
STYLE = """svg { --paper: #ffffff; --ink: #1c2026; --soft: #68707c; --line: #c9ced5; --a: #7ea6e0; --b: #ea8878;
 --c: #76bd8b; --d: #f0bb5a; --e: #b49ae2; --none: #f3f4f2; }
@media (prefers-color-scheme: dark) { svg { --paper: #15181c; --ink: #e9ebee; --soft: #9aa3af; --line: #3b424b;
 --a: #3f6cb0; --b: #b4503f; --c: #37814f; --d: #b98318; --e: #7459ab; --none: #23282e; } }
text { font: 12px "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; fill: var(--ink); }
.s { fill: var(--soft); } .m { text-anchor: middle; } .e { text-anchor: end; } .g { stroke: var(--line); fill: none; }
.p { fill: none; stroke-width: 2; stroke-linejoin: round; } .x { fill: none; stroke: var(--ink); stroke-width: 1.6; }
"""
COLOURS = ("a", "b", "c", "d", "e")
Numbers = NDArray[np.float64]


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A document with a title and a background."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{title}"><title>{title}</title><style>{STYLE}</style>'
    )
    return "\n".join(
        [head, f'<rect width="{width:g}" height="{height:g}" rx="8" fill="var(--paper)"/>', *parts, "</svg>\n"]
    )


def words(x: float, y: float, text: str, style: str = "") -> str:
    """A line of text. style: classes; m centred, e ending at x, s soft."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{text}</text>'


def cells(
    values: Sequence[Sequence[object]], x: float, y: float, side: float, colour: Callable[[int, int], str]
) -> list[str]:
    """A grid of cells with their values written in. colour: of row and column, a name in the style."""
    parts = []
    for row, column in product(range(len(values)), range(len(values[0]))):
        left, top = x + column * side, y + row * side
        parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{side:g}" height="{side:g}" fill="var(--{colour(row, column)})" '
            'stroke="var(--line)"/>'
        )
        if (value := values[row][column]) != "":
            parts.append(
                words(
                    left + side / 2, top + side / 2 + 4, f"{value:g}" if isinstance(value, float) else str(value), "m"
                )
            )
    return parts


def transposed() -> str:
    """The matrix of a convolution, its transpose on two values, and the copies that are added."""
    kernel = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    matrix = convolution_matrix(kernel, (1, 5), stride=2).to_dense()
    coarse = torch.tensor([10.0, 100.0])
    copies = matrix * coarse[:, None]
    side, held = 30.0, COLOURS[:2]
    parts = [words(20, 24, "the convolution, stride 2")]
    parts += cells(matrix.tolist(), 20, 36, side, lambda r, c: held[r] if matrix[r, c] else "none")
    parts += [words(230, 24, "its transpose"), words(406, 24, "a copy of the kernel for each value")]
    parts += cells(matrix.T.tolist(), 230, 36, side, lambda r, c: held[c] if matrix[c, r] else "none")
    parts += cells([[value] for value in coarse.tolist()], 320, 36 + 1.5 * side, side, lambda r, c: held[r])
    parts += [words(305, 36 + 2.6 * side, "·", "m"), words(372, 36 + 2.6 * side, "=", "m")]
    blank = [["" if not matrix[r, c] else float(copies[r, c]) for c in range(5)] for r in range(2)]
    parts += cells(blank, 406, 36, 40, lambda r, c: held[r] if matrix[r, c] else "none")
    parts += cells([copies.sum(dim=0).tolist()], 406, 136, 40, lambda r, c: "c" if matrix[:, c].min() > 0 else "none")
    parts.append(words(406, 130, "added where they overlap", "s"))
    return svg(640, 200, "A transposed convolution multiplies with the transposed matrix", parts)


def unpooling() -> str:
    """A pool and its three inverses."""
    x = torch.tensor([[[[1.0, 2.0, 6.0, 3.0], [3.0, 5.0, 2.0, 1.0]]]])
    pooled, indices = max_pool_with_indices()(x)
    places = set(indices.flatten().tolist())
    parts = [words(20, 24, "before the pool"), words(170, 24, "pooled")]
    parts += cells(x[0, 0].tolist(), 20, 36, 30, lambda r, c: "d" if 4 * r + c in places else "none")
    parts += cells(pooled[0, 0].tolist(), 170, 51, 30, lambda r, c: "d")
    found = (("nearest", nearest_unpool(pooled, 2)), ("bed of nails", bed_of_nails(pooled, 2)))
    for number, (name, values) in enumerate((*found, ("max-unpooling", max_unpool(pooled, indices, (2, 4))))):
        left, grid = 270 + 145 * number, values[0, 0]
        parts.append(words(left, 24, name))
        parts += cells(grid.tolist(), left, 36, 30, lambda r, c, grid=grid: "d" if grid[r, c] else "none")
    return svg(700, 112, "A pool of 2x2, and three ways back", parts)


def gridding() -> str:
    """Which pixels one output sees through 3x3 layers of different rates, in two dimensions."""
    parts, left = [], 20.0
    for rates in ((2, 2), (1, 2), (4, 4, 4), (1, 2, 5)):
        size = 2 * sum(rates) + 1
        picture = torch.zeros(1, 1, size, size, requires_grad=True)
        out = picture
        for rate in rates:
            out = F.conv2d(out, torch.ones(1, 1, 3, 3), dilation=rate)
        out.sum().backward()
        seen = picture.grad[0, 0] > 0
        side = 9.0 if size < 15 else 6.0
        parts.append(words(left, 24, f"rates {', '.join(map(str, rates))}"))
        parts.append(words(left, 40, f"sees {seen.float().mean():.0%} of {size}x{size}", "s"))
        parts.append(f'<rect x="{left:g}" y="50" width="{side * size:g}" height="{side * size:g}" fill="var(--none)"/>')
        dots = "".join(
            f"M{left + c * side:g} {50 + r * side:g}h{side - 1:g}v{side - 1:g}h{1 - side:g}z"
            for r, c in seen.nonzero().tolist()
        )
        parts.append(f'<path d="{dots}" fill="var(--a)"/>')
        left += max(side * size, 130) + 26
    return svg(left, 220, "Pixels that one output sees", parts)


def growth() -> str:
    """The field of plain 3x3 layers, and of layers whose rates double, over their number."""
    layers = range(6)
    curves = [
        ("rates 1", "b", [(n / 6, (1 + 2 * n) / 70) for n in layers]),
        ("1, 2, 4, 8, 16", "c", [(n / 6, (2 ** (n + 1) - 1) / 70) for n in layers]),
    ]
    ticks = ({n / 6: str(n) for n in (0, 2, 4)}, {at / 70: str(at) for at in (0, 15, 31, 63)})
    parts = chart(curves, (50, 40), ("layers of 3x3", "side of the field, pixels"), ticks)
    return svg(410, 240, "Rates that double let the field double", parts)


def stitching() -> str:
    """Sixteen runs of a network of stride 4, each shifted, interlaced: the number of the run that answers a cell."""
    runs = [[4 * (r % 4) + c % 4 for c in range(8)] for r in range(8)]
    parts = [words(20, 24, "one run: every fourth cell"), words(250, 24, "sixteen shifted runs, interlaced")]
    one = [[0 if n == 0 else "" for n in line] for line in runs]
    parts += cells(one, 20, 36, 24, lambda r, c: "a" if runs[r][c] == 0 else "none")
    parts += cells(runs, 250, 36, 24, lambda r, c: ("a", "b", "c", "d")[(r % 4 + c % 4) % 4] if runs[r][c] else "a")
    return svg(464, 244, "Shift and stitch", parts)


def chart(
    curves: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    place: tuple[float, float],
    axes: tuple[str, str],
    ticks: tuple[dict[float, str], dict[float, str]],
) -> list[str]:
    """Curves in a frame of 250x150. curves: (name, colour, points in 0..1 each). ticks: {place in 0..1: text}."""
    x, y, w, h = *place, 250.0, 150.0
    parts = [
        f'<path class="g" d="M{x:g} {y:g}v{h:g}h{w:g}"/>',
        words(x + w, y + h + 34, axes[0], "s e"),
        words(x, y - 10, axes[1], "s"),
    ]
    parts += [words(x + w * at, y + h + 17, text, "s m") for at, text in ticks[0].items()]
    parts += [words(x - 7, y + h * (1 - at) + 4, text, "s e") for at, text in ticks[1].items()]
    for name, colour, points in curves:
        line = "L".join(f"{x + w * a:.1f} {y + h * (1 - b):.1f}" for a, b in points)
        parts.append(f'<path class="p" d="M{line}" stroke="var(--{colour})"/>')
        end = points[-1]
        parts.append(words(x + w * end[0] + 6, y + h * (1 - end[1]) + 4, name))
    return parts


def patches() -> str:
    """How often patches compute a pixel, and how many of them are the only ones of their look, by their size."""
    sizes = list(range(4, 60, 4))
    board = np.pad(np.indices((64, 64)).sum(axis=0) // 8 % 2, 4, constant_values=2)

    def different(size: int) -> float:
        views = np.lib.stride_tricks.sliding_window_view(board, (size, size))
        _, counts = np.unique(views.reshape(-1, size * size), axis=0, return_counts=True)
        return float((counts == 1).sum() / counts.sum())

    shares = [(size / 60, different(size)) for size in sizes]
    costs = [(size / 60, (size / 8) ** 2 / 60) for size in sizes]
    sides = {at / 60: str(at) for at in (8, 24, 40, 56)}
    parts = chart(
        [("", "a", shares)],
        (50, 40),
        ("side of the patch", "patches that occur once"),
        (sides, {0: "0 %", 0.5: "50 %", 1: "100 %"}),
    )
    parts += chart(
        [("", "b", costs)],
        (370, 40),
        ("side of the patch", "times that a pixel is computed, stride 8"),
        (sides, {0: "0", 0.5: "30", 1: "60"}),
    )
    return svg(650, 240, "The size of a patch: what it knows and what it costs", parts)


def pools() -> str:
    """Work and field of plain stacks of 3x3 layers, and of stacks with a pool after every second one."""

    def measured(layers: str) -> tuple[int, float]:
        size, step, side, work = 1, 1, 256.0, 0.0
        for layer in layers:
            size, step = size + (2 if layer == "c" else 1) * step, step * (2 if layer == "p" else 1)
            side, work = (side / 2, work) if layer == "p" else (side, work + side * side)
        return size, work / 256**2

    plain = [measured("c" * n) for n in range(1, 31)]
    pooled = [measured(("ccp" * 4)[:n]) for n in (1, 2, 4, 5, 7, 8, 10, 11)]
    curves = [
        (name, colour, [(field / 80, work / 32) for field, work in points if field <= 80])
        for name, colour, points in (("without pools", "b", plain), ("with pools", "c", pooled))
    ]
    ticks = ({at / 80: str(at) for at in (0, 20, 40, 60)}, {at / 32: str(at) for at in (0, 10, 20, 30)})
    parts = chart(curves, (50, 40), ("pixels that one output sees", "layers at full size, in work"), ticks)
    return svg(420, 240, "Without pools a wide field costs many layers at full size", parts)


def separable() -> str:
    """The share of a full 3x3 convolution's work that a separable one takes, over the number of channels."""
    channels = np.geomspace(4, 512, 40)
    points = [(float(np.log2(c / 4) / 7), float(1 / 9 + 1 / c) / 0.4) for c in channels]
    floor = [(0.0, 1 / 9 / 0.4), (1.0, 1 / 9 / 0.4)]
    ticks = (
        {float(np.log2(c / 4) / 7): str(c) for c in (4, 16, 64, 256)},
        {at / 0.4: f"{at:.0%}" for at in (0, 0.1, 0.2, 0.3, 0.4)},
    )
    parts = chart(
        [("1/9", "d", floor), ("", "a", points)],
        (60, 40),
        ("channels", "work of a separable 3x3, of a full one"),
        ticks,
    )
    return svg(370, 240, "What a separable convolution costs", parts)


def beliefs() -> str:
    """The belief of the right class at every iteration of the CRF."""
    image = np.zeros((24, 24, 3), np.uint8)
    image[:, 12:] = 200
    right = np.where(np.arange(24) >= 12, 0.7, 0.3)
    probs = np.stack([1 - right, right])[:, None].repeat(24, axis=1).astype(np.float32)
    probs[:, 6, 18] = 0.6, 0.4
    weights = Parameters(
        theta_alpha=20, theta_beta=10, w1=2, theta_gamma=2, w2=1, iterations=4, normalization="symmetric"
    )
    parts = []
    for number, step in enumerate(refined_steps(image, probs, weights)):
        left, name = 20 + 122 * number, "score map" if number == 0 else f"iteration {number}"
        parts += [words(left, 24, name), words(left, 40, f"the odd one: {float(step[1, 6, 18]):.2f}", "s")]
        parts.append('<g shape-rendering="crispEdges">')
        for row in range(24):  # neighbours of one belief are one rectangle
            start = 0
            for column in range(1, 25):
                if column == 24 or abs(step[1, row, column] - step[1, row, start]) > 0.02:
                    parts.append(
                        f'<path d="M{left + 4.5 * start:g} {50 + 4.5 * row:g}h{4.5 * (column - start):g}v4.5'
                        f'h{4.5 * (start - column):g}z" fill="var(--b)" opacity="{float(step[1, row, start]):.2f}"/>'
                    )
                    start = column
        parts.append("</g>")
        parts.append(f'<rect class="g" x="{left:g}" y="50" width="108" height="108"/>')
    return svg(30 + 122 * 5, 174, "Beliefs of the CRF", parts)


def cascade() -> str:
    """The loss by how sure the network is, of the network alone and behind a CRF."""
    side = 16
    truth = (torch.arange(side) >= side // 2).long().expand(side, side)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    evidence = (2.0 * truth - 1) * torch.where((3 * rows + 5 * columns) % 4 == 0, -1, 1)
    colours = (200.0 * truth).repeat(1, 3, 1, 1)
    chosen = {"theta_alpha": 8, "theta_beta": 20, "theta_gamma": 1, "w1": 2, "w2": 2, "test_iterations": 5}
    crf = CRFRNN(2, CRFSettings(**chosen, normalization="symmetric")).eval()
    tried = [step / 20 for step in range(2, 50)]
    logits = [torch.stack([torch.zeros(side, side), sure * evidence])[None] for sure in tried]
    with torch.no_grad():
        alone = [F.cross_entropy(one, truth[None]).item() for one in logits]
        whole = [F.cross_entropy(crf(one, colours), truth[None]).item() for one in logits]
    parts = []
    for number, (name, colour, losses, top) in enumerate(
        (("the network alone", "b", alone, 0.8), ("behind the CRF", "c", whole, 0.16))
    ):
        place = (60 + 330 * number, 40)
        points = [(sure / 2.5, value / top) for sure, value in zip(tried, losses, strict=True) if value <= top]
        ticks = ({at / 2.5: str(at) for at in (0.5, 1, 1.5, 2)}, {0: "0", 0.5: f"{top / 2:g}", 1: f"{top:g}"})
        parts += chart([("", colour, points)], place, ("log-odds of the network", f"loss, {name}"), ticks)
        best = int(np.argmin(losses))
        x, y = place[0] + 250 * tried[best] / 2.5, place[1] + 150 * (1 - losses[best] / top)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--ink)"/>')
        parts.append(words(x, y - 12, f"{tried[best]:g}", "m"))
    return svg(670, 240, "What is best for a part is not best for the whole", parts)


def tasks() -> str:
    """The same two cars on a street as three tasks see them."""
    semantic = np.zeros((4, 8), int)
    semantic[3] = 1  # the street
    semantic[1:3, 1:7] = 2  # two cars that touch
    instance = np.where(semantic == 2, np.where(np.arange(8) < 4, 1, 2), 0)
    tones = {0: "none", 1: "e", 2: "b", 2001: "b", 2002: "d", 1000: "e"}
    panoptic = np.where(semantic == 2, 2000 + instance, 1000 * semantic)
    parts = []
    for number, (name, values, colour) in enumerate(
        (
            ("semantic", semantic, tones),
            ("instance", instance, {0: "none", 1: "b", 2: "d"}),
            ("panoptic", panoptic, tones),
        )
    ):
        left = 20 + 290 * number
        parts.append(words(left, 24, name))
        shown = [[int(v) if number or v else "" for v in line] for line in values]
        shown = [["" if v == 0 else v for v in line] for line in shown]
        parts += cells(shown, left, 36, 33, lambda r, c, v=values, k=colour: k[int(v[r, c])])
    return svg(880, 186, "Semantic, instance, panoptic", parts)


PICTURES: dict[str, Callable[[], str]] = {
    "transposed": transposed,
    "unpooling": unpooling,
    "stitching": stitching,
    "patches": patches,
    "pools": pools,
    "gridding": gridding,
    "growth": growth,
    "separable": separable,
    "beliefs": beliefs,
    "cascade": cascade,
    "tasks": tasks,
}


def main() -> None:
    """Draw all of them, or those that are named."""
    arguments = options(__doc__, PICTURES).parse_args()
    write(PICTURES, arguments.only, f"{OUT}/{{}}.svg", str.encode)


if __name__ == "__main__":
    main()
