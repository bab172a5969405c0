"""Pictures of 4 and 12 bands from training to prediction, and what a model says of pictures of other bands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from denselab.cli.main import app
from denselab.config import make_settings
from denselab.data import Dataset, open_dataset
from denselab.engine.folder import load_engine
from denselab.engine.stored_spec import spec_of
from denselab.errors import CheckpointError, ConfigError, DataError, ShapeError
from denselab.export.deploy import export
from denselab.inference import Predictor, distributed
from denselab.inference.inputs import by_picture, find_sources
from denselab.inference.instance_wise import cut
from denselab.inference.instances import InstanceWise
from denselab.inference.predictor import load
from denselab.measure.diagnose import diagnose
from denselab.measure.evaluate import evaluate
from denselab.report.diagnosis_page import write_diagnosis
from denselab.training.run import run_training

SIZE = (32, 48)
SHORT = {"model": "unet_small", "imgsz": SIZE, "batch": 2, "device": "cpu", "workers": 0, "epochs": 1, "validations": 1}


def write_scenes(
    root: Path, write_stack: Any, half_and_half: Any, band_numbers: Any, dtype: Any, endings: Any
) -> Dataset:
    """Six pictures of two halves, which differ in every band; a TIFF of 4 bands, or one file per ending."""
    for seed in range(6):
        pixels = band_numbers(len(endings) or 4, dtype, seed, SIZE)
        pixels[:, SIZE[1] // 2 :] //= 2
        if endings:
            for band, ending in enumerate(endings):
                write_stack(root / "images" / f"{seed}{ending}.tif", pixels[..., band])
        else:
            write_stack(root / "images" / f"{seed}.tif", pixels)
        half_and_half(root / "labels" / f"{seed}.png", SIZE)
    (root / "data.yaml").write_text("labels: [left, right]\nsplits: {val: ['4', '5'], train: all}\n")
    return open_dataset(root)


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: Any, write_stack: Any, half_and_half: Any, band_numbers: Any
) -> dict[str, tuple[Dataset, Path]]:
    """4 bands of 8 bits in one file, and 12 of 16 bits in a file each: data set and trained run."""
    found = {}
    for name, dtype, endings in (("four", np.uint8, ()), ("twelve", np.uint16, [f"_B{n:02d}" for n in range(1, 13)])):
        root = tmp_path_factory.mktemp(name)
        data = write_scenes(root / "data", write_stack, half_and_half, band_numbers, dtype, endings)
        run_training(make_settings({"data": str(root / "data"), **SHORT}, "test"), data, root / "run")
        found[name] = (data, root / "run")
    return found


@pytest.mark.parametrize(("name", "count", "real"), [("four", 4, False), ("twelve", 12, True)])
def test_the_model_knows_its_bands(runs: Any, name: str, count: int, real: bool) -> None:
    data, run = runs[name]
    spec = load_engine(run, "cpu").spec
    seen = spec.preprocessing
    assert spec.architecture.in_channels == count
    assert seen.bands == data.bands
    assert (seen.bands.count, seen.bands.real) == (count, real)
    assert (seen.mean, seen.std) == (data.bands.mean, data.bands.std)
    assert f"have {count} bands (" in (run / "model" / "README.md").read_text()
    assert json.loads((run / "model" / "config.json").read_text())["format"] == 3


@pytest.mark.parametrize("name", ["four", "twelve"])
def test_files_arrays_and_tensors_give_the_same_prediction(runs: Any, name: str) -> None:
    data, run = runs[name]
    predictor = Predictor(load_engine(run, "cpu"))
    item = data.of_split("val")[0]
    array = data.read(item).image
    from_file = predictor(item.image)
    assert from_file.labels.shape == SIZE
    assert from_file.image.shape == (*SIZE, 3)
    assert from_file.image.dtype == np.uint8
    for form in (array, torch.from_numpy(array).permute(2, 0, 1)):
        assert np.array_equal(predictor(form).probs, from_file.probs)
    assert len(list(predictor(item.image.parent))) == 6
    windowed = predictor(array, window=(16, 16))
    assert windowed.labels.shape == SIZE
    with pytest.raises(ShapeError, match=r"\(6, 8, 3\); the model takes \(H, W, C\) of"):
        predictor(np.zeros((6, 8, 3), np.uint8))


def test_overlays_show_the_chosen_bands(runs: Any) -> None:
    data, run = runs["four"]
    predictor = Predictor(load_engine(run, "cpu"))
    array = data.read(data.items[0]).image
    assert np.array_equal(predictor(array, display_bands=(4, 2, 1)).image, array[..., [3, 1, 0]])
    assert np.array_equal(predictor(array, display_bands=["band3"]).image, array[..., [2, 2, 2]])
    with pytest.raises(ConfigError, match="there is no band 'x'"):
        predictor(array, display_bands=["x"])


def test_one_source_per_picture(runs: Any, tmp_path: Path) -> None:
    data, _ = runs["twelve"]
    images = data.items[0].image.parent
    sources, _ = find_sources([str(images)])
    assert len(sources) == 72
    whole, skipped = by_picture(sources, data.bands)
    assert [str(source.stem) for source in whole] == [str(n) for n in range(6)]
    assert skipped == []
    (tmp_path / "9_B03.tif").write_bytes((images / "0_B03.tif").read_bytes())
    Image.new("L", (4, 4)).save(tmp_path / "photo.png")
    whole, skipped = by_picture(find_sources([str(tmp_path)])[0], data.bands)
    assert whole == []
    assert sorted(entry.reason.partition(" (")[0] for entry in skipped) == [
        "has no file of band B01",
        "is the file of no band; the model takes *_B01, *_B02, *_B03, *_B04",
    ]


class Rows:
    """What `predict_dataset` asks of a ray.data.Dataset, and Ray's map in this process."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.rows = rows

    def columns(self) -> list[str]:
        return list(self.rows[0])

    def filter(self, keeps: Any) -> "Rows":
        return Rows([row for row in self.rows if keeps(row)])


