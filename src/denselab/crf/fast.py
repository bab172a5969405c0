"""Mean field at half the resolution, with the message carried to full resolution along the picture's edges.

A Gaussian sum varies slowly compared to its deviations, so it can be computed on fewer pixels and enlarged with the
picture as a guide: Kopf et al., "Joint Bilateral Upsampling", SIGGRAPH 2007, on the idea of Krähenbühl and Koltun's
filters. All updates except the end of the last run on blocks of 2 x 2 pixels. Then each pixel takes the message of the
four nearest blocks, weighted by distance and similarity of colour, and adds it to its own energies. docs/crf.md states
how much faster that is and what accuracy it costs; benchmarks/crf.py measures it.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denselab.compiled import compiled
from denselab.crf.dense_crf import crf_for
from denselab.crf.notice import announced
from denselab.crf.parameters import Parameters, resolved
from denselab.crf.threads import parts, run

Floats = NDArray[np.float32]
SMALLEST = 16  # pixels of a side: smaller pictures take a millisecond anyway, and at half size are mostly border
SHORTEST = 1.0  # pixels: a Gaussian with a smaller deviation lies within a block
STRANGER = 0.03
"""The least weight of a block, whatever its colour. If no block has the pixel's colour, distance decides. Part of the
message is the spatial term's, which ignores colour. The best of 0.001, 0.01, 0.03 and 0.1 over all presets."""
ROWS = 16  # at a time: logits of 12 classes at 480 columns stay in the second-level cache
NEAR, FAR = np.float32(0.75), np.float32(0.25)  # weights of the blocks around a pixel along one axis (bilinear)


