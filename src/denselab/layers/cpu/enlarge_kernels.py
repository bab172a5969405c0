"""Compiled loops of bilinear enlargement: rows of adjacent numbers, so nothing but a row's own columns is scattered.

A source row is stretched once, or a row's gradient shrunk once, and all work between rows is on whole rows. `lefts`,
`rights` and `shares` tell of each column of the result its two source columns and the share of the right one. The
rows of the result whose upper source row is i are starts[i] to starts[i + 1], `drops` the share of the lower one.
"""

from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, integers, maps, next_number, next_part
from denselab.compiled.vectors import (
    add,
    ahead,
    broadcast,
    load,
    multiply,
    scalar,
    scaled_add,
    store,
    subtract,
)
from denselab.layers.cpu.norm_kernels import ONE, SIXTEEN, zero


@compiled
def stretched(out: Any, to: int, row: Any, columns: Any, c: int, lanes: Any) -> None:
    """One column of the result: some channels between two source columns."""
    left, right, share = columns
    start = load(row, left + c, lanes)
    store(out, to + c, scaled_add(share, subtract(load(row, right + c, lanes), start), start))


@compiled
def stretch(out: Any, row: Any, tables: Any, width: int, channels: int) -> None:
    """A source row in the result's width."""
    lefts, rights, shares = tables
    wide = channels // 16 * 16
    for i in range(width):
        columns = (scalar(lefts, i) * channels, scalar(rights, i) * channels, scalar(shares, i))
        for c in range(0, wide, 16):
            stretched(out, i * channels, row, columns, c, SIXTEEN)
        for c in range(wide, channels):
            stretched(out, i * channels, row, columns, c, ONE)


@compiled
def between(out: Any, at: int, upper: Any, lower: Any, share: float, lanes: Any) -> None:
    """Numbers of the result between two rows."""
    start = load(upper, at, lanes)
    store(out, at, scaled_add(share, subtract(load(lower, at, lanes), start), start))


def enlarged(job: Any) -> None:
    """The enlarged map, a part for each source row of each picture.

    job: source, result, rows and columns of the source, of the result, channels, lefts, rights, shares, starts, drops,
        room for two rows a thread, 0
    """
    source, result = maps(job, 2), maps(job, 3)
    rows, columns, height, width, channels = job[4], job[5], job[6], job[7], job[8]
    tables, starts, drops = (integers(job, 9), integers(job, 10), floats(job, 11)), integers(job, 12), floats(job, 13)
    length = width * channels
    upper = ahead(floats(job, 14), next_number(job, 15) * 2 * length)
    lower, whole = ahead(upper, length), length // 16 * 16
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        picture, row = part // rows, part % rows
        begin, end = scalar(starts, row), scalar(starts, row + 1)
        if begin == end:
            continue
        below = min(row + 1, rows - 1)
        stretch(upper, ahead(source, part * columns * channels), tables, width, channels)
        stretch(lower, ahead(source, (picture * rows + below) * columns * channels), tables, width, channels)
        for y in range(begin, end):
            out, share = ahead(result, (picture * height + y) * length), scalar(drops, y)
            for at in range(0, whole, 16):
                between(out, at, upper, lower, share, SIXTEEN)
            for at in range(whole, length):
                between(out, at, upper, lower, share, ONE)


@compiled
def gather(total: Any, row: Any, share: float, count: int) -> None:
    """total += share * row."""
    whole = count // 16 * 16
    for at in range(0, whole, 16):
        store(total, at, scaled_add(share, load(row, at, SIXTEEN), load(total, at, SIXTEEN)))
    for at in range(whole, count):
        store(total, at, scaled_add(share, load(row, at, ONE), load(total, at, ONE)))


@compiled
def shared_out(out: Any, row: Any, at: int, columns: Any, c: int, lanes: Any) -> None:
    """Give some channels of a column of the gradient to its two source columns."""
    left, right, share = columns
    here = load(row, at + c, lanes)
    to_right = multiply(broadcast(share, lanes), here)
    store(out, left + c, add(load(out, left + c, lanes), subtract(here, to_right)))
    store(out, right + c, add(load(out, right + c, lanes), to_right))


@compiled
def shrink(out: Any, row: Any, tables: Any, width: int, channels: int) -> None:
    """Add a row of the gradient to the source columns it came from."""
    lefts, rights, shares = tables
    wide = channels // 16 * 16
    for i in range(width):
        columns = (scalar(lefts, i) * channels, scalar(rights, i) * channels, scalar(shares, i))
        for c in range(0, wide, 16):
            shared_out(out, row, i * channels, columns, c, SIXTEEN)
        for c in range(wide, channels):
            shared_out(out, row, i * channels, columns, c, ONE)


@compiled
def copied(out: Any, row: Any, count: int) -> None:
    """Copy numbers, into the map's precision."""
    whole = count // 16 * 16
    for at in range(0, whole, 16):
        store(out, at, load(row, at, SIXTEEN))
    for at in range(whole, count):
        store(out, at, load(row, at, ONE))


def shrunk(job: Any) -> None:
    """The gradient of the source from that of the result, a part for each source row of each picture.

    job: as for `enlarged`, with gradients in place of maps; room for a row of the result and one of the source a thread
    """
    source, result = maps(job, 2), maps(job, 3)
    rows, columns, height, width, channels = job[4], job[5], job[6], job[7], job[8]
    tables, starts, drops = (integers(job, 9), integers(job, 10), floats(job, 11)), integers(job, 12), floats(job, 13)
    length, narrow = width * channels, columns * channels
    total = ahead(floats(job, 14), next_number(job, 15) * (length + narrow))
    own = ahead(total, length)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        picture, row = part // rows, part % rows
        zero(total, 0, length)
        for y in range(scalar(starts, max(row - 1, 0)), scalar(starts, row)):
            gather(total, ahead(result, (picture * height + y) * length), scalar(drops, y), length)
        for y in range(scalar(starts, row), scalar(starts, row + 1)):
            gather(total, ahead(result, (picture * height + y) * length), 1.0 - scalar(drops, y), length)
        zero(own, 0, narrow)
        shrink(own, total, tables, width, channels)
        copied(ahead(source, part * narrow), own, narrow)
