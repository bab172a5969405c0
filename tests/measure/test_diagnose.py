"""A diagnosis on flat pictures: what is doubtful, what the page holds, and a temperature that changes no label."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denselab.data import Dataset, Item
from denselab.data.item import FileLabels
from denselab.engine.folder import load_engine, save_engine, store_temperature
from denselab.engine.spec import Architecture, ModelSpec
from denselab.engine.stored_spec import read_spec
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError
from denselab.inference.predictor import Predictor
from denselab.inference.run import run, tempered
from denselab.labels import LabelSpace
from denselab.measure.calibrate import calibrate
from denselab.measure.diagnose import diagnose, sampled_pixels
from denselab.measure.evaluate import evaluate
from denselab.report.diagnosis_page import document, write_diagnosis


@pytest.fixture
def scenes(space: LabelSpace, tmp_path: Path) -> Dataset:
    """Six pictures, half red and half green; in p3 a blue square is labelled red."""
    folder, items = tmp_path / "data", []
    folder.mkdir()
    for index in range(6):
        picture = np.zeros((48, 48, 3), np.uint8)
        picture[:, :24], picture[:, 24:] = (255, 0, 0), (0, 255, 0)
        labels = np.full((48, 48), 10, np.uint8)
        labels[:, 24:] = 20
        if index == 3:
            picture[10:30, 4:18] = (0, 0, 255)
        Image.fromarray(picture).save(folder / f"p{index}.png")
        Image.fromarray(labels).save(folder / f"l{index}.png")
        items.append(Item(f"p{index}", folder / f"p{index}.png", FileLabels(folder / f"l{index}.png"), "val"))
    return Dataset(folder, "test", "index", space, tuple(items))


def test_the_wrong_label_comes_first(engine: TorchEngine, scenes: Dataset, tmp_path: Path) -> None:
    found = diagnose(Predictor(engine), scenes, quiet=True)
    first = found.suspects[0]
    older = tmp_path / "out" / "label-errors" / "page-07.jpg"  # of a diagnosis that found more
    older.parent.mkdir(parents=True)
    older.touch()
    assert (first.picture, first.label, first.prediction) == ("p3", 1, 3)
    page = write_diagnosis(found, tmp_path / "out").read_text()
    assert "label: red" in page
    assert "model: blue" in page
    assert [path.name for path in older.parent.iterdir()] == ["page-01.jpg"]
    told = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert told == document(found)
    assert next(iter(told["lost_by_picture"])) == "p3"
    lines = (tmp_path / "out" / "label_errors.csv").read_text().splitlines()
    assert lines[1].startswith("1,p3,")
    assert len(lines) == 1 + len(found.suspects)


def test_a_name_cannot_become_a_formula_or_a_line_of_the_table(
    engine: TorchEngine, scenes: Dataset, tmp_path: Path
) -> None:
    items = tuple(replace(item, name=f'=HYPERLINK("x")\n{item.name}') for item in scenes.items)
    write_diagnosis(diagnose(Predictor(engine), replace(scenes, items=items), quiet=True), tmp_path)
    with (tmp_path / "label_errors.csv").open(newline="") as file:
        pictures = {row["picture"] for row in csv.DictReader(file)}
    assert pictures
    for picture in pictures:
        assert picture.startswith("'=HYPERLINK")
        assert "\n" not in picture


def test_the_counts_are_those_of_evaluate(engine: TorchEngine, scenes: Dataset) -> None:
    found, plain = diagnose(Predictor(engine), scenes, quiet=True), evaluate(Predictor(engine), scenes, quiet=True)
    assert (found.evaluation.counts == plain.evaluation.counts).all()
    for truth, row in enumerate(plain.evaluation.counts):
        assert [found.pairs.of(truth, prediction).sum() for prediction in range(len(row))] == row.tolist()


def test_two_models_about_one_picture_are_refused(engine: TorchEngine, scenes: Dataset) -> None:
    with pytest.raises(DataError, match="picture p0 was held out by"):
        diagnose([Predictor(engine), Predictor(engine)], scenes, quiet=True)
    with pytest.raises(ConfigError, match="`models`: none was given"):
        diagnose([], scenes)


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_a_temperature_changes_probabilities_and_no_label(engine: TorchEngine, temperature: float) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    warm = TorchEngine(replace(engine.spec, temperature=temperature), engine.network, engine.device)
    for options in ({}, {"tta": True}, {"window": (16, 16)}):
        plain, changed = Predictor(engine)(picture, **options), Predictor(warm)(picture, **options)
        assert (plain.labels == changed.labels).all()
        assert np.allclose(changed.probs.sum(axis=0), 1, atol=1e-5)
        expected = plain.probs.astype(np.float64) ** (1 / temperature)
        assert np.allclose(changed.probs, expected / expected.sum(axis=0), atol=1e-5)


def test_the_crf_does_not_see_the_temperature(engine: TorchEngine) -> None:
    """It gets the network's own probabilities, and its marginals stay as they are."""
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    warm = TorchEngine(replace(engine.spec, temperature=3.0), engine.network, engine.device)
    seen: list[np.ndarray] = []

    def step(image: np.ndarray, probs: np.ndarray) -> np.ndarray:
        seen.append(probs.copy())
        return probs

    found = run(Predictor(warm).plan(), picture, keep_probs=True, crf_step=step)
    plain = run(Predictor(engine).plan(), picture, keep_probs=True)
    assert (seen[0] == plain.probs).all()
    assert (found.probs == plain.probs).all()


