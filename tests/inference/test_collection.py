"""Files in, result files out; items of a data set for the scores."""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage

from denselab import __version__
from denselab.data.pixels.spectral import SpectralBands
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, ResourceError
from denselab.inference import job
from denselab.inference.collection import predict_files
from denselab.inference.inputs import Source, find_sources
from denselab.inference.job import Job
from denselab.inference.listing import walk
from denselab.inference.plan import plan_for
from denselab.inference.prediction import Prediction
from denselab.inference.results import class_shares
from denselab.inference.stores import LocalPlace
from denselab.inference.submission import Submission
from denselab.labels import LabelSpace


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three flat pictures of different sizes in a tree, and two files that are none."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, size, colour in (
        ("a.png", (5, 7), (255, 0, 0)),
        ("b.png", (1, 1), (0, 0, 255)),
        ("sub/c.png", (90, 40), (0, 255, 0)),
    ):
        PILImage.new("RGB", size, colour).save(folder / name)
    (folder / "bad.png").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("probs", ["none", "npz"])
def test_results_mirror_the_tree_at_the_pictures_size(
    engine: TorchEngine, pictures: Path, tmp_path: Path, probs: str
) -> None:
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out"), probs=probs), sources, quiet=True
    )  # type: ignore[arg-type]
    assert [Path(r.source).name for r in results] == ["a.png", "b.png", "c.png"]
    assert [r.shares for r in results] == [{"red": 1.0}, {"blue": 1.0}, {"green": 1.0}]
    found = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "sub" / "c.png"))
    assert found.shape == (40, 90)
    assert (found == 20).all()
    assert [Path(s.path).name for s in skipped] == ["bad.png", "empty.jpg"]
    assert all(str(pictures) not in s.reason for s in skipped)


def test_what_is_no_ordinary_file_is_skipped_at_once(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    """A pipe never answers, a link to itself leads nowhere; both are asked before anything is read of them."""
    os.mkfifo(pictures / "pipe.png")
    (pictures / "loop.tif").symlink_to("loop.tif")
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out"), model="m"), sources, quiet=True
    )
    assert [Path(r.source).name for r in results] == ["a.png", "b.png", "c.png"]
    assert {Path(s.path).name for s in skipped} == {"bad.png", "empty.jpg", "pipe.png", "loop.tif"}


def test_a_picture_too_large_for_its_probabilities_is_skipped_alone(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denselab.inference.run.total_memory", lambda: 40_000)  # 90x40x4 classes need 57,600 bytes
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out"), probs="npz"), sources, quiet=True
    )
    assert [Path(r.source).name for r in results] == ["a.png", "b.png"]
    assert "40x90 pixels (height x width) and 4 classes" in skipped[-1].reason


