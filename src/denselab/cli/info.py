"""`denselab info`: the layer table of a network, as its paper prints it."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from denselab.cli.completion import complete_network
from denselab.cli.options import AsJson, Encoder, OutputStride, argument, option, read_size, size_option, switch
from denselab.console import tell
from denselab.errors import ConfigError
from denselab.files import to_json

if TYPE_CHECKING:
    from denselab.inspection.subject import Subject


Name = Annotated[
    str, argument("NAME", "A network of `denselab models`, or a model or run folder.", complete=complete_network)
]
Imgsz = Annotated[str | None, size_option("512x512, or the trained model's own", "Size of the picture")]
Classes = Annotated[int | None, option("N", "Number of classes.", "21 as PASCAL VOC, or the trained model's", least=1)]
Unfold = Annotated[bool, switch("--all", "Print every layer; do not fold repeated blocks.")]
Diagram = Annotated[bool, switch("--diagram", "Draw the network into FILE.svg instead of printing its table.")]
File = Annotated[Path | None, argument("FILE.svg", "Where --diagram draws.", "NAME.svg in this folder")]


def info(
    name: Name,
    file: File = None,
    imgsz: Imgsz = None,
    classes: Classes = None,
    encoder: Encoder = None,
    output_stride: OutputStride = None,
    unfold: Unfold = False,
    diagram: Diagram = False,
    as_json: AsJson = False,
) -> None:
    """Print a network's layers: kernel, stride, pad, channels, size, parameters, multiply-adds, and what a value sees.

    Sums, concatenations and crops of maps stand between the layers; "crop at 5" cuts five rows off the top and five
    columns off the left.

    "sees" is the receptive field in pixels: the side of the square that a value depends on, padding included.
    Nothing is computed: the network runs on torch's meta device.

    --diagram draws the network from the same numbers: maps by size and channels, skips, unpooling. Without --imgsz at
    the size of the paper's own figure, where that is known.
    """
    from denselab.inspection.listing import table_lines, total_lines
    from denselab.inspection.subject import find_subject
    from denselab.inspection.summary import summarise
    from denselab.inspection.table import table_of

    size = read_size(imgsz)
    if file is not None and not diagram:
        command = shlex.join(["denselab", "info", name, str(file), "--diagram"])
        raise ConfigError(f"{file} is a file for --diagram; write `{command}`")
    subject = find_subject(name, imgsz=size, encoder=encoder, num_classes=classes, output_stride=output_stride)
    if diagram:
        subject = subject if size or subject.folder else replace(subject, imgsz=subject.entry.figure_size)
        _draw(subject, file or Path(f"{subject.architecture.name}.svg"), as_json)
        return
    traced = subject.trace()
    summary, rows = summarise(subject.model, traced), table_of(traced, subject.imgsz, joins=True)
    if as_json:
        layers = [asdict(row) for row in table_of(traced, subject.imgsz, norms=True, joins=True)]
        print(to_json({**_facts(subject), "totals": asdict(summary), "layers": layers}))
        return
    tell(*_head(subject), "", *table_lines(rows, unfold=unfold), "", *total_lines(summary))


def _draw(subject: "Subject", file: Path, as_json: bool) -> None:
    """Write the diagram and say where it is. Raises ConfigError for another kind of file, ResourceError."""
    from denselab.files import write_text
    from denselab.report.diagram import network_diagram

    if file.suffix.lower() != ".svg":
        right = (
            file.with_suffix(".svg") if file.name and not file.is_dir() else file / f"{subject.architecture.name}.svg"
        )
        raise ConfigError(f"{file} does not end in .svg, the only form of --diagram; write {right}")
    write_text(file, network_diagram(subject), "name another place for FILE.svg")
    if as_json:
        print(to_json({**_facts(subject), "diagram": str(file)}))
    else:
        tell(str(file))


def _head(subject: "Subject") -> list[str]:
    entry, architecture = subject.entry, subject.architecture
    encoder = f", encoder {architecture.encoder}" if architecture.encoder else ""
    stride = f", output stride {architecture.output_stride}" if architecture.output_stride else ""
    height, width = subject.imgsz
    trained = [f"trained model in {subject.folder}"] if subject.folder else []
    return [
        f"{architecture.name}: {entry.title}",
        f"{entry.paper}, {entry.year}",
        *trained,
        f"picture {height}x{width}, {architecture.num_classes} classes{encoder}{stride}",
    ]


def _facts(subject: "Subject") -> dict[str, Any]:
    entry = subject.entry
    return {
        "name": subject.architecture.name,
        "title": entry.title,
        "paper": entry.paper,
        "year": entry.year,
        "use": entry.use,
        "folder": None if subject.folder is None else str(subject.folder),
        "architecture": asdict(subject.architecture),
        "imgsz": list(subject.imgsz),
    }
