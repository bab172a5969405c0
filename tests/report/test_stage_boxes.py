"""The boxes of a staged run's second stage, drawn in its report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from denselab.data import Dataset
from denselab.errors import CheckpointError
from denselab.measure.evaluate import Measured
from denselab.report.facts import read_run
from denselab.report.run_report import compose
from denselab.report.stage_boxes import SHOWN, outlined, stage_boxes_section


def write_boxes(run: Path, boxes: dict[str, list[list[int]]]) -> None:
    (run / "proposals.json").write_text(json.dumps({"source": "windows", "overlap": 0.5, "boxes": boxes}))


def test_the_report_of_a_staged_run_draws_them(
    make_dataset: Callable[..., Dataset], make_measured: Callable[..., Measured], write_run: Callable[..., Path]
) -> None:
    """They were kept beside the run, and no page showed them."""
    dataset = make_dataset(3, 9)
    run, best = write_run(dataset), make_measured(dataset, lambda i, truth: truth)
    report = lambda: compose(read_run(run), dataset, dataset.items, best, None, "one", "val").read_text()  # noqa: E731
    assert 'id="boxes"' not in report()
    shown = {item.name: [[1, -2, 8, 20, 24], [2, 0, 0, 24, 40]] for item in dataset.items[:8]}
    write_boxes(run, {**shown, dataset.items[8].name: [], "gone": [[1, 0, 0, 9, 9]]})
    page = report()
    assert 'id="boxes"' in page
    assert "saw 17 boxes from windows in 8 of 10 pictures: those that overlap an object by 0.5" in page
    assert page.count("2 boxes, 3 objects</small>") == SHOWN


def test_pictures_that_are_gone_are_left_out(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = make_dataset(3, 2)
    write_boxes(tmp_path, {item.name: [[1, 0, 0, 9, 9]] for item in dataset.items})
    (tmp_path / "p0.png").unlink()
    section = stage_boxes_section(tmp_path, dataset)[0]
    assert section.count("<small>") == 1
    assert "sub/p1: 1 box, 3 objects" in section


def test_a_damaged_file_is_named(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    (tmp_path / "proposals.json").write_text('{"source": "windows"}')
    with pytest.raises(CheckpointError, match="proposals.json holds no boxes; remove it"):
        stage_boxes_section(tmp_path, make_dataset(3, 1))


def test_outlines_lie_on_the_box_s_own_pixels(make_dataset: Callable[..., Dataset]) -> None:
    """A box in its class's colour, an object in white over it, black on both sides."""
    space = make_dataset(3, 1).label_space
    colour = np.array((10, 200, 30))
    entries = [replace(entry, colour=(10, 200, 30)) for entry in space.entries]
    image = np.full((20, 30, 3), 128, np.uint8)
    seen = outlined(image, [[1, 4, 5, 14, 18]], np.array([[4, 22, 9, 28]]), replace(space, entries=tuple(entries)))
    assert (seen[4, 5:18] == colour).all()
    assert (seen[13, 5:18] == colour).all()
    assert (seen[4:14, 17] == colour).all()
    assert not seen[3, 5:18].any()
    assert (seen[4, 22:28] == 255).all()
    assert (seen[7, 10] == 128).all(), "inside nothing is drawn"
    assert (outlined(image, [], np.zeros((0, 4), np.int64), space) == image).all()
