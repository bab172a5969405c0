"""Files in, result files out; items of a data set for the scores."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, ResourceError
from denselab.inference.collection import class_shares, predict_files
from denselab.inference.inputs import Source, find_sources
from denselab.inference.plan import plan_for
from denselab.inference.prediction import Prediction
from denselab.labels import LabelSpace


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three flat pictures of different sizes in a tree, and two files that are none."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, size, colour in (
        ("a.png", (5, 7), (255, 0, 0)),
        ("b.png", (1, 1), (0, 0, 255)),
        ("sub/c.png", (90, 40), (0, 255, 0)),
    ):
        PILImage.new("RGB", size, colour).save(folder / name)
    (folder / "bad.png").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("probs", ["none", "npz"])
def test_results_mirror_the_tree_at_the_pictures_size(
    engine: TorchEngine, pictures: Path, tmp_path: Path, probs: str
) -> None:
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(plan_for(engine), sources, tmp_path / "out", probs, quiet=True)  # type: ignore[arg-type]
    assert [r.source.name for r in results] == ["a.png", "b.png", "c.png"]
    assert [r.shares for r in results] == [{"red": 1.0}, {"blue": 1.0}, {"green": 1.0}]
    found = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "sub" / "c.png"))
    assert found.shape == (40, 90)
    assert (found == 20).all()
    assert [Path(s.path).name for s in skipped] == ["bad.png", "empty.jpg"]
    assert all(str(pictures) not in s.reason for s in skipped)


def test_a_picture_too_large_for_its_probabilities_is_skipped_alone(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denselab.inference.run.total_memory", lambda: 40_000)  # 90x40x4 classes need 57,600 bytes
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(plan_for(engine), sources, tmp_path / "out", "npz", quiet=True)
    assert [r.source.name for r in results] == ["a.png", "b.png"]
    assert "90x40 pixels and 4 classes" in skipped[-1].reason


def test_the_label_table_lists_what_the_label_pngs_hold(
    engine: TorchEngine, space: LabelSpace, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index PNG holds no id below 0: it got class indices, and labels.json still said -1."""
    shifted = LabelSpace(tuple(replace(entry, id=entry.id - 1) for entry in space.entries))
    plan = plan_for(replace(engine, spec=replace(engine.spec, label_space=shifted)))
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    predict_files(plan, sources, tmp_path / "out", quiet=True)
    table = {row["name"]: row["id"] for row in json.loads((tmp_path / "out" / "labels.json").read_text())}
    for name, colour in (("a", "red"), ("b", "blue"), ("sub/c", "green")):
        assert (np.asarray(PILImage.open(tmp_path / "out" / "labels" / f"{name}.png")) == table[colour]).all()
    assert capsys.readouterr().err.count("do not fit into label PNGs") == 1


def test_inputs_are_never_touched(engine: TorchEngine, pictures: Path) -> None:
    labels = pictures / "labels"
    labels.mkdir()
    PILImage.new("RGB", (2, 2)).save(labels / "a.png")
    sources, _ = find_sources([str(labels / "a.png")], pictures)
    before = (labels / "a.png").read_bytes()
    with pytest.raises(ConfigError, match="overwrite"):
        predict_files(plan_for(engine), sources, pictures, quiet=True)
    assert (labels / "a.png").read_bytes() == before


def test_a_place_that_cannot_be_written_ends_the_work(engine: TorchEngine, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    with pytest.raises(ResourceError, match="out"):
        predict_files(plan_for(engine), sources, tmp_path / "out", quiet=True)


def test_class_shares_by_hand(space: LabelSpace) -> None:
    assert class_shares(np.array([[0, 0, 0, 2]], np.uint8), space) == {"ground": 0.75, "green": 0.25}


@pytest.mark.parametrize("where", ["run", "save", "read"])
def test_a_picture_that_memory_runs_out_on_stops_no_other(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """One picture of 48 megapixels ended `predict --probs npz` with exit code 5; the small ones after it were lost."""
    if where == "run":
        original = type(engine).logits

        def cramped(self: TorchEngine, given: np.ndarray) -> object:
            if (given == (0, 0, 255)).all():  # b.png is blue
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 999 bytes")
            return original(self, given)

        monkeypatch.setattr(type(engine), "logits", cramped)
    elif where == "save":
        plain = Prediction.save

        def saving(self: Prediction, *rest: object) -> object:
            if self.name == "b":
                raise MemoryError
            return plain(self, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(Prediction, "save", saving)
    else:
        whole = Source.read
        monkeypatch.setattr(
            Source, "read", lambda self, white=None: whole(self, white) if self.path.stem != "b" else broken()
        )
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    results, skipped = predict_files(plan_for(engine), sources, tmp_path / "out", quiet=True)
    assert [r.source.name for r in results] == ["a.png", "c.png"]
    assert "memory" in next(entry.reason for entry in skipped if entry.path.endswith("b.png"))


def broken() -> None:
    raise MemoryError


def test_a_full_disk_is_not_taken_for_a_bad_picture(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict --crf --steps` on a full disk skipped every picture and ended as if the data were to blame (exit 3)."""

    def full(*arguments: object) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr("denselab.inference.collection.write_steps", full)
    sources, _ = find_sources([str(pictures / "a.png")], tmp_path / "out")
    with pytest.raises(ResourceError, match="the disk is full"):
        predict_files(plan_for(engine, crf=True), sources, tmp_path / "out", steps=True, quiet=True)


def test_results_that_vanish_are_said(
    engine: TorchEngine, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output folder was deleted while predict ran: 42 of 48 label maps were there, and it said 48 with exit code 0."""
    plain = Prediction.save

    def saving(self: Prediction, *rest: object) -> object:
        if self.name == "c":
            shutil.rmtree(tmp_path / "out")
        return plain(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Prediction, "save", saving)
    sources, _ = find_sources([str(pictures)], tmp_path / "out")
    with pytest.raises(ResourceError, match="the results of 2 of 3 pictures.*are no longer in"):
        predict_files(plan_for(engine), sources, tmp_path / "out", quiet=True)