def infer_fast(
    image: ArrayLike, unary: ArrayLike, parameters: Parameters | str = "deeplab_v2", threads: int | None = None
) -> Floats:
    """Marginals (L, H, W) float32, close to those of `crf_for(...).infer(parameters.iterations)`.

    image: (H, W, 3) uint8
    unary: energies (L, H, W)
    parameters: a parameter set, or the name of a preset
    threads: the most threads to use; None uses all cores; the result is the same for any number

    On pictures of 360x480 with 12 and 21 classes the marginals differ from full inference by 0.001 to 0.003 on average,
    and 0.8 to 1.7 % of the pixels get another label (all presets, docs/crf.md). Full inference runs instead if halving
    is not possible: a side below 16 pixels, a deviation below one pixel, no update, or no bilateral term. Raises what
    full inference raises.
    """
    chosen = resolved(parameters)
    crf = crf_for(image, len(np.asarray(unary)), chosen, threads)
    crf.set_unary(unary)
    if not can_be_halved(crf.shape, chosen):
        return crf.infer(chosen.iterations).marginals
    assert crf.unary is not None
    energies = crf.unary.reshape(crf.num_classes, *crf.shape)
    picture = np.ascontiguousarray(np.moveaxis(np.asarray(image), -1, 0), np.float32)
    with announced(len(energies)):
        blocks = np.rint(halved(picture, crf.threads))
        message = last_message(blocks, halved(energies, crf.threads), at_half(chosen), crf.threads)
        likeness = colour_weights(chosen.theta_beta)
        out = np.empty_like(energies)
        task = partial(enlarge_rows, picture, framed(blocks), likeness, framed(message), energies, out)
        height = crf.shape[0]
        run([partial(task, begin, end) for begin, end in parts(height, height // ROWS)], crf.threads)
    return out


def can_be_halved(shape: tuple[int, ...], parameters: Parameters) -> bool:
    """Whether blocks of 2 x 2 pixels can stand for the picture, and save time."""
    reaches = [parameters.theta_alpha, *([parameters.theta_gamma] if parameters.w2 else [])]
    return min(shape) >= SMALLEST and min(reaches) >= SHORTEST and parameters.iterations > 0 and parameters.w1 != 0


def at_half(parameters: Parameters) -> Parameters:
    """The same terms in pixels of the half-size picture, where plain sums have four times fewer pixels."""
    fewer = 4 if parameters.normalization == "none" else 1
    return replace(
        parameters,
        theta_alpha=parameters.theta_alpha / 2,
        theta_gamma=parameters.theta_gamma / 2,
        w1=parameters.w1 * fewer,
        w2=parameters.w2 * fewer,
    )


def halved(planes: Floats, threads: int) -> Floats:
    """Means of 2 x 2 blocks: (C, H, W) to (C, ceil(H / 2), ceil(W / 2)); of an odd size the last counts twice."""
    count, height, width = planes.shape
    out = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    run([partial(_halve, planes, out, *rows) for rows in parts(out.shape[1], 8)], threads)
    return out


def last_message(blocks: Floats, energies: Floats, parameters: Parameters, threads: int) -> Floats:
    """What the terms add to the logits in the last update, (L, h, w).

    blocks: (3, h, w), whole numbers 0..255
    energies: (L, h, w)
    parameters: at half size
    threads: the most threads to use
    """
    picture = np.ascontiguousarray(np.moveaxis(blocks, 0, -1), np.uint8)
    crf = crf_for(picture, len(energies), parameters, threads)
    crf.set_unary(energies)
    return crf.last_message(parameters.iterations)


def framed(planes: Floats) -> Floats:
    """(C, h, w) with its border repeated once on all sides, so that every pixel has four blocks around it."""
    return np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")


def colour_weights(theta_beta: float) -> Floats:
    """The weight of a block by its squared colour distance, a whole number up to 3 * 255^2."""
    squares = np.arange(3 * 255**2 + 1, dtype=np.float32)
    weights: Floats = np.exp(squares * np.float32(-0.5 / theta_beta**2)) + np.float32(STRANGER)
    return weights


def enlarge_rows(
    picture: Floats,
    blocks: Floats,
    likeness: Floats,
    message: Floats,
    energies: Floats,
    out: Floats,
    begin: int,
    end: int,
) -> None:
    """Write rows begin..end-1 of the marginals: the softmax of the enlarged message minus the energies.

    picture: (3, H, W)
    blocks, message: framed, (3, h + 2, w + 2) and (L, h + 2, w + 2)
    likeness: weights by squared colour distance
    energies, out: (L, H, W)
    begin, end: rows
    """
    logits = out[:, begin:end]
    _enlarge(picture, blocks, likeness, message, energies, out, begin, end)
    logits -= logits.max(0)
    np.exp(logits, out=logits)
    logits /= logits.sum(0)


@compiled
def _halve(planes: Any, out: Any, begin: Any, end: Any) -> None:
    height, width = planes.shape[1:]
    for plane in range(planes.shape[0]):
        for y in range(begin, end):
            upper, lower, row = planes[plane, 2 * y], planes[plane, min(2 * y + 1, height - 1)], out[plane, y]
            for x in range(width // 2):
                row[x] = FAR * ((upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1]))
            if width % 2:
                row[width // 2] = FAR * 2 * (upper[width - 1] + lower[width - 1])


@compiled
def _weigh(picture: Any, blocks: Any, likeness: Any, y: Any, weights: Any) -> None:
    """weights (2, 4, ceil(W / 2)) of the four blocks around pixels 2i + side of row y, summing to 1.

    Block (a, b) of 2 x 2 is in row (y + 1) // 2 + a and column i + side + b of the framed picture of blocks.
    """
    half, width = weights.shape[2], picture.shape[2]
    colour, total = np.empty((3, half), np.float32), np.empty(half, np.float32)
    for side in range(2):
        for c in range(3):
            row = picture[c, y]
            for i in range(half):
                colour[c, i] = row[min(2 * i + side, width - 1)]
        red, green, blue = colour[0], colour[1], colour[2]
        total[:] = 0
        for k in range(4):
            a, b = k // 2, k % 2
            share = (FAR if a == y % 2 else NEAR) * (FAR if b == side else NEAR)
            line = blocks[:, (y + 1) // 2 + a]
            reds, greens, blues = line[0][side + b :], line[1][side + b :], line[2][side + b :]
            weight = weights[side, k]
            for i in range(half):
                dr, dg, db = red[i] - reds[i], green[i] - greens[i], blue[i] - blues[i]
                weight[i] = share * likeness[np.uint32(dr * dr + dg * dg + db * db)]
                total[i] += weight[i]
        for k in range(4):
            weight = weights[side, k]
            for i in range(half):
                weight[i] /= total[i]


@compiled
def _enlarge(
    picture: Any, blocks: Any, likeness: Any, message: Any, energies: Any, out: Any, begin: Any, end: Any
) -> None:
    """out = message - energies for rows begin..end-1; even and odd columns have their blocks on opposite sides."""
    labels, _, width = out.shape
    half = (width + 1) // 2
    weights = np.empty((2, 4, half), np.float32)
    even, odd = np.empty(half, np.float32), np.empty(half, np.float32)
    for y in range(begin, end):
        top = (y + 1) // 2
        _weigh(picture, blocks, likeness, y, weights)
        for label in range(labels):
            even[:] = 0
            odd[:] = 0
            for k in range(4):
                row, left, right = message[label, top + k // 2][k % 2 :], weights[0, k], weights[1, k]
                for i in range(half):
                    even[i] += left[i] * row[i]
                    odd[i] += right[i] * row[i + 1]
            energy, logits = energies[label, y], out[label, y]
            for i in range(width // 2):
                logits[2 * i] = even[i] - energy[2 * i]
                logits[2 * i + 1] = odd[i] - energy[2 * i + 1]
            if width % 2:
                logits[width - 1] = even[half - 1] - energy[width - 1]
