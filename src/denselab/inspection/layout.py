"""Where the maps of an outline stand in a figure: time runs to the right, each stride has a row.

A network that shrinks and enlarges the picture is then a V, and its skips run level. The height of a box is the map's
size and its width the number of channels, both on logarithmic scales. Maps of one row that exist side by side (the
branches of ASPP) stand in lanes below one another.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from denselab.inspection.outline import Drawn, Link, Outline, merges, readers

WIDTH = 1000.0  # of the page, in pixels; a longer network gets a wider one
MARGIN_LEFT, MARGIN_RIGHT = 66.0, 16.0
LINE = 12.0  # height of a line of labels
CHARACTER = 5.7  # width of one, at most, at the size of labels
ROOM = 5.0  # between neighbouring labels
CLOSE = 3.0  # between maps of one size in a row
NARROWEST, WIDEST = 0.4, 1.25  # factor of the boxes' widths
STEP = 4.0
LANE_GAP, ROW_GAP = 9.0, 24.0
CORNER, WIDEST_GAP = 13.0, 90.0  # between a map and the one it leads to in another row
FALL = 110.0  # a box and its label are not wider
SKIP = 75.0  # a link from a map that stands so much before the last one is a skip
MOST_SHIFT = 60.0  # a map is rather moved to the right than put into a lower lane


@dataclass(frozen=True)
class Label:
    """A line of text above a box. x, y: of its start and its baseline. text: "64 @ 572x572". detail: "rate 12"."""

    x: float
    y: float
    text: str
    detail: str

    @property
    def width(self) -> float:
        """An upper bound of its width."""
        return _long(self.text, self.detail)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what it may cover."""
        return self.x, self.y - LINE + 3, self.x + self.width, self.y + 2.5


@dataclass(frozen=True)
class Box:
    """A map. x, y: upper left corner. label: None if it looks like the box before it."""

    key: int
    drawn: Drawn
    x: float
    y: float
    width: float
    height: float
    label: Label | None

    @property
    def middle(self) -> float:
        """y of its centre."""
        return self.y + self.height / 2

    @property
    def centre(self) -> float:
        """x of its centre."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Arrow:
    """A link as a line of corners. skips: whether it passes over other maps on its way to a merging."""

    link: Link
    target: int
    points: tuple[tuple[float, float], ...]
    skips: bool


@dataclass(frozen=True)
class Row:
    """All maps of one stride. name: "stride 8" or "1x1". top, bottom: y of what stands in it."""

    name: str
    top: float
    bottom: float


@dataclass(frozen=True)
class Layout:
    """A figure without its title and legend, from (0, 0) to (width, height)."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Spot:
    """Where a map stands before the rows have a height.

    run: boxes that touch have one number
    rising: whether the run comes from a lower row; its labels end where the box ends, others begin where it begins
    """

    level: int
    lane: int
    run: int
    rising: bool
    x: float
    width: float
    text: str
    detail: str

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def words(self) -> float:
        """Width of the label."""
        return _long(self.text, self.detail)

    @property
    def start(self) -> float:
        """x of the label."""
        return self.right - self.words if self.rising else self.x

    @property
    def reach(self) -> float:
        """Right end of the box and its label."""
        return max(self.right, self.start + self.words) + ROOM


@dataclass
class _Rows:
    """The spots that are taken."""

    spots: dict[int, _Spot] = field(default_factory=dict)

    def free(self, level: int, lane: int, x: float, beside: int | None = None) -> float:
        """The first x from there on at which the lane is free of all runs but one."""
        taken = (s for s in self.spots.values() if (s.level, s.lane) == (level, lane) and s.run != beside)
        return max((s.reach for s in taken), default=x)

    def label_fits(self, latest: int, drawn: Drawn, width: float, before: Drawn) -> bool:
        """Whether a map right beside `latest` has room for its label, which in a rising run reaches to the left."""
        last = self.spots[latest]
        if not last.rising or _words(drawn) == _words(before):
            return True
        left = last.right + CLOSE + width - _long(*_words(drawn))
        return left >= self.free(last.level, last.lane, left, last.run)

    def lanes(self, level: int) -> int:
        return 1 + max((s.lane for s in self.spots.values() if s.level == level), default=-1)


