"""Huge pictures by rows: the same labels as the whole picture, no seams, in little memory, and going on after a kill."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image as PILImage

from denselab.console import Progress
from denselab.data.pixels.rows import RowWindow, open_rows
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image, resize_rows
from denselab.engine.engine import Pictures
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import DataError
from denselab.inference import bands, huge
from denselab.inference.bands import BandStore, run_bands
from denselab.inference.huge import huge_rows, predict_rows
from denselab.inference.job import Job
from denselab.inference.marks import read_mark
from denselab.inference.plan import Plan, plan_for
from denselab.inference.prediction import file_table, label_png
from denselab.inference.run import labels_of
from denselab.inference.stores import LocalPlace
from denselab.inference.tiling import spans
from denselab.labels import LabelSpace
from denselab.visualize import overlay

RNG = np.random.default_rng(0)
BAR = Progress("", None, "")


def scene(height: int, width: int) -> np.ndarray:
    """Patches of 9 pixels in the colours of the classes, a little noisy."""
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    classes = RNG.integers(0, 4, (height // 9 + 1, width // 9 + 1))
    large = np.kron(classes, np.ones((9, 9), int))[:height, :width]
    return np.clip(colours[large] + RNG.integers(-40, 41, (height, width, 3)), 0, 255).astype(np.uint8)


def finished(plan: Plan, path: Path, folder: Path) -> np.ndarray:
    rows = open_rows(path)
    store = BandStore(folder, "key", rows.size, 4)
    run_bands(plan, RowWindow(rows), store)
    return store[0 : rows.size[0]]


@pytest.mark.parametrize("options", [{}, {"tta": True}, {"window": (32, 32)}, {"window": (32, 48), "tta": True}])
def test_by_rows_is_the_same_as_at_once(engine: TorchEngine, tmp_path: Path, options: dict) -> None:
    image = scene(131, 97)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    plan = plan_for(engine, **options)
    assert np.array_equal(finished(plan, tmp_path / "a.png", tmp_path / "w"), labels_of(plan, image))


@pytest.mark.parametrize("size", [(131, 97), (40, 97), (17, 9), (1, 1), (200, 97)])
def test_reducing_by_rows_is_reducing_at_once(size: tuple[int, int]) -> None:
    image = scene(131, 97)
    assert np.array_equal(resize_rows(image, size), resize_image(image, size))


class Surroundings(torch.nn.Module):
    """Logits that depend on 7 x 7 pixels: windows see the same as the whole where they see that far."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 7, padding=3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.convolution(images) * 5


def test_no_seams_where_windows_see_enough(engine: TorchEngine, tmp_path: Path) -> None:
    """A window's outer 3 pixels lack context. They lie in the ramps; all other pixels are those of the whole picture.

    In the ramps, 8 pixels wide, the pixels without context count little: few labels differ, and none in the middle.
    """
    torch.manual_seed(1)
    local = replace(engine, network=Surroundings().eval())
    image = RNG.integers(0, 256, (150, 110, 3), dtype=np.uint8)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    whole = labels_of(plan_for(with_room(local, (150, 110))), image)
    windowed = finished(plan_for(local, window=(32, 32)), tmp_path / "a.png", tmp_path / "w")
    differing = whole != windowed
    rows, columns = (ramps(side) for side in (150, 110))
    assert not differing[np.ix_(~rows, ~columns)].any()
    assert differing.mean() < 0.02
    middle = [span.last - span.ramp // 2 for span in spans(110, 32)[:-1]]
    assert not differing[np.ix_(~rows, middle)].any(), "no seam where two windows count half each"


def ramps(side: int) -> np.ndarray:
    """Where two windows of 32 pixels are blended."""
    found = np.zeros(side, bool)
    for span in spans(side, 32):
        if span.falls:
            found[span.last - span.ramp : span.last] = True
    return found


def with_room(engine: TorchEngine, imgsz: tuple[int, int]) -> TorchEngine:
    return replace(engine, spec=replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, imgsz=imgsz)))


