"""The questions that are asked of a run folder."""

import os
from pathlib import Path

import pytest

from denselab import run_folder
from denselab.errors import CheckpointError, NoSuchPath
from denselab.run_folder import find_model_folder, has_model, has_state, is_run, is_staged, read_metrics, traces_of_run


def place(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_what_a_folder_is(tmp_path: Path) -> None:
    run = place(tmp_path / "run", "config.yaml", "model/config.json", "last/state.json")
    model = place(tmp_path / "converted", "config.json")
    killed = place(tmp_path / "killed", "last.previous/state.json", "model.previous/config.json")
    staged = place(tmp_path / "staged", "stages.json")
    assert [is_run(f) for f in (run, model, killed, staged)] == [True, False, False, False]
    assert [has_model(f) for f in (run, model, killed, staged)] == [True, False, False, False]
    assert [has_state(f) for f in (run, model, killed, staged)] == [True, False, True, False]
    assert [is_staged(f) for f in (run, model, killed, staged)] == [False, False, False, True]
    assert [len(traces_of_run(f)) for f in (run, model, killed, staged)] == [2, 0, 2, 1]


def test_the_model_of_a_path(tmp_path: Path) -> None:
    run = place(tmp_path / "run", "model/config.json")
    killed = place(tmp_path / "killed", "model.previous/config.json")
    assert find_model_folder(run) == find_model_folder(run / "model") == run / "model"
    assert find_model_folder(killed) == killed / "model.previous"
    with pytest.raises(CheckpointError, match="holds no model"):
        find_model_folder(tmp_path)
    with pytest.raises(NoSuchPath, match=r"rum does not exist; .*near it: .*run"):
        find_model_folder(tmp_path / "rum")


def test_metrics_are_read_with_patience(tmp_path: Path) -> None:
    """There were two readers; one raised KeyError at a line without a kind."""
    assert read_metrics(tmp_path, "step") == []
    lines = b'{"kind": "step", "step": 1}\n[1]\n{"step": 2}\nnonsense\n\xff\n{"kind": "validation"}\n{"kind": "st'
    (tmp_path / "metrics.jsonl").write_bytes(lines)
    assert read_metrics(tmp_path, "step") == [{"kind": "step", "step": 1}]
    assert read_metrics(tmp_path, "validation") == [{"kind": "validation"}]


def test_the_drawing_names_every_file() -> None:
    drawn = run_folder.__doc__ or ""
    names = [value for key, value in vars(run_folder).items() if key.isupper() and isinstance(value, str)]
    assert len(names) > 20
    assert [name for name in names if name not in drawn] == []


def test_metrics_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("[" * 200_000 + '\n{"kind": "step", "step": 1}\n')
    assert read_metrics(tmp_path, "step") == [{"kind": "step", "step": 1}]
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert read_metrics(tmp_path, "step") == []