def layout_of(outline: Outline) -> Layout:
    """The figure of an outline: as wide as the page, with boxes as wide as that allows."""
    factor = WIDEST
    while factor > NARROWEST and _end(_spots(outline, factor, CORNER)) > WIDTH - MARGIN_RIGHT:
        factor -= 0.05
    gap = CORNER
    while gap < WIDEST_GAP and _end(_spots(outline, factor, gap + STEP)) <= WIDTH - MARGIN_RIGHT:
        gap += STEP
    spots = _spots(outline, factor, gap)
    boxes, rows = _boxes(outline, spots)
    arrows = _arrows(outline, spots, boxes)
    width = max(WIDTH, _end(spots) + MARGIN_RIGHT)
    return Layout(width, rows[-1].bottom + ROW_GAP, tuple(boxes.values()), arrows, rows)


def _end(spots: Mapping[int, _Spot]) -> float:
    return max(spot.reach for spot in spots.values())


def _long(text: str, detail: str) -> float:
    """An upper bound of the width of a label."""
    return CHARACTER * len(f"{text} {detail}".strip())


def level_of(drawn: Drawn, picture: tuple[int, int]) -> int:
    """The row of a map: 0 for the picture's own grid, 1 for stride 2, 3 for 8; lower for a map that shrank more."""
    shrunk = math.floor(math.log2(max(picture[0] / max(drawn.size[0], 1), 1)) + 1e-9)
    stride = round(math.log2(drawn.stride)) if drawn.stride else 0
    return max(stride, shrunk, 0)


def _spots(outline: Outline, factor: float, gap: float) -> dict[int, _Spot]:
    """Place the maps from left to right, each behind all that it is made of."""
    rows, users = _Rows(), readers(outline)
    picture = next(iter(outline.values())).size
    for key, drawn in outline.items():
        level, width = level_of(drawn, picture), factor * _width(drawn.channels)
        before = [rows.spots[source] for source in drawn.sources]
        latest = max(drawn.sources, default=key, key=lambda source: rows.spots[source].right)
        touches = _touches(outline, users, rows.spots, key, latest, level)
        if touches and rows.label_fits(latest, drawn, width, outline[latest]):
            last = rows.spots[latest]
            lane, run, rising, x = last.lane, last.run, last.rising, last.right + CLOSE
        else:
            rising, run = any(spot.level > level for spot in before), key
            earliest = max((_behind(spot, level, gap) for spot in before), default=MARGIN_LEFT)
            spare = max(_long(*_words(drawn)) - width, 0.0) if rising else 0.0  # of its label, to the left
            lane, x = _lane(rows, users, level, earliest, _wished(before, level), spare)
        same = run != key and _words(drawn) == _words(outline[latest])
        text, detail = ("", "") if same else _words(drawn)
        rows.spots[key] = _Spot(level, lane, run, rising, x, width, text, detail)
    return rows.spots


def _touches(
    outline: Outline,
    users: Mapping[int, Sequence[int]],
    spots: Mapping[int, _Spot],
    key: int,
    latest: int,
    level: int,
) -> bool:
    """Whether a map stands right beside the one it is made of.

    Of several maps made of one map the first does, if the others lead away to a merging or follow a pool; so does the
    sum of a block, all of whose parts stand in one run.
    """
    if latest == key or spots[latest].level != level:
        return False
    if any(spot.x > spots[latest].x for spot in spots.values() if spot.run == spots[latest].run):
        return False
    sources = outline[key].sources
    if len(sources) > 1:
        return outline[key].kind == "sum" and len({spots[source].run for source in sources}) == 1
    mates = [user for user in users[latest] if latest in outline[user].sources and not merges(outline[user])]
    beside = len(mates) == 1 or outline[latest].kind in ("max pool", "avg pool", "block")
    return bool(mates) and mates[0] == key and beside


