"""`denselab check DATA`: what is in a data set and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from denselab.cli.folders import named_by_data
from denselab.cli.options import AsJson, Data, DisplayBands, Seed, band_names, option, out_option
from denselab.console import remark, stdout, tell
from denselab.errors import DataError, ResourceError, SeveralDataSets
from denselab.files import to_json
from denselab.in_words import number_of
from denselab.shown import shown

if TYPE_CHECKING:
    from denselab.data.audit.check import CheckReport
    from denselab.data.audit.findings import Fault
    from denselab.data.dataset import Dataset
    from denselab.labels import LabelEntry

LISTED_FILES = 5  # per kind of fault; --json has them all
LISTED_SIZES = 6


Out = Annotated[Path | None, out_option("Folder for the contact sheet.", "denselab-check/NAME")]
Workers = Annotated[int | None, option("N", "Threads that read pictures.", "all cores", least=1)]


def check(
    data: Data,
    out: Out = None,
    json_: AsJson = False,
    workers: Workers = None,
    seed: Seed = 0,
    display_bands: DisplayBands = None,
) -> None:
    """Read every picture and label; show layout, encoding, classes, balance, faults and how to fix them.

    Nothing is written to DATA; a contact sheet of overlays goes to --out. The exit code is 3 if training would fail.
    """
    try:
        _check_one(data, out, json_, workers, seed, band_names(display_bands))
    except SeveralDataSets as several:
        if json_:
            raise
        _check_each(several, out, workers, seed, band_names(display_bands))


def _check_each(
    several: SeveralDataSets, out: Path | None, workers: int | None, seed: int, display: tuple[str, ...]
) -> None:
    """Check every data set in a folder that holds several; name those that would not train at the end."""
    failed = []
    for folder in several.folders:
        tell(f"\n{folder}", style="bold")
        try:
            _check_one(str(folder), None if out is None else out / folder.name, False, workers, seed, display)
        except DataError as error:
            remark(str(error))
            failed.append(folder.name)
    if "data.yaml" in str(several):  # they may be parts of one
        remark(str(several))
    if failed:
        count = f"{len(failed)} of {len(several.folders)} data sets"
        raise DataError(f"{count} would not train ({', '.join(failed)}); the reasons stand above")


def _check_one(
    data: str, out: Path | None, json_: bool, workers: int | None, seed: int, display: tuple[str, ...]
) -> None:
    from denselab.data.audit.check import check_dataset  # here: not every command needs them
    from denselab.data.dataset import open_dataset
    from denselab.report.contact_sheet import write_contact_sheet

    dataset = open_dataset(data, seed=seed)
    if display:
        dataset = _displayed(dataset, display)
    report = check_dataset(dataset, workers=workers, seed=seed)
    sheet, unwritten = None, None
    try:
        sheet = write_contact_sheet(dataset, report.examples, out or default_folder(dataset.root))
    except ResourceError as error:  # what was read is told first: it may have taken an hour
        unwritten = error
    if json_:
        document = {**report.to_dict(), "contact_sheet": None if sheet is None else str(sheet)}
        typer.echo(to_json(document, indent=2))
    else:
        stdout.print(render(report))
        if sheet is not None:
            tell(f"contact sheet: {sheet}")
    if not report.would_train:
        raise DataError(f"{dataset.root} {report.verdict}")
    if unwritten is not None:
        raise unwritten
    if not json_:
        remark(f"{dataset.root}: {report.verdict}")


def _displayed(dataset: Dataset, display: tuple[str, ...]) -> Dataset:
    """The data set with other bands to display, in its pictures and its note. Raises ConfigError."""
    from denselab.data.pixels.spectral import with_display
    from denselab.data.pixels.spectral_survey import bands_note

    chosen, notes = with_display(dataset.bands, display), dataset.notes
    if dataset.bands and chosen:
        old, new = bands_note(dataset.bands), bands_note(chosen)
        notes = tuple(note.replace(old, new) for note in notes)
    return replace(dataset, bands=chosen, notes=notes)


def default_folder(root: Path) -> Path:
    """./denselab-check/NAME, or beside the data set where the current folder lies inside it."""
    return named_by_data("denselab-check", str(root))


def render(report: CheckReport) -> RenderableType:
    """The whole report except its verdict, for the terminal."""
    return Group(_head(report), Text(), _classes(report), *_faults(report.faults))


def _head(report: CheckReport) -> Table:
    """Name, layout, encoding, pictures, sizes and notes, one per row."""

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    pictures = ", ".join(f"{count:,} {split}" for split, count in report.pictures.items())
    sizes = ", ".join(f"{height}x{width} ({count:,})" for (height, width), count in report.sizes[:LISTED_SIZES])
    more = len(report.sizes) - LISTED_SIZES
    rows = [
        ("data", report.root),
        ("layout", report.layout),
        ("encoding", report.encoding),
        ("pictures", f"{sum(report.pictures.values()):,}: {pictures}"),
        ("height x width", sizes + (f" and {number_of(more, 'other size')}" if more > 0 else "")),
        *(("" if position else "note", note) for position, note in enumerate(report.notes)),
    ]
    for name, value in rows:
        table.add_row(name, Text(shown(value)))
    return table


def _classes(report: CheckReport) -> Table:
    """A row for each class that occurs and for ignore: swatch, id, name, share of each split's pixels, pictures."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("", "id", "class", *(f"{split} %" for split in report.class_pixels), "pictures"):
        table.add_column(heading, justify="left" if heading in ("", "class") else "right")
    totals = {split: sum(pixels.values()) for split, pixels in report.class_pixels.items()}
    for entry in report.label_space.classes:
        counts = {split: pixels[entry.name] for split, pixels in report.class_pixels.items()}
        if any(counts.values()):
            shares = [_share(count, totals[split]) for split, count in counts.items()]
            table.add_row(*_named(entry), *shares, f"{report.class_pictures[entry.name]:,}")
    absent = sum(count == 0 for count in report.class_pictures.values())
    if absent:
        table.add_row("", "", f"and {absent} class{'es' if absent > 1 else ''} that no label has", style="dim")
    if any(report.ignored_pixels.values()):
        shares = [_share(count, count + totals[split]) for split, count in report.ignored_pixels.items()]
        table.add_row("", "", "ignored, of all pixels", *shares, style="dim")
    return table


