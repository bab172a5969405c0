"""`denselab crf tune`, and --crf in predict and eval, on a real model folder whose network's answer is known.

The network labels each pixel by its own brightness. On pictures with noise it errs at single pixels, which the CRF repairs;
on clean ones it is perfect, and nothing can help.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import denselab.refine.tuning as tuning_module
from denselab.cli.crf import tune
from denselab.cli.evaluate import evaluate
from denselab.cli.predict import predict
from denselab.crf import Parameters
from denselab.data import open_dataset
from denselab.engine.folder import load_engine, save_engine, store_crf
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, Interrupted
from denselab.evaluation.evaluation import Evaluation
from denselab.evaluation.paired import ENOUGH_PICTURES
from denselab.models.pixelwise import Pixelwise
from denselab.refine.search import Score, Trial

HEIGHT, WIDTH, PICTURES = 24, 32, 2 * ENOUGH_PICTURES
SMOOTH = Parameters(10.0, 60.0, 5.0, 2.0, 3.0, 3, "symmetric")
WEAK = Parameters(10.0, 60.0, 0.5, 1.0, 0.5, 2, "symmetric")  # helps on the noisy pictures, far less than SMOOTH


def write_data(folder: Path, noise: float, pictures: int = PICTURES) -> Path:
    """Validation pictures enough to judge on (and one to train), dark and light parts with a slanted border between them."""
    rng = np.random.default_rng(0)
    for number in range(pictures + 1):
        split = "train" if number == pictures else "val"
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        truth = (x + (y * (number % 6)) // 8 > WIDTH // 2).astype(np.uint8)
        grey = np.clip(np.where(truth, 150, 105) + rng.normal(0, noise, truth.shape), 0, 255).astype(np.uint8)
        for kind, pixels in (("images", np.repeat(grey[..., None], 3, axis=2)), ("labels", truth)):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            PILImage.fromarray(pixels).save(folder / kind / split / f"p{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("noisy"), 25)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six noisy pictures: three would choose, three judge."""
    return write_data(tmp_path_factory.mktemp("few"), 25, 6)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("clean"), 3)


