"""Folders that commands choose themselves."""

import json
from pathlib import Path

import pytest

from denselab.cli.diagnose import default_folder as diagnosis_folder
from denselab.cli.ensemble_options import _folder
from denselab.cli.folders import named_by_data, numbered


def test_a_folder_that_exists_gets_a_number(tmp_path: Path) -> None:
    for name in ("demo", "demo-2", "demo-3"):
        assert numbered(tmp_path / "demo") == tmp_path / name
        (tmp_path / name).mkdir()


@pytest.mark.parametrize("data", ["elsewhere/streets", "elsewhere/streets/data.yaml", "elsewhere/streets/../streets"])
def test_a_folder_is_named_by_its_data(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_by_data("compare", data) == Path("compare/streets")


def test_a_folder_is_never_inside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_by_data("compare", ".") == tmp_path.parent / "compare" / tmp_path.name
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert named_by_data("compare", "..") == tmp_path.parent / "compare" / tmp_path.name


def test_a_diagnosis_of_other_data_does_not_replace_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever data, it was RUN/diagnosis-val: that of the run's own validation pictures was gone."""
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    run, copied = str(tmp_path / "run"), str(tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the same again is replaced
        folder = diagnosis_folder([run], "val", "/own")
        assert folder == tmp_path / "run" / "diagnosis-val"
        folder.mkdir(exist_ok=True)
        (folder / "diagnosis.json").write_text(json.dumps({"data": "/own", "models": ["run"]}))
    assert diagnosis_folder([run], "val", "/other") == tmp_path / "run" / "diagnosis-val-2"
    assert diagnosis_folder([copied, run], "test", "/own") == Path("denselab-diagnosis/copied-and-1-more-test")


def test_an_ensemble_on_other_data_of_the_same_name_does_not_replace_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = _folder(["a", "b"], "roof/test", "val", "mean", "/roof/test")
    assert folder == Path("denselab-eval/ensemble-mean-a+b-test-val")
    folder.mkdir(parents=True)
    told = {"data": "/roof/test", "ensemble": {"models": [{"model": "a"}, {"model": "b"}]}}
    (folder / "evaluation.json").write_text(json.dumps(told))
    assert _folder(["./a", "b"], "roof/test", "val", "mean", "/roof/test") == folder
    for models, source in ((["a", "b"], "/yard/test"), (["a", "elsewhere/b"], "/roof/test")):
        assert _folder(models, "x/test", "val", "mean", source).name == f"{folder.name}-2"
