"""The compiled loop of a depthwise convolution's backward pass, on maps with adjacent channels (channels_last).

A part is one picture and a group of channels, so no two parts write to the same place. Per row of the output and
16 channels, the pixels of a row stay in the first-level cache while all taps of the kernel pass over them; each reads
dy, x and dx once and gives both gradients.
"""

from typing import Any

from denselab.compiled import compiled
from denselab.compiled.jobs import floats, job_function, next_part
from denselab.compiled.vectors import add, ahead, broadcast, load, store, vector_scaled_add
from denselab.layers.cpu.norm_kernels import zero

EIGHT = (0,) * 8
SIXTEEN = (0,) * 16
GROUP = 64  # channels of a part


@compiled
def tap(x: Any, dx: Any, dy: Any, weight: Any, sums: Any, steps: int, step: int, pitch: int, lanes: Any) -> None:
    """One tap over a row: sums += dy * x, dx += dy * weight, for `steps` pixels.

    x, dx, dy: at the first pixel
    step: floats from pixel to pixel of x
    pitch: the same of dy
    """
    factors = load(weight, 0, lanes)
    first, second = broadcast(0.0, lanes), load(sums, 0, lanes)
    for i in range(0, steps - 1, 2):
        here, there = load(dy, i * pitch, lanes), load(dy, (i + 1) * pitch, lanes)
        first = vector_scaled_add(here, load(x, i * step, lanes), first)
        second = vector_scaled_add(there, load(x, (i + 1) * step, lanes), second)
        store(dx, i * step, vector_scaled_add(here, factors, load(dx, i * step, lanes)))
        store(dx, (i + 1) * step, vector_scaled_add(there, factors, load(dx, (i + 1) * step, lanes)))
    if steps % 2:
        i = steps - 1
        here = load(dy, i * pitch, lanes)
        first = vector_scaled_add(here, load(x, i * step, lanes), first)
        store(dx, i * step, vector_scaled_add(here, factors, load(dx, i * step, lanes)))
    store(sums, 0, add(first, second))


@compiled
def row_of_taps(
    x: Any,
    dx: Any,
    dy: Any,
    weight: Any,
    sums: Any,
    channels: int,
    pitch: int,
    width: int,
    out: int,
    shape: Any,
    lanes: Any,
) -> None:
    """All taps of one row of the kernel over one row of x, dx and dy; addresses are those of the row's first pixel.

    width, out: pixels of a row of x, of dy
    shape: side of the kernel, stride, dilation, padding at the left
    """
    side, stride, dilation, padding = shape
    for k in range(side):
        shift = k * dilation - padding  # pixel i of dy meets pixel stride * i + shift of x
        begin = max(0, -(shift // stride)) if shift < 0 else 0
        end = min(out, (width - 1 - shift) // stride + 1)
        if end > begin:
            at = (begin * stride + shift) * channels
            tap(
                ahead(x, at),
                ahead(dx, at),
                ahead(dy, begin * pitch),
                ahead(weight, k * channels),
                ahead(sums, k * channels),
                end - begin,
                stride * channels,
                pitch,
                lanes,
            )


def gradients(job: Any) -> None:
    """Gradients of the input and, for each picture, of the weights (side * side, C) of a depthwise convolution.

    job: x, dx, dy, weight (side * side, C), sums like it for each picture, channels, height and width of x, height and
        width of dy, floats from pixel to pixel of dy, side, stride, dilation, padding above, padding at the left
    """
    channels, height, width, out_height, out_width, pitch = job[7], job[8], job[9], job[10], job[11], job[12]
    side, stride, dilation, above = job[13], job[14], job[15], job[16]
    shape = (side, stride, dilation, job[17])
    groups = -(-channels // GROUP)
    while True:
        part = next_part(job)
        if part >= job[1]:
            return
        picture, first = part // groups, part % groups * GROUP
        last = min(channels, first + GROUP)
        sums = ahead(floats(job, 6), picture * side * side * channels)
        x = ahead(floats(job, 2), picture * height * width * channels)
        dx = ahead(floats(job, 3), picture * height * width * channels)
        dy = ahead(floats(job, 4), picture * out_height * out_width * pitch)
        for k in range(side * side):
            zero(sums, k * channels + first, last - first)
        ready = 0  # rows of dx that are set to 0
        for row in range(out_height):
            while ready < min(height, row * stride - above + (side - 1) * dilation + 1):
                for i in range(width):
                    zero(dx, (ready * width + i) * channels + first, last - first)
                ready += 1
            for c in range(first, last, 16):
                for k in range(side):
                    line = row * stride - above + k * dilation
                    if 0 <= line < height:
                        a, b = line * width * channels + c, row * out_width * pitch + c
                        w = k * side * channels + c
                        if last - c >= 16:
                            row_of_taps(
                                *(ahead(x, a), ahead(dx, a), ahead(dy, b), ahead(floats(job, 5), w), ahead(sums, w)),
                                *(channels, pitch, width, out_width, shape, SIXTEEN),
                            )
                        else:
                            row_of_taps(
                                *(ahead(x, a), ahead(dx, a), ahead(dy, b), ahead(floats(job, 5), w), ahead(sums, w)),
                                *(channels, pitch, width, out_width, shape, EIGHT),
                            )
        for line in range(ready, height):  # rows below the last one that a tap reaches
            for i in range(width):
                zero(dx, (line * width + i) * channels + first, last - first)


GRADIENTS = job_function(gradients)
