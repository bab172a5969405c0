"""Folders that commands choose themselves."""

from pathlib import Path

import pytest

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
