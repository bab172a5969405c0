"""How an installation is mended, in a line that works though no package index has DenseLab."""

import json
import shlex
from pathlib import Path

import pytest

from denselab.cli import mending
from denselab.cli.mending import mending_line


class Recorded:
    """A distribution with what pip wrote down of where it came from."""

    def __init__(self, record: object) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.record is None else json.dumps(self.record)


@pytest.mark.parametrize(
    ("record", "given"),
    [
        (
            {"url": "file:///home/a/denselab-0.1.0-py3-none-any.whl", "archive_info": {}},
            "/home/a/denselab-0.1.0-py3-none-any.whl",
        ),
        ({"url": "file:///home/my%20code/denselab", "dir_info": {}}, "'/home/my code/denselab'"),
        ({"url": "file:///home/a/denselab", "dir_info": {"editable": True}}, "-e /home/a/denselab"),
        ({"url": "https://host/denselab.git", "vcs_info": {"vcs": "git"}}, "git+https://host/denselab.git"),
        (None, "denselab"),  # from an index
    ],
)
def test_a_damaged_installation_is_made_again_from_where_it_came(
    record: object, given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`pip install --force-reinstall denselab` failed: no index has it; and it would have fetched torch again."""
    monkeypatch.setattr(mending.metadata, "distribution", lambda name: Recorded(record))
    monkeypatch.setattr(mending, "SOURCE", tmp_path)
    error = ModuleNotFoundError("No module named 'denselab.files'", name="denselab.files")
    assert mending_line(error) == f"pip install --force-reinstall --no-deps {given}"


def test_a_package_that_is_missing_comes_with_what_denselab_needs() -> None:
    assert mending_line(ModuleNotFoundError("x", name="no_such_package")) == "pip install denselab"


def test_a_package_that_is_damaged_is_named_as_pip_knows_it() -> None:
    error = ImportError("cannot import name 'CSafeLoader' from 'yaml'", name="yaml.cyaml")
    assert mending_line(error) == "pip install --force-reinstall --no-deps PyYAML"


def test_bare_source_names_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise mending.metadata.PackageNotFoundError(name)

    for name in ("distribution", "version"):
        monkeypatch.setattr(mending.metadata, name, absent)
    monkeypatch.setattr(mending, "SOURCE", tmp_path / "my code")
    (tmp_path / "my code").mkdir()
    (tmp_path / "my code" / "pyproject.toml").write_text("")
    missing = ModuleNotFoundError("x", name="no_such_package")
    assert mending_line(missing) == f"pip install {shlex.quote(str(tmp_path / 'my code'))}"
