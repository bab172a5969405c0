"""What stands in a synthetic scene: buildings, trees, vehicles, poles, signs and wires.

Each function draws one thing on the scene, over what is there; x and foot (its lowest row) are pixels.
"""

import numpy as np
from PIL import Image, ImageDraw

from denselab.data.draw.scene_canvas import BUILDING, POLE, SIGN, TREE, VEHICLE, VOID, Mask, Scene


def draw_building(scene: Scene, left: float, foot: float) -> None:
    """A box or gabled house with a grid of windows, and at times a poster in the colours of signs."""
    unit = scene.unit
    broad, tall = scene.between(14, 34) * unit, scene.between(12, 38) * unit
    top = foot - tall
    mask = scene.box(left, top, left + broad, foot)
    if scene.chance(0.4):
        mask |= scene.polygon([(left, top), (left + broad / 2, top - 0.35 * broad), (left + broad, top)])
    rows, columns = np.indices(scene.size, dtype=np.float32)
    step_x, step_y = scene.between(4.5, 7) * unit, scene.between(5, 8) * unit
    across, down = (columns - left) % step_x / step_x, (rows - top) % step_y / step_y
    windows = (across > 0.3) & (across < 0.75) & (down > 0.3) & (down < 0.75) & (rows > top)
    tone = -0.45 if scene.chance(0.7) else 0.35
    texture = np.where(windows, tone, 0.0).astype(np.float32) + 0.02 * scene.noise(2, 2)
    scene.fill(mask, BUILDING, scene.paint(BUILDING), texture)
    if scene.chance(0.3):
        x, y = left + scene.between(0.1, 0.6) * broad, top + scene.between(0.1, 0.6) * tall
        poster = scene.box(x, y, x + 7 * unit, y + 5 * unit) & mask
        scene.image[poster] = scene.paint(SIGN)
    scene.cast_shadow(left + broad * 0.6, foot + 2 * unit, broad * 0.9, 3 * unit)


def draw_tree(scene: Scene, x: float, foot: float, scale: float) -> tuple[float, float]:
    """A trunk under a ragged crown of lumpy leaves; the fringe of the crown is ambiguous and labelled void."""
    unit = scene.unit * scale
    tall, radius = scene.between(20, 38) * unit, scene.between(8, 14) * unit
    trunk = scene.box(x - 2.4 * unit, foot - tall, x + 2.4 * unit, foot)
    scene.cast_shadow(x, foot, radius * 2, 2.5 * unit)
    scene.fill(trunk, TREE, np.array((0.25, 0.2, 0.16), np.float32), 0.1 * scene.noise(6, 1))
    centres = []
    for _ in range(7):
        shift_x, shift_y = scene.rng.uniform(-0.6, 0.6, 2) * radius
        centres.append((x + shift_x, foot - tall + shift_y * 0.8, radius * scene.between(0.5, 0.8)))
    ragged = scene.noise(1.5, 1.5)
    crown = scene.discs(centres)
    inner = scene.discs([(cx, cy, r - 1.2 * scene.unit) for cx, cy, r in centres if r > 2 * scene.unit])
    fringe = crown & ~inner
    leaves = 0.3 * np.tanh(1.5 * scene.noise(2.6, 2.6)) + 0.08 * ragged
    colour = scene.paint(TREE)
    scene.fill(inner, TREE, colour, leaves)
    scene.fill(fringe & (ragged > 0), TREE, colour, leaves)
    scene.ids[fringe & (np.abs(ragged) < 0.25)] = VOID
    return x, foot - tall