def _behind(spot: _Spot, level: int, gap: float) -> float:
    """The first x for a map of `level` made of that one; upwards the link must pass beside the label."""
    return spot.right + gap if level >= spot.level else max(spot.right + gap, spot.reach)


def _wished(before: Sequence[_Spot], level: int) -> int:
    """The lane that a map would best stand in: that of the map it is made of."""
    return next((spot.lane for spot in before if spot.level == level), 0)


def _lane(
    rows: _Rows, users: Mapping[int, Sequence[int]], level: int, x: float, wished: int, spare: float
) -> tuple[int, float]:
    """A lane that is free at about x, the wished one or one below it, and where it is.

    spare: room for a label left of x
    """
    for lane in range(wished, max(rows.lanes(level), wished + 1)):
        free = max(x, rows.free(level, lane, x - spare) + spare)
        if free - x <= MOST_SHIFT:
            return lane, free
    return rows.lanes(level), _beside_falls(rows, users, level, x)


def _beside_falls(rows: _Rows, users: Mapping[int, Sequence[int]], level: int, x: float) -> float:
    """The first x in a new lane that is right of the lines which fall through it from the lanes above."""
    falls = [
        spot.x + spot.width / 2
        for key, spot in rows.spots.items()
        if spot.level == level and any(rows.spots[u].level > level for u in users[key] if u in rows.spots)
    ]
    return max([x, *(fall + ROOM for fall in falls if x <= fall <= x + FALL)])


def _width(channels: int) -> float:
    return 4.0 + 2.1 * math.log2(max(channels, 1))


def _height(drawn: Drawn) -> float:
    rows, columns = drawn.size if drawn.gridded else (1, 1)
    return 10.0 + 3.7 * (math.log2(max(rows, 1)) + math.log2(max(columns, 1)))


def _words(drawn: Drawn) -> tuple[str, str]:
    """ "64 @ 572x572" and what is special: a kernel that is not 3x3, a rate, a number of blocks."""
    height, width = drawn.size
    special = []
    if drawn.kind in ("conv", "transposed conv") and drawn.kernel != (3, 3):
        down, across = drawn.kernel
        special.append(f"k{down}" if down == across else f"k{down}x{across}")
    if drawn.kind == "block":
        special.append(f"{drawn.times} blocks" if drawn.times > 1 else f"{drawn.convolutions} conv")
    if drawn.rates:
        special.append(f"rate {', '.join(map(str, drawn.rates))}")
    size = f" @ {height}x{width}" if drawn.gridded else ""
    return f"{drawn.channels}{size}", ", ".join(special)


def _boxes(outline: Outline, spots: Mapping[int, _Spot]) -> tuple[dict[int, Box], tuple[Row, ...]]:
    """Give the rows and lanes their heights and the boxes their places in them."""
    lines = _lines(spots)
    boxes: dict[int, Box] = {}
    rows, y = [], 0.0
    for level in sorted({spot.level for spot in spots.values()}):
        top = y
        lanes = sorted({spot.lane for spot in spots.values() if spot.level == level})
        for lane in lanes:
            keys = [key for key, spot in spots.items() if (spot.level, spot.lane) == (level, lane)]
            tallest = max(_height(outline[key]) for key in keys)
            y += LINE * (1 + max(lines.get(key, 0) for key in keys))
            for key in keys:
                boxes[key] = _box(key, outline[key], spots[key], y + tallest / 2, y, lines.get(key))
            y += tallest + LANE_GAP
        rows.append(Row(_name([outline[key] for key in outline if spots[key].level == level]), top, y - LANE_GAP))
        y += ROW_GAP - LANE_GAP
    return {key: boxes[key] for key in outline}, tuple(rows)


