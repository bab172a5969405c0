"""Options of `denselab predict` for collections, huge pictures and films, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from denselab.cli.options import choice, option, switch
from denselab.cli.outcome import told
from denselab.console import remark
from denselab.errors import ConfigError, DataError

if TYPE_CHECKING:
    from denselab.inference.inputs import Skipped, Source

ShardText = Annotated[
    str | None, option("I/N", "Only part I of N of the pictures, counted from 1.", "all pictures", flag="--shard")
]
NoOverlays = Annotated[bool, switch("--no-overlays", "Label maps alone, without pictures of them: faster.")]
Redo = Annotated[bool, switch("--redo", "Predict again what is done already.")]
Manifest = Annotated[
    Path | None, option("FILE", "Table of all pictures in the folder, .csv or .parquet.", "OUT/manifest.csv")
]
Polygons = Annotated[
    Path | None,
    option("PATH", "Also the regions as GeoJSON: a .geojson file for one picture, a folder for several.", "not saved"),
]
Ray = Annotated[
    str | None,
    option("ADDRESS", "Predict on a Ray cluster: its address, auto, or local for this machine.", "this process"),
]
Every = Annotated[int, option("N", "Videos: every N-th frame.", least=1)]
Smooth = Annotated[Literal["none", "mean", "flow"], choice("Videos: average over time, in place or along the motion.")]


@dataclass(frozen=True)
class Inputs:
    """What is to be predicted. sources: pictures, listed beforehand or as they come.

    skipped: inputs left out; of a folder that is listed as it comes, complete at its end.
    """

    sources: Iterable[Source]
    skipped: list[Skipped]


def inputs_of(inputs: list[str], out: str, shard_text: str | None) -> Inputs:
    """The pictures that the inputs name; a folder and a store are listed while the work goes on.

    Skipped inputs are printed. Raises ConfigError, and DataError if no picture is left.
    """
    from denselab.inference.inputs import find_sources, refuse_own_folder, require_given
    from denselab.inference.listing import can_stream, of_shard, parse_shard, walk
    from denselab.inference.stores import is_url, walk_store

    shard = parse_shard(shard_text)
    urls = [text for text in inputs if is_url(text)]
    if urls:
        if len(inputs) > 1:
            raise ConfigError(f"{urls[0]} and other inputs together; give a store as the only input")
        return Inputs(_some(of_shard(walk_store(urls[0]), shard), urls[0], shard_text), [])
    folder = Path("." if is_url(out) else out)
    if not is_url(out):
        refuse_own_folder(inputs, folder)
    if can_stream(inputs, folder) or (is_url(out) and len(inputs) == 1 and Path(inputs[0]).is_dir()):
        closed: list[Skipped] = []
        found = _some(walk(Path(inputs[0]), folder, closed), inputs[0], None, closed)
        return Inputs(of_shard(found, shard), closed)
    sources, skipped = find_sources(inputs, folder)
    for entry in skipped:
        remark(f"skipped {entry.path}: {entry.reason}")
    if not sources:
        require_given(inputs)
        raise DataError(
            f"nothing to predict: {told(skipped)}; give picture files, or folders or patterns that hold some"
        )
    return Inputs(list(of_shard(sources, shard)), skipped)


def _some(found: Iterator[Source], name: str, shard: str | None, closed: Sequence[Skipped] = ()) -> Iterator[Source]:
    """The same, after a look at the first: a folder without pictures is told at once. closed: what was not listed."""
    from denselab.data.pixels.images import PICTURE_SUFFIXES

    first = next(found, None)
    if first is None and closed:
        raise DataError(f"nothing to predict: {told(closed)}; give picture files, or folders that you may read")
    if first is None and not shard:
        raise DataError(
            f"nothing to predict: {name}: holds no picture ({', '.join(PICTURE_SUFFIXES[:4])}, ...); "
            "give picture files, or folders or patterns that hold some"
        )
    return chain(() if first is None else (first,), found)


def counting(inputs: list[str], out: str, shard_text: str | None) -> Callable[[], int] | None:
    """The function that counts the pictures of a folder that is listed while the work goes on; None for others."""
    from denselab.inference.listing import can_stream, count_pictures, parse_shard

    if not can_stream(inputs, Path(out)):
        return None
    return partial(count_pictures, Path(inputs[0]), Path(out), parse_shard(shard_text))