def draw_vehicle(scene: Scene, x: float, foot: float, scale: float) -> tuple[float, float]:
    """A smooth body with a cabin, dark panes and two wheels, seen from the side."""
    unit = scene.unit * scale
    long, tall = scene.between(18, 28) * unit, scene.between(6, 9) * unit
    left, right, deck = x - long / 2, x + long / 2, foot - tall
    cabin = tall * scene.between(0.7, 1.1)
    nose, tail = scene.between(0.1, 0.35) * long, scene.between(0.05, 0.3) * long
    scene.cast_shadow(left, foot, long * 1.15, 2 * unit)
    body = scene.box(left, deck, right, foot - 1.2 * unit)
    shell = [(left + nose * 0.7, deck), (left + nose, deck - cabin), (right - tail, deck - cabin), (right, deck)]
    roof = scene.polygon(shell)
    rows = np.arange(scene.size[0], dtype=np.float32)[:, None]
    gloss = np.broadcast_to(0.25 * np.clip((deck - rows) / tall + 0.3, -1, 1), scene.size)
    colour = scene.paint(VEHICLE)
    scene.fill(body | roof, VEHICLE, colour, gloss)
    for start, stop in ((0.12, 0.46), (0.54, 0.88)):
        span = right - tail - left - nose
        pane = scene.box(left + nose + start * span, deck - 0.8 * cabin, left + nose + stop * span, deck)
        scene.image[pane & roof] = (0.15, 0.18, 0.22)
    wheels = scene.discs(
        [(left + 0.22 * long, foot - 1.8 * unit, 2.4 * unit), (right - 0.22 * long, foot - 1.8 * unit, 2.4 * unit)]
    )
    scene.fill(wheels, VEHICLE, np.array((0.12, 0.12, 0.13), np.float32))
    return x, deck


def draw_pole(scene: Scene, x: float, foot: float, scale: float) -> tuple[float, float]:
    """A thin pole, tall as a lamp or short with a sign on it; returns its top."""
    unit = scene.unit * scale
    signed = scene.chance(0.5)
    tall = scene.between(18, 28) * unit if signed else scene.between(35, 65) * unit
    half = max(1.8 * scene.unit, scene.between(1.7, 2.5) * unit)
    top = foot - tall
    scene.fill(scene.box(x - half, top, x + half, foot), POLE, scene.paint(POLE), 0.03 * scene.noise(3, 1))
    if signed:
        _draw_sign(scene, x, top, max(5.5 * scene.unit, scene.between(5.5, 8.5) * unit))
    elif scene.chance(0.5):  # the arm of a lamp
        reach = scene.between(5, 10) * unit * (1 if scene.chance(0.5) else -1)
        arm = scene.box(min(x, x + reach), top, max(x, x + reach), top + max(3.0 * scene.unit, 3.0 * unit))
        scene.fill(arm, POLE, scene.paint(POLE))
    return x, top


def _draw_sign(scene: Scene, x: float, y: float, radius: float) -> None:
    """A disc, triangle or square with a rim and a bar."""
    colour, kind = scene.paint(SIGN), int(scene.rng.integers(3))

    def shape(size: float) -> Mask:
        if kind == 0:
            return scene.discs([(x, y, size)])
        if kind == 1:
            return scene.polygon([(x - size, y + 0.8 * size), (x + size, y + 0.8 * size), (x, y - size)])
        return scene.box(x - 0.9 * size, y - 0.9 * size, x + 0.9 * size, y + 0.9 * size)

    scene.fill(shape(radius), SIGN, np.array((0.92, 0.92, 0.9), np.float32))
    scene.fill(shape(radius * 0.75), SIGN, colour)
    bar = scene.box(x - 0.35 * radius, y - 0.15 * radius, x + 0.35 * radius, y + 0.15 * radius)
    scene.image[bar] = (0.1, 0.1, 0.1)


def draw_wire(scene: Scene, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """A sagging line, one pixel wide at 96 rows, between two pole tops."""
    canvas = Image.new("1", (scene.size[1], scene.size[0]))
    along = np.linspace(0, 1, 12)
    xs = start[0] + (stop[0] - start[0]) * along
    ys = start[1] + (stop[1] - start[1]) * along + 16 * scene.unit * along * (1 - along)
    points = list(zip(xs.tolist(), ys.tolist(), strict=True))
    ImageDraw.Draw(canvas).line(points, fill=1, width=max(1, round(scene.unit)))
    scene.fill(np.asarray(canvas), POLE, np.array((0.12, 0.12, 0.13), np.float32))
