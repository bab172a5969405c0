"""`denselab models`: the networks side by side."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from denselab.cli.options import AsJson
from denselab.console import tell
from denselab.files import to_json

if TYPE_CHECKING:
    from denselab.inspection.summary import ModelFacts

CLASSES = 21  # PASCAL VOC's, for the number of parameters
SIZE = (512, 512)  # of the picture, for the multiply-adds
HEAD = ("name", "year", "parameters", "mult-adds", "sees", "stride", "encoder", "good for")
RIGHT = {2, 3, 4, 5}


def models(as_json: AsJson = False) -> None:
    """List the networks: paper, parameters, multiply-adds, receptive field, output stride, use.

    Counted with 21 classes on a picture of 512x512 pixels.
    """
    from denselab.inspection.summary import list_models

    rows = list_models(CLASSES, SIZE, quiet=as_json)
    if as_json:
        print(to_json([_flat(row) for row in rows]))
        return
    tell(*table_lines(rows))


def table_lines(rows: "list[ModelFacts]") -> list[str]:
    """The networks paper by paper, as lines of equal columns, and what the columns mean."""
    cells = {row.name: _cells(row) for row in rows}
    widths = [max(len(line[c]) for line in (HEAD, *cells.values())) for c in range(len(HEAD))]
    lines = [_line(HEAD, widths)]
    paper = ""
    for row in rows:
        if row.paper != paper:
            paper = row.paper
            lines += ["", paper]
        lines.append(_line(cells[row.name], widths))
    return [
        *lines,
        "",
        f"parameters: learnable, {CLASSES} classes, default encoder; mult-adds: one {SIZE[0]}x{SIZE[1]} picture; sees: "
        "receptive field of the",
        "logits in pixels (all: the whole picture); stride: of the coarsest map. The layers of one: denselab info NAME",
    ]


def _cells(row: "ModelFacts") -> tuple[str, ...]:
    from denselab.inspection.listing import number, short

    s = row.summary
    sees = "all" if s.receptive_field is None else str(s.receptive_field)
    costs = (f"{s.learnable:,}", short(s.multiply_adds), sees, number(s.output_stride))
    return (row.name, str(row.year), *costs, row.encoder, row.use)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (c.rjust(w) if i in RIGHT else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
    return "  ".join(padded).rstrip()


def _flat(row: "ModelFacts") -> dict[str, object]:
    facts = asdict(row)
    summary = facts.pop("summary")
    return {**facts, "imgsz": list(SIZE), "num_classes": CLASSES, **summary}
