"""The outline of a network: its trace without what a figure leaves out.

A graph of maps and of what leads from one to the next. Normalisations are left out, a depthwise and a 1x1 convolution
are one map, so is a residual block, and blocks that repeat are one with a count. What only brings a map to the place
where it is joined (a crop, an enlargement) has no map of its own: it is part of the link.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from denselab.inspection.operations import Kind, Pair
from denselab.inspection.trace import PICTURE, Operation, Trace

MapKind = Kind | Literal["picture", "border", "separable", "block"]
MERGING = ("concat", "sum", "maximum")
ENLARGING = ("interpolation", "transposed conv", "unpool")
CONVOLVING = ("conv", "transposed conv", "linear", "product", "separable", "block")
WIDE_BORDER = 1.05  # a border that makes the picture larger by this factor is drawn
BORDER = PICTURE + 1  # key of the picture with its border; those of operations come after it
MOST_MAPS = 90  # in a figure; with more, every part at one size that has one way in and out is a block


@dataclass(frozen=True)
class Link:
    """How one map is made of another.

    source: key of the other map
    channels: that arrive
    through: operations on the way
    switches: whether only the places of the maxima are taken from there
    """

    source: int
    channels: int
    through: tuple[MapKind, ...] = ()
    switches: bool = False


@dataclass(frozen=True)
class Drawn:
    """A map of the outline and what made it.

    kind: of the operation
    channels, size: of the map; size is (h, w)
    stride: pixels between neighbouring cells; None if unknown
    links: to the maps it is made of
    kernel: of the operation, or the widest in a block
    rates: of its atrous convolutions, in order; () without any
    convolutions: layers with weights
    times: how many blocks in a row it stands for
    depthwise: whether each channel is convolved by itself
    gridded: whether it is a map; else vectors, such as one for each region
    first, last: names of the layers it stands for
    """

    kind: MapKind
    channels: int
    size: Pair
    stride: float | None
    links: tuple[Link, ...]
    kernel: Pair = (1, 1)
    rates: tuple[int, ...] = ()
    convolutions: int = 0
    times: int = 1
    depthwise: bool = False
    gridded: bool = True
    first: str = ""
    last: str = ""

    @property
    def sources(self) -> tuple[int, ...]:
        """Keys of the maps it is made of, without those that only give switches."""
        return tuple(link.source for link in self.links if not link.switches)


Outline = Mapping[int, Drawn]
"""Maps by key, in order of computation: sources come before what is made of them."""

Users = Mapping[int, Sequence[int]]
"""The maps that are made of each map. To find them goes through all links, of which dense networks have thousands."""


def outline_of(traced: Trace, in_channels: int = 3) -> Outline:
    """The outline of a trace. The first map is the picture, the last the logits.

    in_channels: of the picture
    """
    outline = _maps(traced, in_channels)
    steps: list[Callable[[Outline], Outline]] = [_without_gates, _linked, _separable, _residual, _repeated, _summed]
    for step in steps:
        outline = _used(step(outline))
    if len(outline) > MOST_MAPS:
        outline = _repeated(_folded(outline))
    return outline


def _maps(traced: Trace, in_channels: int) -> Outline:
    """A map for every operation; the same layer twice on the same map (windows in batches) is one."""
    found: dict[int, Drawn] = {PICTURE: Drawn("picture", in_channels, traced.size, 1.0, ())}
    place = {PICTURE: PICTURE}  # of operations in `found`
    border = next((o.reads for o in traced.operations if o.sources == (PICTURE,)), traced.size)
    if border[0] > WIDE_BORDER * traced.size[0]:  # U-Net mirrors it before the first layer
        found[BORDER] = Drawn("border", in_channels, border, 1.0, (Link(PICTURE, in_channels),))
        place[PICTURE] = BORDER
    known: dict[object, int] = {}
    for key, operation in enumerate(traced.operations):
        sources = tuple(dict.fromkeys(place[source] for source in operation.sources))
        if operation.what.kind == "norm":
            place[key] = sources[0]
            continue
        what = replace(operation.what, multiply_adds=0)  # which a smaller last batch has fewer of
        same = (operation.path, what, operation.view.size, operation.out_channels, sources)
        place[key] = known.setdefault(same, BORDER + 1 + key)
        if place[key] not in found:
            found[place[key]] = _drawn(operation, sources, found)
    return found


def _drawn(operation: Operation, sources: tuple[int, ...], found: Outline) -> Drawn:
    what, unpools = operation.what, operation.what.kind == "unpool"
    links = tuple(Link(s, found[s].channels, switches=unpools and i > 0) for i, s in enumerate(sources))
    if unpools and len(links) == 1 and found[sources[0]].kind == "max pool":  # SegNet's deepest pool is undone at once
        links = (*links, replace(links[0], switches=True))
    rate, jump = max(what.dilation), operation.view.rows.jump
    return Drawn(
        what.kind,
        operation.out_channels,
        operation.view.size,
        None if jump is None else float(jump),
        links,
        what.kernel,
        (rate,) if rate > 1 and what.kind == "conv" else (),
        int(what.kind in CONVOLVING),
        depthwise=what.groups > 1 and what.groups == what.in_channels,
        gridded=operation.view.axes is not None,
        first=operation.name,
        last=operation.name,
    )


def readers(outline: Outline) -> dict[int, list[int]]:
    """The maps that are made of each map, switches included."""
    found: dict[int, list[int]] = {key: [] for key in outline}
    for key, drawn in outline.items():
        for source in {link.source for link in drawn.links}:
            found[source].append(key)
    return found


def _used(outline: Outline) -> Outline:
    """The maps that the last one depends on."""
    needed, open_keys = set[int](), [max(outline)]
    while open_keys:
        key = open_keys.pop()
        if key not in needed:
            needed.add(key)
            open_keys += [link.source for link in outline[key].links]
    return {key: drawn for key, drawn in outline.items() if key in needed}


def _without_gates(outline: Outline) -> Outline:
    """Squeeze-and-excitation multiplies a map by one value per channel: a part of its block that no figure draws."""

    def kept(drawn: Drawn) -> tuple[Link, ...]:
        gated = drawn.kind == "conv" or (drawn.kind == "sum" and len(drawn.links) > 2)
        larger = [link for link in drawn.links if outline[link.source].size != (1, 1)]
        return tuple(larger) if gated and larger else drawn.links

    return {key: replace(drawn, links=kept(drawn)) for key, drawn in outline.items()}


def _linked(outline: Outline) -> Outline:
    """Crops and enlargements that only lead to a merging become part of the link; other crops belong to their map."""
    found = dict(outline)
    for key in sorted(outline, reverse=True):
        drawn = found.get(key)
        if drawn is None or drawn.kind not in ("crop", *ENLARGING) or len(drawn.links) != 1:
            continue
        before, users = drawn.links[0].source, readers(found)[key]
        moves = drawn.kind == "crop" or drawn.size != found[before].size
        if moves and len(users) == 1 and merges(found[users[0]]):
            found[users[0]] = _relinked(found[users[0]], key, before, drawn)
            del found[key]
        elif drawn.kind == "interpolation" and drawn.size == found[before].size:
            for user in users:
                links = [replace(link, source=before) if link.source == key else link for link in found[user].links]
                found[user] = replace(found[user], links=tuple(links))
            if users:
                del found[key]
        elif drawn.kind == "crop" and readers(found)[before] == [key] and before != PICTURE:
            found[key] = replace(found[before], size=drawn.size)
            del found[before]
    return dict(sorted(found.items()))


def merges(drawn: Drawn) -> bool:
    """Whether a map is joined from several; a layer on vectors that are put together out of many maps counts too."""
    return drawn.kind in MERGING or len(drawn.sources) > 2


def _relinked(merging: Drawn, key: int, source: int, passed: Drawn) -> Drawn:
    """The merging with its link to `key`, whose map is `passed`, led on to the source of that."""
    links = tuple(
        Link(source, passed.channels, (passed.kind, *link.through)) if link.source == key else link
        for link in merging.links
    )
    return replace(merging, links=links)


def _separable(outline: Outline) -> Outline:
    """A depthwise and the 1x1 convolution after it are one; with a widening 1x1 before it, an inverted residual."""
    found, users = dict(outline), readers(outline)
    for key, point in outline.items():
        depth_key = point.sources[0] if _pointwise(point) else key
        depth = found.get(depth_key)
        if depth is None or not depth.depthwise or users[depth_key] != [key] or len(depth.links) != 1:
            continue
        found[key] = _merged("separable", point, [depth])
        wide_key = depth.links[0].source
        wide = found[wide_key]
        if _pointwise(wide) and users[wide_key] == [depth_key] and wide.channels > wide.links[0].channels:
            found[key] = _merged("block", found[key], [wide])
            del found[wide_key]
        del found[depth_key]
    return found


def _pointwise(drawn: Drawn) -> bool:
    return drawn.kind == "conv" and drawn.kernel == (1, 1) and len(drawn.links) == 1


def _merged(kind: MapKind, last: Drawn, before: list[Drawn]) -> Drawn:
    """`last` and the maps before it, the nearest to the input first, as one."""
    parts = [*before, last]
    return replace(
        last,
        kind=kind,
        links=before[0].links,
        kernel=max(part.kernel for part in parts),
        rates=tuple(dict.fromkeys(rate for part in parts for rate in part.rates)),
        convolutions=sum(part.convolutions for part in parts),
        depthwise=False,
        first=before[0].first,
    )


def _residual(outline: Outline) -> Outline:
    """A sum with a shortcut, the map itself or a 1x1 convolution of it, is one block with all that lies between."""
    found, users = dict(outline), readers(outline)
    for key in outline:
        if found[key].kind != "sum" or len(found[key].links) != 2 or any(link.through for link in found[key].links):
            continue
        first, second = found[key].sources
        for short, long in ((first, second), (second, first)):
            start, shortcut = _shortcut(found, users, short, key)
            inside = _between(found, users, start, [long], {*shortcut, key})
            if inside:
                parts = [found[k] for k in sorted({*inside, *shortcut})]
                block = _merged("block", found[key], parts)
                found[key] = replace(block, links=(Link(start, found[start].channels),))
                for part in {*inside, *shortcut}:
                    del found[part]
                users = readers(found)
                break
    return found


def _shortcut(outline: Outline, users: Users, short: int, key: int) -> tuple[int, tuple[int, ...]]:
    """Where the block that ends in the sum `key` starts, and the maps of its shortcut, whose last is `short`."""
    path: list[int] = []
    while outline[short].kind in ("conv", "avg pool") and outline[short].kernel in ((1, 1), (2, 2)):
        if users[short] != [path[-1] if path else key] or len(outline[short].links) != 1 or len(path) == 2:
            break
        path.append(short)
        short = outline[short].links[0].source
        if outline[path[-1]].kind == "conv" and outline[short].kind != "avg pool":
            break
    return short, tuple(path)


def _between(outline: Outline, users: Users, start: int, ends: Iterable[int], others: set[int]) -> set[int] | None:
    """The maps after `start` up to `ends`; None if more than that is involved, or anything is enlarged.

    others: maps of the block beside these
    """
    inside, open_keys = set[int](), [*ends]
    while open_keys:
        key = open_keys.pop()
        if key == start or key in inside:
            continue
        if key < start or outline[key].kind in ENLARGING or any(link.through for link in outline[key].links):
            return None
        inside.add(key)
        open_keys += [link.source for link in outline[key].links]
    involved = inside | others
    return inside if all(user in involved for key in inside for user in users[key]) else None


def _repeated(outline: Outline) -> Outline:
    """Blocks in a row with maps of the same form become one, with a count."""
    found = dict(outline)
    for key, drawn in outline.items():
        before = found[drawn.links[0].source] if len(drawn.links) == 1 else None
        if drawn.kind != "block" or before is None or before.kind != "block":
            continue
        old = drawn.links[0].source
        alike = (before.channels, before.size, before.rates) == (drawn.channels, drawn.size, drawn.rates)
        if alike and readers(found)[old] == [key]:
            found[key] = replace(_merged("block", drawn, [before]), times=before.times + drawn.times)
            del found[old]
    return found


def _summed(outline: Outline) -> Outline:
    """Sums of sums are one sum."""
    found = dict(outline)
    for key in (key for key in outline if outline[key].kind == "sum"):
        for link in found[key].links:
            inner = found[link.source]
            if inner.kind == "sum" and not link.through and readers(found)[link.source] == [key]:
                rest = tuple(other for other in found[key].links if other is not link)
                found[key] = replace(found[key], links=(*inner.links, *rest))
                del found[link.source]
    return found


def _folded(outline: Outline) -> Outline:
    """All between two maps of one size, if nothing else leads in or out, as a block (dense blocks, Inception)."""
    found, users = dict(outline), readers(outline)
    for key in outline:
        size, start = found[key].size, min(found[key].sources, default=PICTURE)
        while start != PICTURE and found[start].size == size:
            inside = _between(found, users, start, found[key].sources, {key})
            if inside and all(found[k].size == size for k in inside):
                block = _merged("block", found[key], [found[k] for k in sorted(inside)])
                found[key] = replace(block, links=(Link(start, found[start].channels),))
                for part in inside:
                    del found[part]
                users = readers(found)
                break
            start = min(found[start].sources, default=PICTURE)
    return found
