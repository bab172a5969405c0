"""What is said of a path that is not there."""

from pathlib import Path

import pytest

import denselab as dl
from denselab.configs import find_config
from denselab.errors import ConfigError, DenseLabError, NoSuchPath
from denselab.export.deploy import export
from denselab.inspection.subject import find_subject
from denselab.measure.pseudo_labels import pseudo_label
from denselab.paths import given_path, no_such_path, require_path
from denselab.run_folder import has_state, is_run
from denselab.training.resume import clear_for_run


def test_a_path_that_is_there_comes_back(tmp_path: Path) -> None:
    assert require_path(tmp_path, "a folder") == tmp_path
    with pytest.raises(NoSuchPath, match="gone does not exist; expected a folder$"):
        require_path(tmp_path / "gone", "a folder")
    assert issubclass(NoSuchPath, ConfigError)


def test_names_alike_are_those_of_the_deepest_folder_that_exists(tmp_path: Path) -> None:
    for name in ("Streets", "streets-2", "membrane", ".street"):
        (tmp_path / name).mkdir()
    beside = str(no_such_path(tmp_path / "street", "a run folder"))
    assert beside.endswith(f"near it: {tmp_path / 'Streets'}, {tmp_path / 'streets-2'}")
    above = str(no_such_path(tmp_path / "streats" / "model" / "config.json", "a file"))
    assert f"near it: {tmp_path / 'Streets'}" in above
    assert "; " + f"{tmp_path} holds no runs" in str(no_such_path(tmp_path / "runs" / "a", "a run folder"))


def test_what_no_file_can_be_called_is_said(tmp_path: Path) -> None:
    """A picture in base64, given as a path, ended in "a fault of ours: File name too long"."""
    for name, reason in (("a" * 5000, "File name too long"), ("a\0b", "null byte")):
        with pytest.raises(NoSuchPath, match=f"cannot be looked at .*{reason}.*expected a picture") as told:
            require_path(tmp_path / name, "a picture")
        assert len(str(told.value)) < 500


def test_a_relative_path_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").touch()
    monkeypatch.chdir(tmp_path)
    assert str(no_such_path(Path("foto.png"), "a picture")) == (
        "foto.png does not exist; expected a picture; near it: photo.png"
    )
    assert str(no_such_path(Path("runs/street"), "a run folder")).endswith("a run folder; this folder holds no runs")


LONG = "a" * 300
ASKED = {
    "train": lambda folder: dl.train("synthetic:4", out=folder / LONG, epochs=1, model="unet_small", imgsz=32),
    "compare": lambda folder: dl.compare("synthetic:4", out=folder / LONG, models="unet_small,segnet"),
    "pseudo_label": lambda folder: pseudo_label("a", "synthetic:4", ["b"], folder / LONG),
    "evaluate": lambda folder: dl.evaluate(folder / LONG, "synthetic:4"),
    "inspection": lambda folder: find_subject(LONG),
    "a recipe": lambda folder: find_config(LONG),
    "a run": lambda folder: is_run(folder / LONG) or has_state(folder / LONG) or clear_for_run(folder / LONG),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_name_that_is_too_long_is_refused_everywhere(name: str, tmp_path: Path) -> None:
    """`Path.exists` raises for it, so that `--out`, a model or a recipe of such a name ended in a fault of ours."""
    with pytest.raises(DenseLabError):
        ASKED[name](tmp_path)
    assert not any(tmp_path.iterdir())


NAMED = {
    "`data`": lambda path: dl.open_dataset(path),
    "`data` of a training": lambda path: dl.train(path, out="run"),
    "`data` of a comparison": lambda path: dl.compare(path, out="out"),
    "`out`": lambda path: dl.train("synthetic:4", out=path, epochs=1),
    "`out` of a comparison": lambda path: dl.compare("synthetic:4", out=path),
    "`out` of an export": lambda path: export("model", path),
    "`out` of pseudo-labels": lambda path: pseudo_label("model", "synthetic:4", ["b"], path),
    "the model's name": lambda path: dl.load(path),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("path", ["", None, 5, True], ids=repr)
def test_the_empty_word_is_not_the_current_folder(
    name: str, path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was not set was the current folder: its pictures were trained on, a run was written into it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"{name.split(' of ')[0]} is|data: Input should be a valid string"):
        NAMED[name](path)
    assert not any(tmp_path.iterdir())
    assert given_path(".", "`out`") == Path()