def test_other_machines_take_a_file_for_each_band_for_one_picture(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict --ray` and `predict_dataset` took each of the twelve files of a picture for a picture of its own."""
    data, run = runs["twelve"]
    images = data.items[0].image.parent

    def here(rows: Rows, how: distributed.Remote, options: Any, *_: Any) -> list[dict[str, Any]]:
        columns = {name: [row[name] for row in rows.rows] for name in rows.rows[0]}
        found = distributed.Predict(how, dict(options))(columns)
        return [{name: found[name][i] for name in found} for i in range(len(rows.rows))]

    monkeypatch.setattr(distributed, "_mapped", here)
    (tmp_path / "9_B03.tif").write_bytes((images / "0_B03.tif").read_bytes())
    paths = [*sorted(images.iterdir()), tmp_path / "9_B03.tif"]
    found = distributed.predict_dataset(Rows([{"path": str(path)} for path in paths]), run, tmp_path / "out")
    assert [row["stem"] for row in found if not row["error"]] == [str(number) for number in range(6)]
    assert [row["error"] for row in found if row["error"]] == ["no file of band B01, which are named *_B01"]
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 6
    alone = Predictor(load_engine(run, "cpu"))(images / "3_B01.tif").labels
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "labels" / "3.png")), alone)

    def cluster(address: str, sources: Any, *_: Any) -> Any:
        given.extend(sources)
        return iter(())

    given: list[Any] = []
    monkeypatch.setattr(distributed, "predict_on_ray", cluster)
    options = ["--ray", "local", "--out", str(tmp_path / "ray"), "--json"]
    CliRunner().invoke(app, ["predict", str(run), str(images), *options])
    assert [source.path.name for source in given] == [f"{number}_B01.tif" for number in range(6)]


def test_a_model_and_pictures_of_other_bands(runs: Any, tmp_path: Path, tiny_data: Dataset) -> None:
    """One line, and the exit code of data that do not pass."""
    (four, four_run), (twelve, _) = runs["four"], runs["twelve"]
    with pytest.raises(
        DataError, match=r"1 band, but expected: 4 bands \(band1, band2, band3, band4\); give pictures of"
    ):
        evaluate(four_run, twelve, device="cpu", quiet=True)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo)
    done = CliRunner().invoke(app, ["predict", str(four_run), str(photo), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, DataError)
    assert "4 bands (band1" in str(done.exception)
    rgb = tmp_path / "stack.tif"
    rgb.write_bytes(four.items[0].image.read_bytes())
    with pytest.raises(DataError, match=r"4 bands, but expected: 3 \(RGB\) or 1 \(grey\)"):
        load_rgb().read(rgb)


def load_rgb() -> Any:
    from denselab.engine.spec import Preprocessing

    return Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_evaluation_and_its_pictures(runs: Any, tmp_path: Path) -> None:
    data, run = runs["twelve"]
    measured = evaluate(run, data, device="cpu", quiet=True, out=tmp_path, display_bands=("B12",))
    assert len(measured.items) == 2
    assert measured.baselines.entries
    assert len(list((tmp_path / "worst").glob("worst-*.png"))) == 1, "the worse half"


@pytest.mark.parametrize("name", ["four", "twelve"])
def test_a_diagnosis_shows_its_pictures(runs: Any, name: str, tmp_path: Path) -> None:
    """The pictures with the most lost IoU were put onto the page with all their bands, which no picture file takes."""
    data, run = runs[name]
    found = diagnose(run, data, device="cpu", quiet=True)
    page = write_diagnosis(found, tmp_path).read_text()
    assert "points of mIoU" in page


@pytest.mark.parametrize("name", ["four", "twelve"])
def test_an_exported_model_takes_its_bands(runs: Any, name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data, run = runs[name]
    export(run, tmp_path / "onnx", check=str(data.root))
    array = data.read(data.items[0]).image
    ours, theirs = load(str(run), "cpu"), load(str(tmp_path / "onnx"), "cpu")
    np.testing.assert_allclose(theirs(array).probs, ours(array).probs, atol=1e-4)
    assert theirs.spec.preprocessing == ours.spec.preprocessing
    with pytest.raises(ConfigError, match="`labels` is a graph for RGB pictures"):
        export(run, tmp_path / "labels", labels=True, check=str(data.root))


def test_boxes_and_ensembles_of_bands(runs: Any) -> None:
    (data, run), (_, other) = runs["twelve"], runs["four"]
    array = data.read(data.items[0]).image
    ours, theirs = load(str(run), "cpu"), load(str(other), "cpu")
    alone = ours(array)
    boxed = ours(array, instances=InstanceWise(boxes=4))
    assert boxed.probs.shape == alone.probs.shape
    both = Predictor.ensemble([ours, ours], cache=False)(array)
    np.testing.assert_allclose(both.probs, alone.probs, atol=1e-5)
    with pytest.raises(ConfigError, match=r"model 2 of the ensemble takes pictures of 4 bands .*, the first model 12"):
        Predictor.ensemble([ours, theirs], cache=False)(array)


def test_cut_outside_is_the_mean_of_the_bands() -> None:
    picture = np.ones((2, 2, 2), np.float32)
    part = cut(picture, (-1, 0, 1, 2), (5.0, 7.0))
    assert part[0].tolist() == [[5.0, 7.0]] * 2
    assert part[1].tolist() == [[1.0, 1.0]] * 2


def test_a_record_of_bands_that_cannot_be(runs: Any, tmp_path: Path) -> None:
    _, run = runs["four"]
    config = json.loads((run / "model" / "config.json").read_text())
    bands = config["preprocessing"]["bands"]
    for wrong in ({"display": [0, 1, 4]}, {"names": ["a"]}, {"files": ["../*"] * 4}, {"low": [0.0]}, {"rgb": [1, 2]}):
        broken = {**config, "preprocessing": {**config["preprocessing"], "bands": {**bands, **wrong}}}
        with pytest.raises(CheckpointError, match="is not the config of a model folder: preprocessing"):
            spec_of(broken, "config.json")


def test_colour_jitter_needs_colours(runs: Any, tmp_path: Path) -> None:
    data, run = runs["four"]
    config = (run / "config.yaml").read_text()
    assert "photometric: 0.0" in config
    wild = make_settings({"data": str(data.root), **SHORT, "photometric": 1.0}, "test")
    with pytest.raises(ConfigError, match="`photometric` 1, but 4 bands .* hold no red, green and blue"):
        run_training(wild, data, tmp_path / "run")
    crf = make_settings({"data": str(data.root), **SHORT, "crf_layer": True}, "test")
    with pytest.raises(ConfigError, match="`crf_layer` compares RGB colours"):
        run_training(crf, data, tmp_path / "run")


def test_a_resumed_run_keeps_the_statistics_it_began_with(runs: Any) -> None:
    from dataclasses import replace

    from denselab.training.job import as_begun

    data, run = runs["twelve"]
    moved = replace(data, bands=replace(data.bands, mean=(0.0,) * 12))
    assert as_begun(moved, run).bands == data.bands
    assert as_begun(moved, run / "nowhere").bands == moved.bands
