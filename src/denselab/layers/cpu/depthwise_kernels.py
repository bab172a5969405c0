"""The compiled loop of a depthwise convolution's backward pass, on maps with adjacent channels (channels_last).

A part is some rows of one picture, so no two parts write to the same place. A row of x, its gradient, and each row of
dy that meets it are copied into packs of 16 channels, which stay in the first-level cache. The row of dy is spread as
the stride has it, with zeros between and around, so that every tap meets every pixel. Several taps pass over a row at
once; each gives both gradients. Sums are float32 also for maps of bfloat16.
"""

from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, maps, next_number, next_part
from denselab.compiled.vectors import ahead, load, store, vector_scaled_add
from denselab.layers.cpu.norm_kernels import EIGHT, SIXTEEN, zero

LINES = 8  # rows of x in a part


@compiled
def met(rows: Any, at: int, away: int, factor: Any, gradient: Any, total: Any, x: Any, lanes: Any) -> Any:
    """One tap at one pixel: (gradient + dy * factor, total + dy * x), with dy `away` numbers from the pixel."""
    dy = load(rows[2], at + away, lanes)
    return vector_scaled_add(dy, factor, gradient), vector_scaled_add(dy, x, total)


@compiled
def one_tap(rows: Any, pixels: int, first: int, weight: Any, sums: Any, lanes: Any) -> None:
    """One tap over a row.

    rows: packed x, dx and dy
    first: numbers from a pixel of x to what the tap meets of dy
    weight, sums: of the tap
    """
    x, dx, _ = rows
    a, p = load(weight, 0, lanes), load(sums, 0, lanes)
    for at in range(0, pixels * len(lanes), len(lanes)):
        here, gradient = load(x, at, lanes), load(dx, at, lanes)
        gradient, p = met(rows, at, first, a, gradient, p, here, lanes)
        store(dx, at, gradient)
    store(sums, 0, p)


@compiled
def three_taps(
    rows: Any, pixels: int, first: int, step: int, weight: Any, sums: Any, channels: int, lanes: Any
) -> None:
    """Three adjacent taps over a row: as one_tap; the next tap meets dy `step` numbers before."""
    x, dx, _ = rows
    a, b, c = load(weight, 0, lanes), load(weight, channels, lanes), load(weight, 2 * channels, lanes)
    p, q, r = load(sums, 0, lanes), load(sums, channels, lanes), load(sums, 2 * channels, lanes)
    for at in range(0, pixels * len(lanes), len(lanes)):
        here, gradient = load(x, at, lanes), load(dx, at, lanes)
        gradient, p = met(rows, at, first, a, gradient, p, here, lanes)
        gradient, q = met(rows, at, first - step, b, gradient, q, here, lanes)
        gradient, r = met(rows, at, first - 2 * step, c, gradient, r, here, lanes)
        store(dx, at, gradient)
    store(sums, 0, p)
    store(sums, channels, q)
    store(sums, 2 * channels, r)


@compiled
def five_taps(rows: Any, pixels: int, first: int, step: int, weight: Any, sums: Any, channels: int, lanes: Any) -> None:
    """Five of them."""
    x, dx, _ = rows
    a, b, c = load(weight, 0, lanes), load(weight, channels, lanes), load(weight, 2 * channels, lanes)
    d, e = load(weight, 3 * channels, lanes), load(weight, 4 * channels, lanes)
    p, q, r = load(sums, 0, lanes), load(sums, channels, lanes), load(sums, 2 * channels, lanes)
    s, t = load(sums, 3 * channels, lanes), load(sums, 4 * channels, lanes)
    for at in range(0, pixels * len(lanes), len(lanes)):
        here, gradient = load(x, at, lanes), load(dx, at, lanes)
        gradient, p = met(rows, at, first, a, gradient, p, here, lanes)
        gradient, q = met(rows, at, first - step, b, gradient, q, here, lanes)
        gradient, r = met(rows, at, first - 2 * step, c, gradient, r, here, lanes)
        gradient, s = met(rows, at, first - 3 * step, d, gradient, s, here, lanes)
        gradient, t = met(rows, at, first - 4 * step, e, gradient, t, here, lanes)
        store(dx, at, gradient)
    store(sums, 0, p)
    store(sums, channels, q)
    store(sums, 2 * channels, r)
    store(sums, 3 * channels, s)
    store(sums, 4 * channels, t)


@compiled
def row_of_taps(rows: Any, pixels: int, weight: Any, sums: Any, channels: int, shape: Any, lanes: Any) -> None:
    """All taps of one row of the kernel over packed rows. shape: side of the kernel, dilation."""
    side, dilation = shape
    step, k = dilation * len(lanes), 0
    while k < side:
        first = (side - 1 - k) * step
        weights, totals = ahead(weight, k * channels), ahead(sums, k * channels)
        if side - k >= 5:
            five_taps(rows, pixels, first, step, weights, totals, channels, lanes)
            k += 5
        elif side - k >= 3:
            three_taps(rows, pixels, first, step, weights, totals, channels, lanes)
            k += 3
        else:
            one_tap(rows, pixels, first, weights, totals, lanes)
            k += 1