@dataclass(frozen=True)
class Mortal(TorchEngine):
    """Dies at the run whose number `dies` says."""

    dies: Callable[[int], bool] = lambda number: False

    def logits(self, pictures: Pictures) -> torch.Tensor:
        if self.dies(len(self.network.runs)):
            raise KeyboardInterrupt
        return super().logits(pictures)


@pytest.mark.parametrize("dies_at", [1, 9, 17])
def test_a_killed_run_goes_on_where_it_stopped(engine: TorchEngine, tmp_path: Path, dies_at: int) -> None:
    image = scene(131, 97)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    straight = finished(plan_for(engine, window=(32, 32)), tmp_path / "a.png", tmp_path / "straight")
    whole_runs = len(engine.network.runs)
    engine.network.runs.clear()
    mortal = Mortal(engine.spec, engine.network, engine.device, lambda number: number == dies_at)
    with pytest.raises(KeyboardInterrupt):
        finished(plan_for(mortal, window=(32, 32)), tmp_path / "a.png", tmp_path / "w")
    begun = len(engine.network.runs)
    resumed = finished(plan_for(engine, window=(32, 32)), tmp_path / "a.png", tmp_path / "w")
    assert np.array_equal(resumed, straight)
    columns = 4  # windows side by side
    assert len(engine.network.runs) == whole_runs + begun % columns, "only the row that was under way is run again"


def test_shared_rows_wait_in_two_files_of_one_size(engine: TorchEngine, tmp_path: Path) -> None:
    """Each holds (K, ramp, W) float32, whatever the height: every row of windows writes over what is done with."""
    PILImage.fromarray(scene(131, 97)).save(tmp_path / "a.png")
    finished(plan_for(engine, window=(32, 32)), tmp_path / "a.png", tmp_path / "w")
    assert [path.stat().st_size for path in sorted((tmp_path / "w").glob("shared-*"))] == [4 * 4 * 8 * 97] * 2


def test_another_model_or_picture_starts_anew(tmp_path: Path) -> None:
    store = BandStore(tmp_path, "one", (10, 4), 3)
    store.append(np.ones((5, 4), np.uint8))
    store.checkpoint(1, (32, 32))
    assert BandStore(tmp_path, "one", (10, 4), 3).rows == 5
    (tmp_path / "state.json").write_text("{")
    assert BandStore(tmp_path, "one", (10, 4), 3).rows == 0
    store.restart()
    store.append(np.ones((5, 4), np.uint8))
    store.checkpoint(1, (32, 32))
    assert BandStore(tmp_path, "other", (10, 4), 3).rows == 0


def test_finished_labels_come_in_bands_of_so_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BandStore(tmp_path, "one", (10, 4), 3)
    labels = RNG.integers(0, 3, (10, 4)).astype(np.uint8)
    store.append(labels)
    for pixels, heights in ((13, [3, 3, 3, 1]), (2, [1] * 10), (100, [10])):
        monkeypatch.setattr(bands, "BAND_PIXELS", pixels)
        found = list(store.bands())
        assert [len(band) for _, band in found] == heights
        assert [top for top, _ in found] == np.cumsum([0, *heights[:-1]]).tolist()
        assert np.array_equal(np.concatenate([band for _, band in found]), labels)


def predicted(engine: TorchEngine, path: Path, out: Path, **options: object) -> huge.ByRows:
    stem, job = PurePosixPath("a"), Job(plan_for(engine, window=(32, 32)), LocalPlace(out), **options)  # type: ignore[arg-type]
    return predict_rows(job.plan, open_rows(path), out, stem, "mark", BAR, job.targets(stem))