def _name(maps: Sequence[Drawn]) -> str:
    """ "stride 8" or "1x1": what the maps of a row have in common."""
    if all(drawn.size == (1, 1) for drawn in maps):
        return "1x1"
    strides = Counter(drawn.stride for drawn in maps if drawn.stride).most_common(1)
    return f"stride {strides[0][0]:.3g}" if strides else ""


def _box(key: int, drawn: Drawn, spot: _Spot, middle: float, top: float, line: int | None) -> Box:
    height = _height(drawn)
    label = None if line is None else Label(spot.start, top - 4 - LINE * line, spot.text, spot.detail)
    return Box(key, drawn, spot.x, middle - height / 2, spot.width, height, label)


def _lines(spots: Mapping[int, _Spot]) -> dict[int, int]:
    """The line of each label above its box, 0 the lowest: within a run they are the steps of a stair."""
    found: dict[int, int] = {}
    for run in {spot.run for spot in spots.values()}:
        keys = [key for key, spot in spots.items() if spot.run == run and spot.text]
        taken: list[float] = []  # of each line: how far it is free, from the left or, in a rising run, the right
        for key in keys if spots[run].rising else reversed(keys):
            spot = spots[key]
            near, far = (spot.start, spot.right) if spot.rising else (-spot.start - spot.words, -spot.x)
            line = next((i for i in range(len(taken)) if max(taken[: i + 1]) + ROOM <= near), len(taken))
            taken[line : line + 1] = [far]
            found[key] = line
    return found


def _arrows(outline: Outline, spots: Mapping[int, _Spot], boxes: Mapping[int, Box]) -> tuple[Arrow, ...]:
    found = []
    for key, drawn in outline.items():
        latest = max(drawn.sources, default=key, key=lambda source: spots[source].right)
        for link in drawn.links:
            start = _pooled(outline, link) if link.switches else link.source
            if not link.switches and spots[start].run == spots[key].run:
                continue  # boxes that touch
            far = spots[latest].right - spots[start].right > SKIP
            skips = far and not link.switches and merges(drawn)
            found.append(Arrow(link, key, _route(start, key, spots, boxes), skips))
    return tuple(found)


def _pooled(outline: Outline, link: Link) -> int:
    """Switches tell places in the map before the pool."""
    return outline[link.source].links[0].source


def _route(
    start: int, end: int, spots: Mapping[int, _Spot], boxes: Mapping[int, Box]
) -> tuple[tuple[float, float], ...]:
    """The corners of a line from one box to another."""
    a, b = boxes[start], boxes[end]
    here, there = spots[start], spots[end]
    right = a.x + a.width
    blocked = any(
        (s.level, s.lane) == (here.level, here.lane) and right <= s.x < b.x - 1 and s.run != there.run
        for s in spots.values()
    )
    if here.level == there.level and here.lane == there.lane and not blocked:
        return ((right, a.middle), (b.x, b.middle))
    if there.level > here.level or (there.level == here.level and there.lane > here.lane):
        return ((a.centre, a.y + a.height), (a.centre, b.middle), (b.x, b.middle))
    if blocked:
        below = a.y + a.height + LANE_GAP / 2
        return ((a.centre, a.y + a.height), (a.centre, below), (b.centre, below), (b.centre, b.y + b.height))
    if here.level == there.level:
        turn = b.x - 6
        return ((right, a.middle), (turn, a.middle), (turn, b.middle), (b.x, b.middle))
    return ((right, a.middle), (b.centre, a.middle), (b.centre, b.y + b.height))


def shifted(layout: Layout, down: float) -> Layout:
    """The same figure, lower by so much."""
    boxes = tuple(
        replace(b, y=b.y + down, label=b.label and replace(b.label, y=b.label.y + down)) for b in layout.boxes
    )
    arrows = tuple(replace(a, points=tuple((x, y + down) for x, y in a.points)) for a in layout.arrows)
    rows = tuple(replace(r, top=r.top + down, bottom=r.bottom + down) for r in layout.rows)
    return replace(layout, boxes=boxes, arrows=arrows, rows=rows, height=layout.height + down)
