"""`denselab eval` of several models: the table, the weights, the stored folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import denselab as dl
from denselab.cli.evaluate import evaluate
from denselab.data import open_dataset
from denselab.errors import ConfigError
from denselab.measure import evaluate as measuring
from denselab.measure.ensembles import evaluate_ensemble
from denselab.measure.evaluate import evaluate as evaluate_one
from denselab.proposals.kept import BOXES
from denselab.regions.kept import folder_in_use


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_each_model_stands_beside_the_ensemble(models: tuple[Path, Path], scenes: Path, cache: Path) -> None:
    result = evaluate_ensemble(models, scenes, "mean", device="cpu", quiet=True)
    for (name, one), folder in zip(result.alone.items(), models, strict=True):
        assert name == str(folder)
        assert one.miou == evaluate_one(folder, scenes, device="cpu", quiet=True).miou
    assert result.gain.difference == pytest.approx(
        result.measured.miou - max(one.miou for one in result.alone.values())
    )
    assert len(list((cache / "denselab" / "scores").glob("*.npy"))) == 8
    facts = result.facts()
    assert facts["best_model"] == result.best
    assert [row["model"] for row in facts["models"]] == [str(folder) for folder in models]


def test_fit_stores_what_predict_takes(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, save = tmp_path / "out", tmp_path / "both"
    places = [str(models[0]), str(models[1]), [str(scenes)]]
    evaluate(*places, ensemble="fit", save=save, out=out, device="cpu")
    printed = capsys.readouterr()
    assert "judged on these very pictures, which are all of one sequence or group" in printed.out.replace("\n", " ")
    assert f"denselab predict {save}" in printed.err
    stored = json.loads((out / "evaluation.json").read_bytes())["ensemble"]
    assert sum(stored["weights"]) == pytest.approx(1)
    joint = dl.load(save, "cpu").joint
    assert joint is not None
    assert list(joint.weights) == pytest.approx(stored["weights"])


def test_a_stored_ensemble_knows_what_its_models_were_trained_on(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came without: `eval ENSEMBLE DATA` measured the pictures of its models' training, too."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    for part in ("images", "labels"):  # one pool, which names no split
        shutil.copytree(scenes / part / "val", data / part)
    shutil.copy(scenes / "data.yaml", data)
    names = [item.name for item in open_dataset(data).items]
    runs = [
        _run_of(model, data, names, held_out) for model, held_out in zip(models, (names[:2], names[1:3]), strict=True)
    ]
    evaluate(str(runs[0]), str(runs[1]), [str(data)], save=tmp_path / "both", device="cpu")
    measured = evaluate_one(tmp_path / "both", data, device="cpu", quiet=True)
    assert list(measured.evaluation.names) == names[1:2], "the one that neither was trained on"


def _run_of(model: Path, data: Path, names: list[str], held_out: list[str]) -> Path:
    """The folder of a run that trained this model on all but the pictures held out."""
    run = Path(f"run-{model.name}").resolve()
    shutil.copytree(model, run / "model")
    (run / "config.yaml").write_text(f"data: {data}\n", encoding="utf-8")
    splits = {"train": [name for name in names if name not in held_out], "val": held_out}
    (run / "dataset.json").write_text(json.dumps({"path": str(data), "splits": splits}), encoding="utf-8")
    return run


def test_on_val_each_half_is_judged_with_the_weights_of_the_other(models: tuple[Path, Path], scenes: Path) -> None:
    dataset = open_dataset(scenes)
    single = replace(dataset, items=tuple(replace(item, group="") for item in dataset.items))
    result = evaluate_ensemble(models, single, "fit", device="cpu", quiet=True)
    assert "each half of these pictures was judged with the weights of the other half" in result.fitted
    assert len(result.measured.items) == 4
    assert sum(result.joint.weights) == pytest.approx(1)


def test_options_of_several_models_are_refused_for_one(models: tuple[Path, Path], scenes: Path) -> None:
    with pytest.raises(ConfigError, match="--ensemble with one model"):
        evaluate(str(models[0]), str(scenes), ensemble="mean")


def test_the_crf_behind_an_ensemble(models: tuple[Path, Path], scenes: Path) -> None:
    result = evaluate_ensemble(models, scenes, "product", crf=True, device="cpu", cache=False, quiet=True)
    assert result.measured.paired is not None
    assert result.measured.paired.after.miou == result.measured.miou


def test_a_stored_ensemble_can_be_measured_without_keeping_scores(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, cache: Path
) -> None:
    """`--no-cache` was refused for it, being one folder, although each of its models filled the user's cache."""
    both = str(dl.Predictor.ensemble(models, device="cpu", cache=False).save_pretrained(tmp_path / "both"))
    evaluate(both, str(scenes), no_cache=True, out=tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "evaluation.json").is_file()
    assert not cache.exists()
    evaluate(both, str(scenes), out=tmp_path / "out", device="cpu")
    assert len(list((cache / "denselab" / "scores").glob("*.npy"))) == 8


def test_regions_and_boxes_are_kept_beside_the_run_unless_told_not_to(
    models: tuple[Path, Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = tmp_path / "run", list[tuple[Path | None, Path | None]]()
    dl.load(models[0], "cpu").save_pretrained(run / "model")
    plain = measuring.measure

    def noting(*given: Any, **more: Any) -> Any:
        kept.append((folder_in_use(), BOXES.in_use))
        return plain(*given, **more)

    monkeypatch.setattr(measuring, "is_run", lambda home: home == run)
    monkeypatch.setattr(measuring, "measure", noting)
    for keep in (True, False):
        evaluate_one(run, scenes, device="cpu", quiet=True, cache=keep)
    assert kept == [(run / "regions", run / "proposals"), (None, None)]