def test_all_results_of_a_huge_picture(engine: TorchEngine, tmp_path: Path) -> None:
    image = scene(131, 97)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    space = engine.spec.label_space
    done = predicted(engine, tmp_path / "a.png", tmp_path / "out", polygons=tmp_path / "a.geojson")
    labels = labels_of(plan_for(engine, window=(32, 32)), image)
    ids = file_table(space)[labels]
    with PILImage.open(tmp_path / "out" / "labels" / "a.png") as written:
        assert (np.asarray(written) == ids).all()
        (tmp_path / "plain.png").write_bytes(label_png(ids, space))
        with PILImage.open(tmp_path / "plain.png") as plain:
            assert written.getpalette() == plain.getpalette()
            assert written.mode == plain.mode == "P"
    with (tmp_path / "out" / "labels" / "a.png").open("rb") as file:
        assert read_mark(file) == "mark"
    assert done.counts.tolist() == np.bincount(labels.ravel(), minlength=4).tolist()
    assert done.confidence is not None
    assert 0.25 <= done.confidence <= 1
    with PILImage.open(tmp_path / "out" / "overlays" / "a.jpg") as drawn:
        assert drawn.size == (97, 131)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert {f["properties"]["class"] for f in features} == set(space.names)
    assert not list((tmp_path / "out" / ".unfinished").iterdir())


def test_a_huge_picture_without_its_overlay(engine: TorchEngine, tmp_path: Path) -> None:
    PILImage.fromarray(scene(131, 97)).save(tmp_path / "a.png")
    predicted(engine, tmp_path / "a.png", tmp_path / "out", overlays=False)
    assert (tmp_path / "out" / "labels" / "a.png").exists()
    assert not (tmp_path / "out" / "overlays").exists()


@pytest.mark.parametrize("side", [50, 131, 4096])
def test_an_overlay_in_strips_is_that_of_the_whole(
    space: LabelSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """Up to the rounding of the reduction."""
    monkeypatch.setattr(huge, "OVERLAY_SIDE", side)
    image, classes = scene(131, 97), RNG.integers(0, 4, (131, 97)).astype(np.uint8)
    PILImage.fromarray(image).save(tmp_path / "a.png")
    found = []
    for pixels in (97 * 7, 97 * 131):
        monkeypatch.setattr(huge, "STRIP_PIXELS", pixels)
        found.append(np.asarray(huge.reduced_overlay(classes, RowWindow(open_rows(tmp_path / "a.png")), space)))
    factor = min(side / 131, 1)
    size = (round(131 * factor), round(97 * factor))
    expected = overlay(resize_image(image, size), resize_labels(classes, size), space)
    for drawn in found:
        assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_memory_depends_on_no_height(engine: TorchEngine, tmp_path: Path) -> None:
    """4,000 rows of 96 pixels: 1.15 MB of RGB, and 1.5 MB of probabilities per 1,000 rows if they were kept."""

    def peak(height: int) -> int:
        path = tmp_path / f"{height}.tif"
        tifffile.imwrite(path, np.zeros((height, 96, 3), np.uint8), rowsperstrip=8, photometric="rgb")
        rows = open_rows(path)
        store = BandStore(tmp_path / f"w{height}", "key", rows.size, 4)
        engine.network.runs.clear()
        tracemalloc.start()
        run_bands(plan_for(engine, window=(32, 32)), RowWindow(rows), store)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)
    assert peak(4000) - peak(500) < 300_000, "the labels alone are 336 kB"


def test_only_large_pictures_go_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "a.tif", "a.webp"):
        PILImage.fromarray(scene(20, 30)).save(tmp_path / name)
    assert [huge_rows(tmp_path / name) for name in ("a.png", "a.tif", "a.webp")] == [None] * 3
    monkeypatch.setattr(huge, "HUGE_PIXELS", 600)
    assert huge_rows(tmp_path / "a.png") is not None
    assert huge_rows(tmp_path / "a.tif") is not None
    assert huge_rows(tmp_path / "a.webp") is None, "its format has no rows: it is read whole"
    monkeypatch.setattr(huge, "MAX_PIXELS", 500)
    with pytest.raises(DataError, match="too large for that: save it as TIFF"):
        huge_rows(tmp_path / "a.webp")


def test_a_damaged_picture_is_told_and_nothing_is_written(engine: TorchEngine, tmp_path: Path) -> None:
    PILImage.fromarray(RNG.integers(0, 256, (131, 97, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.png.*damaged"):
        predicted(engine, tmp_path / "a.png", tmp_path / "out")
    assert not (tmp_path / "out" / "labels").exists()
