"""A picture by bands of rows: read, run and written without ever being held, and taken up again after a kill.

Windows slide along one row of windows at a time. The rows that the next row of windows shares wait in a file, so memory
depends neither on the height nor, but for the pixels of one row of windows, on the width. When a row of windows is
finished, its labels are appended to a file and `state.json` says so: the next start goes on from there. A picture that
the plan runs whole, reduced to the network's size, is reduced while its rows are read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denselab.data.resizing.resize import resize_rows
from denselab.engine.enlarge import NARROW, arg_max
from denselab.engine.out_of_memory import memory_errors
from denselab.errors import CheckpointError
from denselab.files import unpack_json, write_json, writing
from denselab.inference.plan import Plan
from denselab.inference.route import Windows, by_what_fits, routes, whole_sizes
from denselab.inference.run import window_probs
from denselab.inference.sinks import Confidence
from denselab.inference.tiling import Probs, slide, spans
from denselab.inference.views import run_views, seen_in
from denselab.runtime import give_back_holes
from denselab.types import LabelMap

if TYPE_CHECKING:
    from denselab.data.pixels.rows import RowWindow

STATE, LABELS = "state.json", "labels.raw"
BAND_PIXELS = 1_000_000  # of finished labels, looked at together: counting them takes 8 bytes each


class BandStore:
    """A folder with what is finished of one picture: its labels, row after row, and where to go on.

    labels.raw: (H, W) class indices, as many rows as are finished, and blocks of those under way. Other files: the
        shared rows of the last two rows of windows. The folder is removed when the picture's results are written.
    """

    def __init__(self, folder: Path, key: str, size: tuple[int, int], classes: int, temperature: float = 1.0) -> None:
        """key: of the model, the picture and the options; a folder with another key starts anew."""
        self.folder, self.key, self.size = folder, key, size
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if classes <= NARROW else np.uint16)
        self.next_window_row, self.rows = 0, 0
        self.extent: tuple[int, int] | None = None  # of the windows that were begun
        self._temperature = temperature
        self.confidence = Confidence(temperature=temperature)
        self._take_up()

    def _take_up(self) -> None:
        try:
            state = unpack_json((self.folder / STATE).read_bytes(), STATE)
            fits = state["key"] == self.key
            held = (self.folder / LABELS).stat().st_size >= state["rows"] * self.size[1] * self.dtype.itemsize
            if fits and held:
                self.next_window_row, self.rows = int(state["next"]), int(state["rows"])
                self.extent = (int(state["extent"][0]), int(state["extent"][1]))
                self.confidence = Confidence(float(state["confidence"]), int(state["count"]), self._temperature)
                return
        except (OSError, CheckpointError, KeyError, TypeError, ValueError):
            pass
        self.restart()

    def restart(self) -> None:
        """Forget everything. Raises ResourceError where the folder cannot be written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.next_window_row, self.rows, self.extent = 0, 0, None
        self.confidence = Confidence(temperature=self._temperature)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / LABELS).touch()

    def append(self, labels: LabelMap) -> None:
        """Add finished rows (h, W)."""
        self.put(self.rows, 0, labels)
        self.finish(self.rows + len(labels))

    def put(self, top: int, left: int, labels: LabelMap) -> None:
        """Write a block (h, w) into rows that are not finished. It goes to its place at once: memory holds no row."""
        lines, item = np.ascontiguousarray(labels, self.dtype), self.dtype.itemsize
        if lines.shape[1] == self.size[1]:
            lines = lines.reshape(1, -1)
        with writing(self.folder), (self.folder / LABELS).open("r+b") as file:
            for number, line in enumerate(lines):
                file.seek(((top + number) * self.size[1] + left) * item)
                file.write(line.data)

    def finish(self, rows: int) -> None:
        """So many rows are complete, and on the disk."""
        with writing(self.folder), (self.folder / LABELS).open("r+b") as file:
            os.fsync(file.fileno())
        self.rows = rows

    def checkpoint(self, next_window_row: int, extent: tuple[int, int]) -> None:
        """All rows so far are kept, and the next start begins at this row of windows of this (height, width)."""
        self.next_window_row, self.extent = next_window_row, extent
        state = {"key": self.key, "next": next_window_row, "rows": self.rows, "extent": list(extent)}
        state |= {"confidence": self.confidence.total, "count": self.confidence.count}
        write_json(self.folder / STATE, state)

    @property
    def done(self) -> bool:
        """Whether every row is finished."""
        return self.rows == self.size[0]

    def __getitem__(self, rows: slice) -> LabelMap:
        """(h, W) class indices of finished rows [top, bottom)."""
        top, bottom, _ = rows.indices(self.size[0])
        row = self.size[1] * self.dtype.itemsize
        with (self.folder / LABELS).open("rb") as file:
            file.seek(top * row)
            content = bytearray(file.read((bottom - top) * row))
        found: LabelMap = np.frombuffer(content, self.dtype).reshape(bottom - top, self.size[1])
        return found

    def bands(self) -> Iterator[tuple[int, LabelMap]]:
        """Yield (top, (h, W)) of all rows, in order, about BAND_PIXELS at a time."""
        count = max(BAND_PIXELS // max(self.size[1], 1), 1)
        for top in range(0, self.size[0], count):
            yield top, self[top : top + count]

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class FileShelf:
    """A tiling.Shelf in two files, which take turns: what is read stays as it was until its row is finished."""

    def __init__(self, folder: Path, classes: int, ramp: int, row: int) -> None:
        """row: the row of windows to begin with."""
        self._names = (folder / "shared-0.f32", folder / "shared-1.f32")
        self._shape, self._row = (classes, ramp), row
        self._reading, self._writing = self._opened()

    def put(self, x: int, part: Probs) -> None:
        self._writing.seek(self._place(x))
        self._writing.write(np.ascontiguousarray(part).data)

    def get(self, x: int, width: int) -> Probs:
        self._reading.seek(self._place(x))
        content = self._reading.read(self._place(width))
        return np.frombuffer(content, np.float32).reshape(*self._shape, width)

    def next_row(self) -> None:
        self._writing.flush()
        os.fsync(self._writing.fileno())
        self.close()
        self._row += 1
        self._reading, self._writing = self._opened()

    def close(self) -> None:
        """Close both files."""
        self._reading.close()
        self._writing.close()

    def _place(self, columns: int) -> int:
        """Bytes of so many columns: the blocks of a row lie one after the other, each (K, ramp, w)."""
        return 4 * columns * self._shape[0] * self._shape[1]

    def _opened(self) -> tuple[Any, Any]:
        """What the row above wrote, and the file of the row before that, to be written over.

        Every row writes as many bytes. For a file that is emptied first the system clears new pages.
        """
        reading, writing = self._names[(self._row + 1) % 2], self._names[self._row % 2]
        for name in (reading, writing):
            name.touch()
        return reading.open("rb"), writing.open("r+b")


Done = Callable[[int], None]
"""Told how many rows of the picture are finished."""


def goes_by_rows(plan: Plan) -> bool:
    """Whether a plan needs no more of a picture at once than its rows: labels alone, of windows or of the whole."""
    return not (plan.crf or plan.samples or plan.instances or plan.ensemble or plan.spec.preprocessing.bands)


def run_bands(plan: Plan, picture: RowWindow, store: BandStore, done: Done = lambda rows: None) -> None:
    """Fill the store with the labels of a picture, from where it stands.

    plan: one that goes by rows (goes_by_rows).
    Raises DataError for a picture that turns out damaged, ResourceError, MemoryError.
    """
    if store.done:
        return
    ways = routes(plan, (picture.shape[0], picture.shape[1]))
    begun = [way for way in ways if way is not None and way.extent == store.extent]
    if begun:  # others had run out of memory
        ways = ways[ways.index(begun[0]) :]

    def run(way: Windows | None) -> None:
        if way is not ways[0]:
            store.restart()  # what larger windows began
        with memory_errors():
            if way is None:
                _run_whole(plan, picture, store, done)
            else:
                _run_windows(plan, picture, way, store, done)

    by_what_fits(ways, run)


def _run_whole(plan: Plan, picture: RowWindow, store: BandStore, done: Done) -> None:
    """Reduce the picture to the size of each view while it is read; its labels come in bands of rows."""
    store.restart()
    size = store.size
    views = []
    for view in whole_sizes(plan, size):
        views += run_views(plan.engine, resize_rows(picture, view), [view], plan.flip)
    seen = seen_in(views)
    for _, band in seen.bands(size):
        store.confidence.add(band, seen.logits)
        store.append(arg_max(band))
        done(store.rows)


def _run_windows(plan: Plan, picture: RowWindow, windows: Windows, store: BandStore, done: Done) -> None:
    """Slide windows, row by row, with a checkpoint after each row."""
    rows = spans(store.size[0], windows.extent[0])
    classes = plan.spec.label_space.num_classes
    first_row = store.next_window_row
    shelf = FileShelf(store.folder, classes, rows[0].ramp, first_row)

    def emit(top: int, left: int, probs: Probs) -> None:
        store.confidence.add(probs)
        store.put(top, left, arg_max(probs))

    def after_row(number: int, finished: int) -> None:
        store.finish(finished)
        store.checkpoint(number + 1, windows.extent)
        give_back_holes()
        done(finished)

    try:
        slide(
            picture,  # type: ignore[arg-type]  # it gives rows and columns as an array does
            windows.extent,
            lambda part: window_probs(plan, np.ascontiguousarray(part), windows),
            emit,
            shelf=shelf,
            first_row=first_row,
            after_row=after_row,
        )
    finally:
        shelf.close()