def by_brightness() -> Pixelwise:
    """Logits -8 (g - 1/2) and 8 (g - 1/2) for the grey value g in 0..1: the convolutions only hand it on."""
    network = Architecture("pixelwise", 2).create()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.zero_()
                layer.weight[0, 0, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
        network.score.weight[:, 0] = torch.tensor([-8.0, 8.0])[:, None, None]
        network.score.bias.copy_(torch.tensor([4.0, -4.0]))
    return network.eval()


@pytest.fixture
def run(noisy: Path, tmp_path: Path) -> Path:
    """A run folder with that network."""
    space, folder = open_dataset(noisy).label_space, tmp_path / "run"
    preprocessing = Preprocessing((HEIGHT, WIDTH), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    engine = TorchEngine(
        ModelSpec(Architecture("pixelwise", 2), space, preprocessing), by_brightness(), torch.device("cpu")
    )
    save_engine(engine, folder / "model")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def told(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "crf-tune" / "crf_tuning.json").read_text())
    return document


@pytest.mark.parametrize("strategy", ["coarse-to-fine", "random"])
def test_tune_writes_parameters_that_help(
    run: Path, noisy: Path, strategy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("denselab.refine.search.RANDOM_CANDIDATES", 8)
    tune(str(run), str(noisy), strategy=strategy, device="cpu")
    document, stored = told(run), load_engine(run, "cpu").spec.crf
    assert document["helps"]
    assert document["stored"]
    assert document["stored_before"] is None
    assert stored == Parameters(**document["parameters"])
    judged = document["judged"]
    assert judged["miou_difference_low"] > 0.05
    assert judged["totals"]["miou"]["after"] > judged["totals"]["miou"]["before"]
    assert judged["totals"]["boundary_f1"]["after"] > judged["totals"]["boundary_f1"]["before"]
    assert {row["name"] for row in judged["classes"]} == set(load_engine(run, "cpu").spec.label_space.names)
    chosen, judges = set(document["chosen_on"]["pictures"]), set(document["judged_on"])
    assert len(chosen) == len(judges) == PICTURES / 2
    assert not chosen & judges, "pictures that chose the parameters must not judge them"
    assert document["parameters"] in [
        {key: value for key, value in row.items() if key != "miou"} for row in document["candidates"]
    ]
    assert "the CRF helps on pictures that did not choose it" in capsys.readouterr().out


def test_tune_changes_nothing_where_the_crf_cannot_help(
    run: Path, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run / "model")
    tune(str(run), str(clean), device="cpu", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document == told(run)
    assert document["chosen_on"]["miou_without"] == 1
    assert not document["helps"]
    assert not document["stored"]
    assert "does not help beyond doubt" in document["verdict"]
    assert contents(run / "model") == before


def trying(*candidates: Parameters) -> Any:
    """In place of crf_search.search: these candidates and no others."""

    def search(strategy: str, score: Score, side: float) -> Iterator[Trial]:
        for parameters in candidates:
            miou = score(parameters)
            assert miou is not None
            yield Trial(parameters, miou)

    return search


def test_an_interrupted_search_keeps_its_best(run: Path, noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(strategy: str, score: Score, side: float) -> Iterator[Trial]:
        yield from trying(WEAK, SMOOTH)(strategy, score, side)
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning_module, "search", interrupted)
    with pytest.raises(Interrupted) as caught:
        tune(str(run), str(noisy), device="cpu", as_json=True)
    assert caught.value.exit_code == 130
    assert told(run)["stopped"]
    assert load_engine(run, "cpu").spec.crf == SMOOTH


def test_a_tiny_budget_still_gives_an_honest_answer(run: Path, noisy: Path) -> None:
    """Sixteen pictures are there to judge on, but the time is over after the first two: it counts what was judged."""
    before = contents(run / "model")
    tune(str(run), str(noisy), time="0.001s", device="cpu", as_json=True)
    document = told(run)
    assert len(document["candidates"]) == 1
    assert len(document["chosen_on"]["pictures"]) == 2
    assert len(document["judged_on"]) == 2
    assert not document["helps"]
    assert not document["stored"]
    assert document["verdict"].startswith("judged on 2 pictures")
    assert f"at least {ENOUGH_PICTURES} are needed" in document["verdict"]
    assert document["verdict"].endswith("give more time")
    assert contents(run / "model") == before


def test_a_gain_on_three_pictures_is_not_stored(
    run: Path, few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The interval of two pictures is [min, max]: without any effect, "helps" came out in 23 % of cases and was stored."""
    before = contents(run / "model")
    monkeypatch.setattr(tuning_module, "search", trying(SMOOTH))
    tune(str(run), str(few), device="cpu")
    document, captured = told(run), capsys.readouterr()
    assert len(document["judged_on"]) == 3
    assert document["judged"]["miou_difference"] > 0.05, "the scores are still told"
    assert document["judged"]["miou_difference_low"] is None
    assert document["parameters"] == asdict(SMOOTH)
    assert not document["helps"]
    assert not document["judged"]["helps"], "one document says one thing"
    assert not document["stored"]
    assert contents(run / "model") == before
    assert document["verdict"].startswith("judged on 3 pictures")
    assert f"at least {ENOUGH_PICTURES} are needed" in document["verdict"]
    assert "take a split with more pictures, or use more pictures of it (32 or more" in document["verdict"]
    assert document["verdict"] in captured.out
    assert "F1" in captured.out, "the table of scores"
    assert f"3 pictures to judge on, {ENOUGH_PICTURES} are needed" in captured.err, (
        "said before the search, not only after it"
    )


@pytest.mark.parametrize(("before", "new"), [(SMOOTH, WEAK), (WEAK, SMOOTH), (SMOOTH, SMOOTH)])
def test_parameters_stored_before_give_way_only_to_better_ones(
    run: Path, noisy: Path, before: Parameters, new: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run of half a second tried one candidate and wrote it over the best of 42."""
    store_crf(run / "model", before)
    monkeypatch.setattr(tuning_module, "search", trying(new))
    tune(str(run), str(noisy), device="cpu", as_json=True)
    assert load_engine(run, "cpu").spec.crf == SMOOTH
    document, verdict = told(run), told(run)["verdict"]
    assert document["helps"], "both do, against no CRF"
    was, now = document["stored_before"]["judged_miou"], document["judged"]["totals"]["miou"]["after"]
    assert document["stored_before"]["parameters"] == asdict(before)
    assert document["stored"] == (now > was) == (new == SMOOTH != before)
    assert f"mIoU {now:.4f} with the new ones, {was:.4f} with those stored before" in verdict
    assert ("the parameters stored before are kept" in verdict) != document["stored"]
    assert ("in place of those stored before" in verdict) == document["stored"]


def test_too_few_pictures_keep_what_was_stored(run: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_crf(run / "model", WEAK)
    monkeypatch.setattr(tuning_module, "search", trying(SMOOTH))
    tune(str(run), str(few), device="cpu", as_json=True)
    document = told(run)
    assert document["stored_before"]["judged_miou"] < document["judged"]["totals"]["miou"]["after"]
    assert "the parameters stored before are kept (mIoU" in document["verdict"]
    assert load_engine(run, "cpu").spec.crf == WEAK


def test_tune_refuses(run: Path, noisy: Path) -> None:
    with pytest.raises(ConfigError, match="`time` 'soon'"):
        tune(str(run), str(noisy), time="soon")
    with pytest.raises(DataError, match="3 pictures; tuning needs 4"):
        tune(str(run), str(noisy), pictures=3, device="cpu")
    with pytest.raises(DataError, match="no picture in test"):
        tune(str(run), str(noisy), split="test", device="cpu")


def test_eval_with_the_crf_shows_both(run: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(str(run), str(few), out=tmp_path / "plain", device="cpu", as_json=True)
    plain = json.loads(capsys.readouterr().out)
    store_crf(run / "model", SMOOTH)
    evaluate(str(run), str(few), crf=True, device="cpu", as_json=True)
    refined = json.loads(capsys.readouterr().out)
    assert Parameters(**refined["crf"]["parameters"]) == SMOOTH
    assert refined["crf"]["totals"]["miou"] == {"before": plain["miou"], "after": refined["miou"]}
    assert refined["miou"] > plain["miou"] + 0.05
    assert not refined["crf"]["helps"], "three pictures prove nothing"
    assert (run / "eval-val-crf" / "evaluation.json").is_file()
    assert Evaluation.from_dict(refined["exact"]).miou == pytest.approx(refined["miou"], abs=1e-4)
    evaluate(str(run), str(few), crf=True, crf_preset="pydensecrf", out=tmp_path / "again", device="cpu")
    captured = capsys.readouterr()
    assert "dense CRF, preset pydensecrf: theta_alpha 80, theta_beta 13, w1 10" in captured.err
    assert "the CRF: mIoU +" in captured.out
    evaluate(str(run), str(few), crf=True, crf_fast=True, device="cpu", as_json=True)
    assert json.loads(capsys.readouterr().out)["crf"]["fast"] is True
    assert refined["crf"]["fast"] is False
    assert (run / "eval-val-crf-fast" / "evaluation.json").is_file()


def test_predict_with_the_crf(run: Path, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = noisy / "images" / "val" / "p00.png"
    truth = np.asarray(PILImage.open(noisy / "labels" / "val" / "p00.png"))
    predict(str(run), [str(picture)], tmp_path / "default", crf=True, device="cpu")
    assert "none were tuned for this model" in capsys.readouterr().err
    store_crf(run / "model", SMOOTH)
    predict(str(run), [str(picture)], tmp_path / "out", probs="npz", crf=True, steps=True, device="cpu")
    assert "parameters tuned for this model" in capsys.readouterr().err
    labels = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "p00.png"))
    assert (labels == truth).mean() > 0.95, "0.81 without"
    with np.load(tmp_path / "out" / "probs" / "p00.npz") as file:
        assert np.array_equal(file["probs"].argmax(0), labels), "saved are the marginals"
    assert len(list((tmp_path / "out" / "steps" / "p00").iterdir())) == SMOOTH.iterations + 2
    for options in ({"crf_preset": "deeplab_v1"}, {"crf_fast": True}, {"steps": True}):
        with pytest.raises(ConfigError, match="without --crf; give both"):
            predict(str(run), [str(picture)], tmp_path / "no", device="cpu", **options)
    with pytest.raises(ConfigError, match="--crf-fast with --steps"):
        predict(str(run), [str(picture)], tmp_path / "no", crf=True, crf_fast=True, steps=True, device="cpu")
    with pytest.raises(ConfigError, match="no CRF preset is called 'deeplab'"):
        predict(str(run), [str(picture)], tmp_path / "no", crf=True, crf_preset="deeplab", device="cpu")