def test_tempering_of_certain_pixels_stays_finite() -> None:
    probs = np.array([[[1.0, 1e-38]], [[0.0, 1.0]]], np.float32)
    assert np.isfinite(tempered(probs.copy(), 0.05)).all()
    assert np.isfinite(tempered(probs.copy(), 20.0)).all()


def test_the_temperature_lives_in_the_model_folder(engine: TorchEngine, tmp_path: Path) -> None:
    spec = replace(engine.spec, architecture=Architecture("pixelwise", 4))
    save_engine(TorchEngine(spec, spec.architecture.create().eval(), engine.device), tmp_path / "model")
    assert read_spec(tmp_path / "model").temperature == 1.0
    store_temperature(tmp_path / "model", 1.5)
    assert load_engine(tmp_path / "model", "cpu").spec.temperature == 1.5
    save_engine(load_engine(tmp_path / "model", "cpu"), tmp_path / "copy")
    assert read_spec(tmp_path / "copy").temperature == 1.5


def test_the_page_says_what_is_stored(engine: TorchEngine, scenes: Dataset, tmp_path: Path) -> None:
    """Right after it was stored, the page told how to store it, and called what is without it `as it comes`."""
    found = diagnose(Predictor(engine), scenes, quiet=True)
    assert found.calibration is not None
    helps = replace(found, calibration=replace(found.calibration, loss_before=2.0, loss_after=1.0, temperature=1.5))
    told = write_diagnosis(helps, tmp_path).read_text()
    assert "--calibrate` stores it in the model" in told
    told = write_diagnosis(replace(helps, stored=1.25), tmp_path).read_text()
    assert "The model has 1.25 stored. `denselab diagnose MODEL DATA --calibrate` stores the new one" in told
    told = write_diagnosis(replace(helps, stored=1.5), tmp_path).read_text()
    assert "It is stored in the model" in told
    assert "--calibrate" not in told
    warm = TorchEngine(replace(engine.spec, temperature=3.0), engine.network, engine.device)
    again = diagnose(Predictor(warm), scenes, quiet=True)
    assert (again.stored, found.stored) == (3.0, 1.0)
    assert again.calibration is not None
    assert again.calibration.temperature == found.calibration.temperature, "the fit is of the network without it"


def test_a_temperature_is_above_0(engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        ModelSpec(engine.spec.architecture, engine.spec.label_space, engine.spec.preprocessing, temperature=0.0)


def test_calibration_judges_each_half_with_the_other() -> None:
    """Overconfident by a factor of 3: the temperature is about 3, and it helps on the other half."""
    rng = np.random.default_rng(1)
    pixels, items = {}, []
    for number in range(6):
        logits = rng.normal(0, 1.5, (800, 3))
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (rng.random((800, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        items.append(Item(f"p{number}", Path("x"), FileLabels(Path("y")), "val"))
        pixels[f"p{number}"] = (3 * logits).astype(np.float32), labels
    found = calibrate(pixels, items)
    assert found is not None
    assert found.helps
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.after.error < found.before.error / 3
    assert found.before.pixels.sum() == found.after.pixels.sum() == 4800
    assert calibrate(pixels, items[:1]) is None


def test_calibration_judges_a_sequence_by_others() -> None:
    """Every second picture was a half: of two films each was fitted and judged, frame beside frame, and always helped.

    The network is too sure on one film and not sure enough on the other, so what is fitted on one is wrong on the other.
    """
    rng = np.random.default_rng(1)
    pixels, items = {}, []
    for number in range(8):
        film = number // 4
        logits = rng.normal(0, 1.5, (800, 3))
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = (rng.random((800, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        items.append(Item(f"p{number}", Path("x"), FileLabels(Path("y")), "val", f"film {film}"))
        pixels[f"p{number}"] = ((4.0, 0.5)[film] * logits).astype(np.float32), labels
    found = calibrate(pixels, items)
    assert found is not None
    assert not found.helps
    alone = calibrate(pixels, items[:4])
    assert alone is not None
    assert alone.helps, "one film is cut in two"


def test_sampled_pixels_are_labelled_ones() -> None:
    truth = np.array([[0, 255], [1, 1]], np.uint8)
    probs = np.full((2, 2, 2), 0.5, np.float32)
    logs, labels = sampled_pixels(probs, truth, 255, 10)
    assert labels.tolist() == [0, 1, 1]
    assert np.allclose(logs, np.log(0.5))
    assert len(sampled_pixels(probs, truth, 255, 2)[1]) == 2