def _named(entry: LabelEntry) -> tuple[Text, str, Text]:
    red, green, blue = entry.colour
    role = "" if entry.role in ("class", entry.name) else f" ({entry.role})"
    return Text("██", style=f"rgb({red},{green},{blue})"), str(entry.id), Text(shown(entry.name + role))


def _share(count: int, total: int) -> str:
    """A percentage that never shows a rare class as absent."""
    if not count or not total:
        return "-"
    percent = 100 * count / total
    return f"{percent:.2f}" if percent >= 0.005 else "<0.01"


def _faults(faults: tuple[Fault, ...]) -> list[RenderableType]:
    """Faults by kind, each with its first files and the fix."""
    blocks: list[RenderableType] = []
    ordered = sorted(faults, key=lambda fault: (fault.severity != "error", fault.kind, fault.fix))
    for (severity, kind, fix), group in groupby(ordered, key=lambda fault: (fault.severity, fault.kind, fault.fix)):
        members = list(group)
        style = "bold red" if severity == "error" else "bold yellow"
        blocks.append(
            Text.assemble("\n", (f"{severity}: {kind}", style), f" ({len(members)})" if len(members) > 1 else "")
        )
        lines = [
            shown(f"{fault.file}: {fault.message}" if fault.file else fault.message) for fault in members[:LISTED_FILES]
        ]
        if len(members) > LISTED_FILES:
            lines.append(f"and {len(members) - LISTED_FILES:,} more (--json lists them all)")
        body = [*map(Text, lines), Text(f"fix: {shown(fix)}", style="italic")]
        blocks += [Padding(line, (0, 0, 0, 2)) for line in body]
    return blocks
