"""The layer table as text: columns as in the papers, with repeated blocks of deep encoders folded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from denselab.in_words import bytes_in_words
from denselab.inspection.summary import Summary
from denselab.inspection.table import LayerRow, Window

FOLDED_FROM = 60  # rows; the papers' own tables are shorter, and printed in full
LONGEST_BLOCK = 12  # rows of a repeating block
HEAD = ("layer", "kind", "kernel", "stride", "pad", "dilation", "channels", "output", "parameters", "mult-adds", "sees")
RIGHT = {2, 3, 4, 5, 8, 9, 10}


@dataclass(frozen=True)
class Repeat:
    """Rows that repeat the `block` rows before them, `times` more."""

    rows: Sequence[LayerRow]
    times: int
    block: int


def table_lines(rows: Sequence[LayerRow], *, unfold: bool = False) -> list[str]:
    """The table as lines of equal columns; the column "dilation" appears only if some layer is dilated.

    rows: the layers
    unfold: print repeated blocks in full
    """
    items: list[LayerRow | Repeat] = list(rows) if unfold or len(rows) < FOLDED_FROM else list(_folded(rows))
    dilated = any(row.dilation not in (None, 1) for row in rows)
    keep = [i for i, name in enumerate(HEAD) if dilated or name != "dilation"]
    cells = [[HEAD[i] for i in keep]]
    cells += [[_cells(item)[i] for i in keep] for item in items if isinstance(item, LayerRow)]
    widths = [max(len(line[c]) for line in cells) for c in range(len(keep))]
    right = [i in RIGHT for i in keep]
    lines = iter([_line(line, widths, right) for line in cells])
    return [next(lines), *(next(lines) if isinstance(item, LayerRow) else _said(item) for item in items)]


def total_lines(summary: Summary) -> list[str]:
    """The totals below the table."""
    norms = f", of them {summary.norm_parameters:,} in {summary.norm_layers} normalisations"
    fixed = f"; {summary.fixed:,} fixed" if summary.fixed else ""
    strides = number(summary.output_stride)
    if summary.logits_stride != summary.output_stride:
        strides += f"; of the logits before their last enlargement {number(summary.logits_stride)}"
    return [
        f"parameters       {summary.learnable:,} learnable{fixed}{norms if summary.norm_layers else ''}",
        f"multiply-adds    {short(summary.multiply_adds)} ({summary.multiply_adds:,})",
        f"receptive field  {field_words(summary.receptive_field)}",
        f"output stride    {strides}",
        f"memory, batch 1  about {bytes_in_words(summary.memory_forward)} to predict, "
        f"{bytes_in_words(summary.memory_training)} to train (AdamW, float32)",
    ]


def field_words(field: int | None) -> str:
    """ "404 pixels" or "the whole picture"."""
    return "the whole picture" if field is None else f"{field:,} pixels"


def short(count: int) -> str:
    """12.3 G, 456 M, 7.8 k."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 0.9995 * size:  # 999,999 is no 1000 k
            value = count / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return str(count)


def number(value: float) -> str:
    """A stride as text: 16, 0.5, 1.33."""
    return f"{value:.3g}"


def _folded(rows: Sequence[LayerRow]) -> Iterator[LayerRow | Repeat]:
    signatures = [_signature(row) for row in rows]
    i = 0
    while i < len(rows):
        block, times = _repeat_at(signatures, i)
        yield from rows[i : i + block]
        i += block
        if times:
            yield Repeat(rows[i : i + block * times], times, block)
            i += block * times


def _signature(row: LayerRow) -> tuple[object, ...]:
    windows = (row.kind, row.kernel, row.stride, row.pad, row.dilation, row.groups)
    return (*windows, row.in_channels, row.out_channels, row.size, row.parameters)


def _repeat_at(signatures: Sequence[object], start: int) -> tuple[int, int]:
    """(rows of the block that starts here, times it repeats at once); (1, 0) if folding saves under three lines."""
    best = (1, 0)
    for block in range(1, LONGEST_BLOCK + 1):
        first, times = signatures[start : start + block], 0
        while signatures[start + (times + 1) * block : start + (times + 2) * block] == first:
            times += 1
        if block * times > max(best[0] * best[1], 3):
            best = (block, times)
    return best


def _said(repeat: Repeat) -> str:
    first, last = repeat.rows[0].name, repeat.rows[-1].name
    again = "once more" if repeat.times == 1 else f"{repeat.times} times more"
    layers = "this layer" if repeat.block == 1 else f"these {repeat.block} layers"
    parameters, cost = sum(r.parameters for r in repeat.rows), sum(r.multiply_adds for r in repeat.rows)
    field = repeat.rows[-1].receptive_field
    sees = "the whole picture" if field is None else f"{field:,}"
    return f"    {layers} {again}, {first} to {last}: {parameters:,} parameters, {short(cost)}, then sees {sees}"


def _cells(row: LayerRow) -> tuple[str, ...]:
    return (
        row.name,
        _kind(row),
        window_text(row.kernel),
        window_text(row.stride),
        "" if row.kind == "crop" else window_text(row.pad),
        "" if row.dilation == 1 else window_text(row.dilation),
        f"{row.in_channels} > {row.out_channels}" if row.in_channels != row.out_channels else str(row.out_channels),
        f"{row.size[0]}x{row.size[1]}",
        f"{row.parameters:,}" if row.parameters else "",
        short(row.multiply_adds) if row.multiply_adds else "",
        "all" if row.receptive_field is None else f"{row.receptive_field:,}",
    )


def _kind(row: LayerRow) -> str:
    if row.kind == "crop":
        return f"crop at {window_text(row.pad).replace('x', ', ')}"
    if row.groups == 1:
        return row.kind
    return f"{row.kind}, depthwise" if row.groups == row.in_channels else f"{row.kind}, {row.groups} groups"


def window_text(window: Window | None) -> str:
    """The side of a window, or both where they differ: "3x5"; "" for none."""
    return "" if window is None else str(window) if isinstance(window, int) else f"{window[0]}x{window[1]}"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()