def test_the_label_table_lists_what_the_label_pngs_hold(
    engine: TorchEngine, space: LabelSpace, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index PNG holds no id below 0: it got class indices, and labels.json still said -1."""
    shifted = LabelSpace(tuple(replace(entry, id=entry.id - 1) for entry in space.entries))
    plan = plan_for(replace(engine, spec=replace(engine.spec, label_space=shifted)))
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    predict_files(Job(plan, LocalPlace(tmp_path / "out")), sources, quiet=True)
    table = {row["name"]: row["id"] for row in json.loads((tmp_path / "out" / "labels.json").read_text())}
    for name, colour in (("a", "red"), ("b", "blue"), ("sub/c", "green")):
        assert (np.asarray(PILImage.open(tmp_path / "out" / "labels" / f"{name}.png")) == table[colour]).all()
    assert capsys.readouterr().err.count("do not fit into label PNGs") == 1


def test_inputs_are_never_touched(engine: TorchEngine, pictures: Path) -> None:
    labels = pictures / "labels"
    labels.mkdir()
    PILImage.new("RGB", (2, 2)).save(labels / "a.png")
    sources, _ = find_sources([str(labels / "a.png")], pictures)
    before = (labels / "a.png").read_bytes()
    with pytest.raises(ConfigError, match="overwrite"):
        predict_files(Job(plan_for(engine), LocalPlace(pictures)), sources, quiet=True)
    assert (labels / "a.png").read_bytes() == before


def test_a_place_that_cannot_be_written_ends_the_work(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    with pytest.raises(ResourceError, match="out"):
        predict_files(Job(plan_for(engine), LocalPlace(tmp_path / "out")), sources, quiet=True)


def test_class_shares_by_hand(space: LabelSpace) -> None:
    assert class_shares(np.array([[0, 0, 0, 2]], np.uint8), space) == {"ground": 0.75, "green": 0.25}


def predicted_by(
    engine: TorchEngine, folder: Path, out: Path, manifest: Path | None = None, **options: object
) -> tuple[list[bool], int]:
    """Whether each result was there already, and how often the network ran."""
    runs = len(engine.network.runs)
    sources, _ = find_sources([str(folder)], out)
    results, _ = predict_files(
        Job(plan_for(engine), LocalPlace(out), model="m", **options), sources, manifest=manifest, quiet=True
    )  # type: ignore[arg-type]
    return [r.already for r in results], len(engine.network.runs) - runs


def test_what_is_done_is_passed_over_by_content(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predicted_by(engine, pictures, out) == ([False] * 3, 3)
    assert predicted_by(engine, pictures, out) == ([True] * 3, 0)
    PILImage.new("RGB", (5, 7), (0, 255, 0)).save(pictures / "a.png")
    assert predicted_by(engine, pictures, out) == ([False, True, True], 1)
    (out / "overlays" / "b.jpg").unlink()
    assert predicted_by(engine, pictures, out) == ([True, False, True], 1)
    assert predicted_by(engine, pictures, out, redo=True) == ([False] * 3, 3)
    sources, _ = find_sources([str(pictures)], out)
    results, _ = predict_files(Job(plan_for(engine), LocalPlace(out), model="another"), sources, quiet=True)
    assert not any(r.already for r in results)
    assert not (out / ".claims").exists()


def test_results_of_an_earlier_version_are_made_again(
    engine: TorchEngine,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They counted as done, so after an upgrade a folder held labels of both."""
    out = tmp_path / "out"
    with monkeypatch.context() as before:
        before.setattr(job, "__version__", "0.0.9")
        assert predicted_by(engine, pictures, out) == ([False] * 3, 3)
        assert predicted_by(engine, pictures, out) == ([True] * 3, 0)
    assert not any("predicted again" in line for line in caplog.messages)
    assert predicted_by(engine, pictures, out) == ([False] * 3, 3)
    lines = [line for line in caplog.messages if "predicted again" in line]
    assert lines == [f"results of DenseLab 0.0.9 are predicted again, since this is DenseLab {__version__}"]
    assert predicted_by(engine, pictures, out) == ([True] * 3, 0)


def test_a_label_map_that_was_cut_short_is_made_again(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    """Copied by half, it still has its mark: it counted as done, and reading its shares ended the command."""
    out = tmp_path / "out"
    predicted_by(engine, pictures, out)
    whole = (out / "labels" / "a.png").read_bytes()
    for left in (len(whole) - 1, len(whole) - 20, 8, 0):
        (out / "labels" / "a.png").write_bytes(whole[:left])
        assert predicted_by(engine, pictures, out) == ([False, True, True], 1)
        assert (out / "labels" / "a.png").read_bytes() == whole


def test_a_label_map_that_somebody_changed_is_kept(
    engine: TorchEngine, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Corrected by hand, it was predicted again without a word: most programs drop its mark."""
    out = tmp_path / "out"
    predicted_by(engine, pictures, out, manifest=out / "manifest.csv")
    labels = out / "labels" / "a.png"
    PILImage.new("RGB", (7, 5), (1, 2, 3)).save(labels)
    mine = labels.read_bytes()
    capsys.readouterr()
    assert predicted_by(engine, pictures, out, manifest=out / "manifest.csv") == ([True] * 3, 0)
    assert f"1 result changed since predicted, and kept: {labels}; `redo` predicts" in capsys.readouterr().err
    with (out / "manifest.csv").open() as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    assert [rows[name]["share red"] for name in ("a.png", "b.png")] == ["", "0.0"], "not as the network saw it"
    sources, _ = find_sources([str(pictures)], out)
    place = LocalPlace(out)
    results, _ = predict_files(Job(plan_for(engine), place, model="another"), sources, quiet=True)
    assert [result.already for result in results] == [True, False, False]
    results, skipped = predict_files(
        Job(plan_for(engine), place, model="m", submission=Submission("csv")), sources, quiet=True
    )
    assert "the table is of predictions" in next(one.reason for one in skipped if one.path.endswith("a.png"))
    assert labels.read_bytes() == mine
    assert predicted_by(engine, pictures, out, redo=True) == ([False] * 3, 3)
    assert labels.read_bytes() != mine


def test_overlays_are_left_out_and_made_up_for(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predicted_by(engine, pictures, out, overlays=False) == ([False] * 3, 3)
    assert not (out / "overlays").exists()
    assert predicted_by(engine, pictures, out, overlays=False) == ([True] * 3, 0)
    assert predicted_by(engine, pictures, out) == ([False] * 3, 3)
    assert (out / "overlays" / "sub" / "c.jpg").exists()


def test_results_of_another_model_that_stay_are_named(
    engine: TorchEngine, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Overlays and probabilities of the model before lay beside the labels of this one, without a word."""
    sources, _ = find_sources([str(pictures / "a.png")], tmp_path / "out")
    place, plan = LocalPlace(tmp_path / "out"), plan_for(engine)
    predict_files(Job(plan, place, probs="npz", model="one"), sources, quiet=True)
    predict_files(Job(plan, place, overlays=False, model="one"), sources, quiet=True)
    assert "other predictions" not in capsys.readouterr().err
    predict_files(Job(plan, place, overlays=False, model="two"), sources, quiet=True)
    assert "overlays and probs in" in capsys.readouterr().err


def test_label_maps_of_other_classes_are_not_described_anew(
    engine: TorchEngine, pictures: Path, tmp_path: Path
) -> None:
    """A model of other classes replaced labels.json: the label maps of the one before then had the wrong names."""
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    place, space = LocalPlace(tmp_path / "out"), engine.spec.label_space
    predict_files(Job(plan_for(engine), place), sources[:1], quiet=True)
    table = (tmp_path / "out" / "labels.json").read_bytes()
    turned = LabelSpace(tuple(replace(entry, id=entry.id + 1) for entry in space.entries))
    other = replace(engine, spec=replace(engine.spec, label_space=turned))
    with pytest.raises(ConfigError, match=r"other classes \(0 ground, 10 red.*would tell as 1 ground, 11 red"):
        predict_files(Job(plan_for(other), place), sources[1:], quiet=True)
    assert (tmp_path / "out" / "labels.json").read_bytes() == table


def test_pictures_of_more_bits_than_the_training_s_are_told(
    engine: TorchEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each was brightened by its own numbers, and `eval` measured the same files at one white: mIoU 0.56 for 0.99."""
    (tmp_path / "in").mkdir()
    PILImage.fromarray(np.full((4, 6), 900, np.uint16)).save(tmp_path / "in" / "a.png")
    sources, _ = find_sources([str(tmp_path / "in")])
    deep = replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, white=4095))
    for name, spec in (("one", deep), ("two", engine.spec)):
        place = LocalPlace(tmp_path / name)
        predict_files(Job(plan_for(replace(engine, spec=spec)), place), sources, quiet=True)
        assert ("a.png has more than 8 bits" in capsys.readouterr().err) == (name == "two")


def test_a_picture_beside_one_of_another_format_keeps_its_name_in_the_table(
    engine: TorchEngine, pictures: Path, tmp_path: Path
) -> None:
    """It was called a.jpg.jpg."""
    PILImage.open(pictures / "a.png").save(pictures / "a.jpg")
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    job = Job(plan_for(engine), LocalPlace(tmp_path / "out"), submission=Submission("rle"))
    predict_files(job, sources, quiet=True)
    with (tmp_path / "out" / "submission.csv").open(newline="") as file:
        assert [row["image_id"] for row in csv.DictReader(file)] == ["a.jpg", "a.png", "b.png", "sub/c.png"]


def test_a_kill_before_the_overlay_leaves_the_old_mark(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label PNG was written first: with the new mark beside the overlay of another model, all counted as done."""
    out = tmp_path / "out"
    predicted_by(engine, pictures, out)
    PILImage.new("RGB", (5, 7), (0, 255, 0)).save(pictures / "a.png")
    with monkeypatch.context() as killed:
        killed.setattr(Prediction, "overlay", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predicted_by(engine, pictures, out)
    assert predicted_by(engine, pictures, out)[0] == [False, True, True]


def test_the_manifest_tells_of_every_run(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        predicted_by(engine, pictures, out, manifest=out / "manifest.csv")
    rows = {Path(r["file"]).name: r for r in csv.DictReader((out / "manifest.csv").read_text().splitlines())}
    assert sorted(rows) == ["a.png", "b.png", "bad.png", "c.png", "empty.jpg"]
    assert (rows["c.png"]["height"], rows["c.png"]["width"], rows["c.png"]["share green"]) == ("40", "90", "1.0")
    assert 0.25 < float(rows["a.png"]["confidence"]) <= 1
    assert "not a picture" in rows["bad.png"]["error"]
    assert rows["bad.png"]["share red"] == ""


def test_a_result_without_a_line_gets_one(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    """A process that was killed between saving and recording."""
    out = tmp_path / "out"
    predicted_by(engine, pictures, out)
    predicted_by(engine, pictures, out, manifest=out / "manifest.csv")
    rows = {Path(r["file"]).name: r for r in csv.DictReader((out / "manifest.csv").read_text().splitlines())}
    assert rows["c.png"]["share green"] == "1.0"


def test_two_processes_share_a_folder(engine: TorchEngine, tmp_path: Path) -> None:
    """Here two threads, each with claims of its own."""
    (tmp_path / "in").mkdir()
    for number in range(12):
        PILImage.new("RGB", (5, 7), (255, number, 0)).save(tmp_path / "in" / f"{number}.png")
    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(predicted_by, engine, tmp_path / "in", tmp_path / "out") for _ in range(2)]
        found = [work.result()[0] for work in works]
    assert [len(results) for results in found] == [12, 12]
    assert len(engine.network.runs) == 12, "each picture was predicted once"
    assert sum(not already for results in found for already in results) == 12


def test_an_iterator_of_sources_and_results_that_are_not_kept(
    engine: TorchEngine, pictures: Path, tmp_path: Path
) -> None:
    seen = []
    sources = walk(pictures, tmp_path / "out")
    kept, skipped = predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out")), sources, each=seen.append, quiet=True
    )
    assert (kept, len(seen), len(skipped)) == ([], 3, 2)


def test_an_iterator_does_not_overwrite_what_is_not_ours(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "labels").mkdir(parents=True)
    (tmp_path / "out" / "labels" / "b.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"b\.png is there already"):
        predict_files(
            Job(plan_for(engine), LocalPlace(tmp_path / "out"), model="m"), walk(pictures, tmp_path / "out"), quiet=True
        )
    assert (tmp_path / "out" / "labels" / "b.png").read_bytes() == b"mine"


DEGREES = ((33550, "d", 3, (0.1, 0.1, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 7.0, 50.0, 0.0), True))
WGS84 = (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326), True)


def test_a_georeferenced_picture_gives_a_geotiff_and_polygons(engine: TorchEngine, tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 10:, 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=(*DEGREES, WGS84))
    sources, _ = find_sources([str(tmp_path / "a.tif")])
    predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out"), polygons=tmp_path / "a.geojson"), sources, quiet=True
    )
    labels = tifffile.imread(tmp_path / "out" / "geotiff" / "a.tif")
    assert np.array_equal(labels, np.asarray(PILImage.open(tmp_path / "out" / "labels" / "a.png")))
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert {f["properties"]["class"] for f in features} == {"ground", "red"}
    xs = [x for f in features for x, _ in f["geometry"]["coordinates"][0]]
    assert (min(xs), max(xs)) == pytest.approx((7.0, 10.0))


@pytest.mark.parametrize("which", ["a.geojson", "out/geotiff/a.tif"])
def test_polygons_and_a_geotiff_that_somebody_changed_are_kept(
    engine: TorchEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    """Corrected in a geographic information system, they were replaced by the next model without a word."""
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb", extratags=(*DEGREES, WGS84)
    )
    sources, _ = find_sources([str(tmp_path / "a.tif")])

    def predict(model: str, **options: Any) -> bool:
        place = LocalPlace(tmp_path / "out")
        job = Job(plan_for(engine), place, polygons=tmp_path / "a.geojson", model=model, **options)
        results, _ = predict_files(job, sources, quiet=True)
        return results[0].already

    assert [predict("m"), predict("m"), predict("another")] == [False, True, False], "as they were written"
    path = tmp_path / which
    mine = path.read_bytes().replace(b"ground", b"meadow") if path.suffix == ".geojson" else path.read_bytes() + b"more"
    path.write_bytes(mine)
    capsys.readouterr()
    assert predict("a third")
    assert f"1 result changed since predicted, and kept: {path}; `redo` predicts" in capsys.readouterr().err
    assert path.read_bytes() == mine
    assert not predict("a third", redo=True)
    assert path.read_bytes() != mine


@pytest.mark.parametrize("spectral", [False, True], ids=["RGB", "bands"])
def test_where_a_picture_has_no_data_there_is_no_region(
    engine: TorchEngine, tmp_path: Path, write_stack: Any, spectral: bool
) -> None:
    """Small pictures gave regions there, which huge ones leave out; a scene of four bands and 16 bits ended `predict`."""
    pixels = np.zeros((20, 30, 4 if spectral else 3), np.uint16 if spectral else np.uint8)
    pixels[:, 10:, 0], pixels[..., 1], pixels[:5] = 255, 7, 99
    gaps = (42113, "s", 0, "99", True)
    more = {} if spectral else {"photometric": "rgb"}
    write_stack(tmp_path / "a.tif", pixels, extratags=(*DEGREES, WGS84, gaps), **more)
    if spectral:
        none, full = (0.0,) * 3, (255.0,) * 3
        names, taken = ("red", "green", "blue"), (0, 1, 2)
        bands = SpectralBands(names, True, none, full, none, full, none, full, taken, take=taken, stored=4)
        seen = replace(engine.spec.preprocessing, std=full, bands=bands)
        engine = TorchEngine(replace(engine.spec, preprocessing=seen), engine.network, engine.device)
    sources, _ = find_sources([str(tmp_path / "a.tif")])
    _, skipped = predict_files(
        Job(plan_for(engine), LocalPlace(tmp_path / "out"), polygons=tmp_path / "a.geojson"), sources, quiet=True
    )
    assert not skipped
    with tifffile.TiffFile(tmp_path / "out" / "geotiff" / "a.tif") as written:
        assert written.pages.first.tags[42113].value == "255"
        found = written.asarray()
    assert (found[:5] == 255).all()
    assert (found[5:, :10] == 0).all()
    assert (found[5:, 10:] == 10).all()
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    tops = [max(y for _, y in feature["geometry"]["coordinates"][0]) for feature in features]
    assert tops == [pytest.approx(49.5)] * 2, "the first five rows have no data"


def test_a_place_that_is_not_known_stops_no_other_picture(engine: TorchEngine, tmp_path: Path) -> None:
    """A TIFF without a coordinate system ended `predict --polygons` for all pictures after it."""
    pytest.importorskip("rasterio")
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb", extratags=DEGREES)
    PILImage.new("RGB", (5, 7), (255, 0, 0)).save(tmp_path / "in" / "b.png")
    job = Job(plan_for(engine), LocalPlace(tmp_path / "out"), polygons=tmp_path / "regions")
    results, skipped = predict_files(job, find_sources([str(tmp_path / "in")])[0], quiet=True)
    assert [Path(result.source).name for result in results] == ["b.png"]
    assert [entry.reason for entry in skipped] == [
        "it has a place but names no coordinate system; assign one (gdal_edit.py -a_srs)"
    ]


@pytest.mark.parametrize("where", ["run", "save", "read"])
def test_a_picture_that_memory_runs_out_on_stops_no_other(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """One picture of 48 megapixels ended `predict --probs npz` with exit code 5; the small ones after it were lost."""
    if where == "run":
        original = type(engine).logits

        def cramped(self: TorchEngine, given: np.ndarray) -> object:
            if (given == (0, 0, 255)).all():  # b.png is blue
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 999 bytes")
            return original(self, given)

        monkeypatch.setattr(type(engine), "logits", cramped)
    elif where == "save":
        plain = Prediction.save

        def saving(self: Prediction, *rest: object, **more: object) -> object:
            if self.name == "b":
                raise MemoryError
            return plain(self, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Prediction, "save", saving)
    else:
        whole = Source.read_at
        monkeypatch.setattr(
            Source, "read_at", lambda self, *given: whole(self, *given) if self.path.stem != "b" else broken()
        )
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(Job(plan_for(engine), LocalPlace(tmp_path / "out")), sources, quiet=True)
    assert [Path(r.source).name for r in results] == ["a.png", "c.png"]
    assert "memory" in next(entry.reason for entry in skipped if entry.path.endswith("b.png"))


def broken() -> None:
    raise MemoryError


def test_a_full_disk_is_not_taken_for_a_bad_picture(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict --crf --steps` on a full disk skipped every picture and ended as if the data were to blame (exit 3)."""

    def full(*arguments: object) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr("denselab.inference.crf_steps.write_steps", full)
    sources, _ = find_sources([str(pictures / "a.png")], tmp_path / "out")
    with pytest.raises(ResourceError, match="the disk is full"):
        predict_files(Job(plan_for(engine, crf=True), LocalPlace(tmp_path / "out"), steps=True), sources, quiet=True)


def test_results_that_vanish_are_said(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output folder was deleted while predict ran: 42 of 48 label maps were there, and it said 48 with exit code 0."""
    plain = Prediction.save

    def saving(self: Prediction, *rest: object, **more: object) -> object:
        if self.name == "c":
            shutil.rmtree(tmp_path / "out")
        return plain(self, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Prediction, "save", saving)
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    with pytest.raises(ResourceError, match="the results of 2 of 3 pictures.*are no longer in"):
        predict_files(Job(plan_for(engine), LocalPlace(tmp_path / "out")), sources, quiet=True)
