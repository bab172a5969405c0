"""`denselab check`: what it prints, what it writes and where, and how it ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from denselab.cli.check import check, default_folder
from denselab.data.draw.synthetic import write_synthetic
from denselab.errors import ConfigError, DataError, NoSuchPath, ResourceError

app = typer.Typer()
app.command()(check)


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight written scenes, with another folder as the current one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return write_synthetic(tmp_path / "scenes", train=6, val=2, size=(32, 48))


def files_of(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_sound_data(scenes: Path, capsys: pytest.CaptureFixture[str]):
    before = files_of(scenes)
    result = CliRunner().invoke(app, [str(scenes)])
    assert result.exit_code == 0, result.output
    assert Path("denselab-check/scenes/contact-sheet.jpg").is_file()
    assert files_of(scenes) == before
    check(str(scenes), Path("out"))
    printed = capsys.readouterr()
    for text in ("8: 6 train, 2 val", "32x48 (8)", "building", "train %", "contact sheet: out"):
        assert text in printed.out
    assert "fit for training" in printed.err


def test_the_note_tells_the_bands_that_were_asked_for(
    tmp_path: Path, band_numbers: Any, write_stack: Any, half_and_half: Any
):
    """Beside a contact sheet in near infrared it said that red, green and blue are shown."""
    for seed in range(5):
        write_stack(tmp_path / "data" / "images" / f"{seed}.tif", band_numbers(4, seed=seed))
        half_and_half(tmp_path / "data" / "labels" / f"{seed}.png")
    (tmp_path / "data" / "data.yaml").write_text("bands: [blue, green, red, nir]\nlabels: [left, right]\n")
    options = [str(tmp_path / "data"), "--json", "--out", str(tmp_path / "out")]
    for more, told in (([], "red, green, blue"), (["--display-bands", "nir,red,green"], "nir, red, green")):
        notes = " ".join(json.loads(CliRunner().invoke(app, [*options, *more]).stdout)["notes"])
        assert f"shown are {told}; " in notes
        assert f"`display_bands: [{told}]`" in notes


def test_json_is_one_document(scenes: Path):
    result = CliRunner().invoke(app, [str(scenes), "--json", "--workers", "1", "--out", "out"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["would_train"] is True
    assert document["pictures"] == {"train": 6, "val": 2}
    assert document["contact_sheet"] == "out/contact-sheet.jpg"
    assert sum(document["class_pixels"]["train"].values()) + document["ignored_pixels"]["train"] == 6 * 32 * 48


def test_faults_are_grouped_with_their_fix_and_the_exit_code_is_3(scenes: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(6):
        Image.fromarray(np.ones((10, 10), np.uint8)).save(scenes / "labels" / "train" / f"{number:05d}.png")
    with pytest.raises(DataError, match="would not train") as caught:
        check(str(scenes), Path("out"))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert "images/train/00000.png" in str(caught.value)
    printed = capsys.readouterr().out
    assert "error: size mismatch (6)" in printed
    assert printed.count("but label 10x10") == 5
    assert "and 1 more" in printed
    assert printed.count("fix: export the label at the picture's size") == 1


def test_json_of_bad_data_is_still_printed(scenes: Path):
    (scenes / "images" / "val" / "00001.png").write_bytes(b"")
    result = CliRunner().invoke(app, [str(scenes), "--json"])
    assert isinstance(result.exception, DataError)
    document = json.loads(result.stdout)
    assert document["would_train"] is False
    errors = [fault for fault in document["faults"] if fault["severity"] == "error"]
    assert [(fault["kind"], fault["file"]) for fault in errors] == [("unreadable picture", "images/val/00001.png")]


def test_never_into_the_data(scenes: Path, monkeypatch: pytest.MonkeyPatch):
    """`cd DATA; denselab check .` is what people type: its sheet goes beside the data set."""
    before = files_of(scenes)
    monkeypatch.chdir(scenes)
    assert default_folder(Path(".")) == scenes.parent / "denselab-check" / "scenes"
    (scenes.parent / "named.yaml").mkdir()
    assert default_folder(scenes.parent / "named.yaml") == Path("denselab-check/named.yaml")
    check(".")
    assert (scenes.parent / "denselab-check" / "scenes" / "contact-sheet.jpg").is_file()
    with pytest.raises(ConfigError):
        check(".", Path("labels"))
    assert files_of(scenes) == before


def test_a_folder_that_is_none(tmp_path: Path):
    with pytest.raises(NoSuchPath, match="nowhere"):
        check(str(tmp_path / "nowhere"))


def test_a_place_that_cannot_be_written_costs_the_sheet_alone(scenes: Path, capsys: pytest.CaptureFixture[str]):
    """The whole report was lost, after everything had been read."""
    Path("file").write_text("in the way")
    with pytest.raises(ResourceError, match=r"cannot write .*contact-sheet\.jpg: .*`out`"):
        check(str(scenes), Path("file/out"))
    assert "train %" in capsys.readouterr().out
    with pytest.raises(ResourceError):
        check(str(scenes), Path("file/out"), json_=True)
    assert json.loads(capsys.readouterr().out)["contact_sheet"] is None


def test_defaults_are_told_in_the_help():
    """rich took `[default: all cores]` for markup and printed "Threads ."."""
    told = " ".join(CliRunner().invoke(app, ["--help"]).output.replace("│", " ").split())
    assert "Threads that read pictures. [default: (all cores)]" in told
    assert "[default: (denselab-check/NAME)]" in told


def test_a_folder_of_several_data_sets_is_checked_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        write_synthetic(tmp_path / "all" / name, train=3, val=2, size=(32, 48), seed=1)
    check(str(tmp_path / "all"), tmp_path / "out")
    told = capsys.readouterr().out
    assert str(tmp_path / "all" / "first") in told.replace("\n", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "second"]
    (tmp_path / "all" / "second" / "labels" / "train" / "00000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 2 data sets would not train \(second\)"):
        check(str(tmp_path / "all"), tmp_path / "out2")
