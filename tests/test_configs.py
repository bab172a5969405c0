"""The recipes that ship with the package are found by name, complete, and part of the wheel."""

import tomllib
from pathlib import Path

import pytest
import yaml

from denselab.config import TrainConfig, make_config
from denselab.configs import FOLDER, config_names, find_config
from denselab.errors import ConfigError
from denselab.models import MODELS

ROOT = Path(__file__).parents[1]
by_name = pytest.mark.parametrize("name", config_names())


@by_name
def test_a_recipe_is_complete(name: str) -> None:
    settings = yaml.safe_load(find_config(name).read_text(encoding="utf-8"))
    assert list(settings) == list(TrainConfig.model_fields)
    assert make_config(settings, name).model in MODELS


@by_name
def test_the_command_in_its_header_names_it(name: str) -> None:
    header = find_config(name).read_text(encoding="utf-8")
    assert f"--config {name} " in header


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    assert find_config(own) == own, "whether it exists is for the reader of the file to say"
    assert find_config(str(own)) == own


def test_a_file_wins_over_a_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fcn8s-voc").write_text("lr: 1.0")
    assert find_config("fcn8s-voc") == Path("fcn8s-voc")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'fcn8-voc' is neither a file nor a recipe.*fcn8s-voc"):
        find_config("fcn8-voc")
    with pytest.raises(ConfigError, match="the recipes are camvid-60m, deconvnet-small-stages, "):
        find_config("qqqqqqqq")


def test_the_wheel_holds_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "configs/*.yaml" in project["tool"]["setuptools"]["package-data"]["denselab"]
    assert FOLDER.is_relative_to(ROOT / "src" / "denselab")
