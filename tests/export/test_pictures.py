"""What an export is measured on where nobody says: the data of the run, wherever the command is given."""

import shutil
from pathlib import Path

import pytest

from denselab.data import open_dataset
from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.torch_engine import TorchEngine
from denselab.export.pictures import check_pictures
from denselab.files import write_json


@pytest.fixture
def run(model_folder: Path, scenes: Path, tmp_path: Path) -> Path:
    """A run that was trained as `denselab train data` in tmp_path/home."""
    shutil.copytree(scenes, tmp_path / "home" / "data")
    shutil.copytree(model_folder, tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text("data: data\n")
    data = open_dataset(tmp_path / "home" / "data")
    splits = {split: data.names_of(split) for split in data.splits}
    write_json(tmp_path / "run" / "dataset.json", {"path": str(data.root.resolve()), "splits": splits})
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["home", "empty", "other"])
def test_the_data_of_the_run_are_found_from_any_folder(
    run: Path, pixelwise: TorchEngine, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path led to nothing, so that drawn scenes were taken, or to the data of another project."""
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    write_synthetic(tmp_path / "other" / "data", train=2, val=5, size=(48, 64), seed=9)
    monkeypatch.chdir(tmp_path / place)
    with check_pictures(pixelwise.spec, str(run), None, quiet=True) as pictures:
        assert pictures.dataset.root.resolve() == tmp_path / "home" / "data"
        assert len(pictures.items) == 3
    shutil.rmtree(tmp_path / "home" / "data")
    monkeypatch.setattr("denselab.export.pictures.SCENES", (2, 2))
    with check_pictures(pixelwise.spec, str(run), None, quiet=True) as pictures:
        assert pictures.source == "the demo's scenes"