@compiled
def packed(out: Any, span: int, row: Any, pixels: int, stride: int, pitch: int, channels: int) -> None:
    """Copy a map's row into packs of 16 channels.

    span: pixels of a pack, of which every `stride`-th is set
    pitch: numbers from pixel to pixel of the map
    """
    wide = channels // 16 * 16
    for i in range(pixels):
        for c in range(0, wide, 16):
            store(out, c * span + i * stride * 16, load(row, i * pitch + c, SIXTEEN))
        if wide < channels:
            store(out, wide * span + i * stride * 8, load(row, i * pitch + wide, EIGHT))


@compiled
def unpacked(row: Any, packs: Any, pixels: int, channels: int) -> None:
    """Copy packs back into a map's row."""
    wide = channels // 16 * 16
    for i in range(pixels):
        for c in range(0, wide, 16):
            store(row, i * channels + c, load(packs, c * pixels + i * 16, SIXTEEN))
        if wide < channels:
            store(row, i * channels + wide, load(packs, wide * pixels + i * 8, EIGHT))


@compiled
def spread(job: Any, out: Any, row: Any) -> None:
    """A row of dy in packs: pixel i at stride * i + (side - 1) * dilation - padding, zeros elsewhere."""
    channels, width, pixels, pitch = job[7], job[9], job[11], job[12]
    stride, reach = job[14], (job[13] - 1) * job[15]
    span, start = width + reach, reach - job[17]
    zero(out, 0, span * channels)
    begin = 0 if start >= 0 else (stride - 1 - start) // stride  # padding may be wider than the kernel's reach
    end = min(pixels, (span - 1 - start) // stride + 1)
    if end > begin:
        at = begin * stride + start
        wide = channels // 16 * 16
        first = ahead(row, begin * pitch)
        packed(ahead(out, at * 16), span, first, end - begin, stride, pitch, wide)
        if wide < channels:
            packed(ahead(out, wide * span + at * 8), span, ahead(first, wide), end - begin, stride, pitch, 8)


@compiled
def row_of_gradients(job: Any, place: Any, rooms: Any, line: int) -> None:
    """One row of dx, and what this row of x adds to the sums.

    place: addresses of the picture's x and dx, and of the part's sums
    rooms: addresses for a packed row of x, one of dx, and of the ring of spread rows of dy, all that are met here
    """
    x, dx, sums = place
    row_x, row_dx, ring = rooms
    channels, width, above = job[7], job[9], job[16]
    side, stride, dilation = job[13], job[14], job[15]
    span, wide, shape = width + (side - 1) * dilation, channels // 16 * 16, (side, dilation)
    packed(row_x, width, ahead(x, line * width * channels), width, 1, channels, channels)
    zero(row_dx, 0, width * channels)
    for k in range(side):
        down = line + above - k * dilation  # stride times the row of dy that the kernel's row k brings here
        if down < 0 or down % stride or down // stride >= job[10]:
            continue
        row_dy = ahead(ring, down // stride % job[20] * span * channels)
        weight, row, shape = (
            ahead(floats(job, 5), k * side * channels),
            ahead(sums, k * side * channels),
            (side, dilation),
        )
        for c in range(0, wide, 16):
            rows = (ahead(row_x, c * width), ahead(row_dx, c * width), ahead(row_dy, c * span))
            row_of_taps(rows, width, ahead(weight, c), ahead(row, c), channels, shape, SIXTEEN)
        if wide < channels:
            rows = (ahead(row_x, wide * width), ahead(row_dx, wide * width), ahead(row_dy, wide * span))
            row_of_taps(rows, width, ahead(weight, wide), ahead(row, wide), channels, shape, EIGHT)
    unpacked(ahead(dx, line * width * channels), row_dx, width, channels)


def gradients(job: Any) -> None:
    """Gradients of the input and, for each part, of the weights (side * side, C) of a depthwise convolution.

    job: x, dx, dy, weight (side * side, C), sums like it for each part, channels, height and width of x, height and
        width of dy, numbers from pixel to pixel of dy, side, stride, dilation, padding above, padding at the left,
        room for the packed rows, parts of a picture, rows of a ring, numbers of the room that a thread has, 0
    """
    channels, height, width, out_height, pitch = job[7], job[8], job[9], job[10], job[12]
    side, stride, dilation, above, blocks, kept = job[13], job[14], job[15], job[16], job[19], job[20]
    row_x = ahead(floats(job, 18), next_number(job, 22) * job[21])
    row_dx, ring = ahead(row_x, width * channels), ahead(row_x, 2 * width * channels)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        picture, block = part // blocks, part % blocks
        sums = ahead(floats(job, 6), part * side * side * channels)
        x = ahead(maps(job, 2), picture * height * width * channels)
        dx = ahead(maps(job, 3), picture * height * width * channels)
        dy = ahead(maps(job, 4), picture * out_height * job[11] * pitch)
        zero(sums, 0, side * side * channels)
        ready = max(0, (block * LINES + above - (side - 1) * dilation) // stride)  # rows of dy before it are done
        for line in range(block * LINES, min(height, (block + 1) * LINES)):
            while ready < out_height and ready * stride <= line + above:
                at = ready % kept * (width + (side - 1) * dilation) * channels
                spread(job, ahead(ring, at), ahead(dy, ready * job[11] * pitch))
                ready += 1
            row_of_gradients(job, (x, dx, sums), (row_x, row_dx, ring), line)
