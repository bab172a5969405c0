"""`denselab predict` and `denselab eval` as functions, on a small real model folder."""

import csv
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from denselab.cli.evaluate import evaluate
from denselab.cli.options import window_size
from denselab.cli.predict import predict
from denselab.data import open_dataset
from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, ResourceError, SkippedInputs
from denselab.evaluation.evaluation import Evaluation
from denselab.labels import LabelSpace
from denselab.measure.data import split_of_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training and three validation scenes of 40x56 pixels."""
    return write_synthetic(tmp_path_factory.mktemp("scenes"), train=2, val=3, size=(40, 56), seed=1)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained network for those scenes."""
    space = open_dataset(data).label_space
    architecture = Architecture("deeplabv3plus", space.num_classes, "test_efficientnet")
    preprocessing = Preprocessing((40, 56), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
    torch.manual_seed(0)
    network = architecture.create()
    with torch.no_grad():
        for _ in range(25):  # until batch norm knows its statistics: before, every pixel gets the same class
            network(torch.randn(4, 3, 40, 56))
    network.eval()
    folder = tmp_path_factory.mktemp("runs") / "streets"
    save_engine(
        TorchEngine(ModelSpec(architecture, space, preprocessing), network, torch.device("cpu")), folder / "model"
    )
    return folder


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for name, size in (("a.png", (31, 17)), ("b.jpg", (1, 1))):
        PILImage.new("RGB", size, (90, 120, 30)).save(folder / name)
    return folder


def test_predict_writes_labels_of_original_size_and_ids(run: Path, data: Path, tmp_path: Path) -> None:
    predict(str(run), [str(pictures(tmp_path / "in"))], tmp_path / "out", probs="png", device="cpu")
    ids = np.asarray(PILImage.open(tmp_path / "out" / "labels" / "a.png"))
    space = open_dataset(data).label_space
    assert ids.shape == (17, 31)
    assert set(np.unique(ids)) <= {entry.id for entry in space.classes}
    assert len(list((tmp_path / "out" / "probs" / "a").iterdir())) == space.num_classes
    assert LabelSpace.from_list(json.loads((tmp_path / "out" / "labels.json").read_text())) == space


def test_predict_skips_bad_files_and_says_so_at_the_end(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "in")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:40])
    with pytest.raises(SkippedInputs, match=r"2 of 4 inputs skipped: .*gone\.png: there is no such file") as caught:
        predict(str(run), [str(folder), str(tmp_path / "gone.png")], tmp_path / "out", device="cpu", as_json=True)
    assert caught.value.exit_code == 4
    told = json.loads(capsys.readouterr().out)
    assert [Path(r["input"]).name for r in told["results"]] == ["a.png", "b.jpg"]
    assert sum(told["results"][0]["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert [Path(s["input"]).name for s in told["skipped"]] == ["gone.png", "cut.png"]
    assert Path(told["results"][0]["labels"]).is_file()


def test_a_folder_that_cannot_be_listed_is_a_skipped_input(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said, but the command ended as if all had been predicted. (Root may list any folder, hence the fake.)"""
    folder = pictures(tmp_path / "in")
    (folder / "closed").mkdir()
    scandir = os.scandir

    def closed(place: object) -> object:
        if str(place).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(SkippedInputs, match=r"1 of 3 inputs skipped: .*closed: the folder cannot be listed"):
        predict(str(run), [str(folder)], str(tmp_path / "out"), device="cpu", no_overlays=True)
    assert "2 pictures predicted" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"nothing to predict: .*closed: the folder cannot be listed"):
        predict(str(run), [str(folder / "closed")], str(tmp_path / "out"), device="cpu")


def test_predict_with_nothing_to_do(run: Path, tmp_path: Path) -> None:
    """Nothing done at all is no "done, some inputs skipped" (4), but data that do not pass (3)."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "broken.png").write_bytes(b"x")
    for name, message in (
        ("empty", r"nothing to predict: .*empty: holds no picture \(\.jpg"),
        ("*.jpg", r"nothing to predict: .*\*\.jpg: matches no picture"),
        ("clip.mp4", "1 of 1 inputs skipped: .*clip.mp4: not a film that can be read"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            predict(str(run), [str(tmp_path / name)], tmp_path / "out", device="cpu")
        assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match=r"1 of 1 inputs skipped: .*broken\.png: not a picture"):
        predict(str(run), [str(tmp_path / "broken.png")], tmp_path / "out", device="cpu")


def test_the_same_command_goes_on_with_a_film(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time `frames` and `labels` were taken for a data set, and the line spoke of pictures."""
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "drive.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.pix_fmt, stream.width, stream.height = "bgr0", 48, 32
        for grey in (50, 100):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for said in ("1 film predicted in", "0 films predicted in"):
        predict(str(run), [str(tmp_path / "drive.mkv")], tmp_path / "out", device="cpu")
        assert capsys.readouterr().out.startswith(said)


def test_a_store_is_called_by_its_address(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line ended in "are in memory:/results"."""
    pytest.importorskip("fsspec")
    predict(str(run), [str(pictures(tmp_path / "photos"))], "memory://results", device="cpu")
    assert capsys.readouterr().out.endswith("labels and overlays are in memory://results\n")


def test_the_folder_of_the_pictures_is_no_folder_for_results(run: Path, tmp_path: Path) -> None:
    """`predict RUN photos --out photos` worked once; the next time its label maps were pictures, and it was refused."""
    place = pictures(tmp_path / "photos")
    for out in (place, tmp_path / "photos" / ".." / "photos"):
        with pytest.raises(ConfigError, match=r"is the folder of the pictures.* such as .*results"):
            predict(str(run), [str(place)], out, device="cpu")
    for _ in range(2):
        predict(str(run), [str(place)], place / "results", device="cpu")
    assert sorted(path.name for path in (place / "results" / "labels").iterdir()) == ["a.png", "b.png"]


def test_predict_never_writes_over_the_labels_of_a_data_set(run: Path, data: Path, tmp_path: Path) -> None:
    """`predict RUN data/images --out data` wrote its guesses over data/labels, the truth somebody had drawn."""
    place = shutil.copytree(data, tmp_path / "data")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"lies inside the data set .*, which stays untouched"):
        predict(str(run), [str(place / "images")], place, device="cpu")
    own = shutil.copytree(place / "labels" / "val", tmp_path / "mine" / "labels" / "val").parents[1]
    with pytest.raises(ConfigError, match=r"labels/.*\.png is there already, and is no result of predict"):
        predict(str(run), [str(place / "images")], own, device="cpu")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=r"labels\.json is there already"):
        predict(str(run), [str(place / "images")], tmp_path / "out", device="cpu")
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for _ in range(2):  # its own results it replaces
        predict(str(run), [str(place / "images" / "val")], tmp_path / "results", device="cpu")


def test_predict_into_a_place_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot write"):
        predict(str(run), [str(pictures(tmp_path / "in"))], tmp_path / "out", device="cpu")


def test_window_sizes() -> None:
    assert window_size("512x256") == (512, 256)
    assert window_size("64") == (64, 64)
    assert window_size(None) is None
    for wrong in ("big", "512x", "4x4"):
        with pytest.raises(ConfigError, match="window"):
            predict("m", ["i"], Path("o"), window=wrong)


def test_eval_table_json_and_csv_agree(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(str(run), str(data), out=tmp_path / "out", device="cpu", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    exact = Evaluation.from_dict(told["exact"])
    assert told["pictures"] == 3
    assert told["miou"] == pytest.approx(exact.miou, abs=1e-4)
    rows = list(csv.DictReader((tmp_path / "out" / "evaluation.csv").read_text().splitlines()))
    assert {r["name"]: r["value"] for r in rows}["miou"] == f"{exact.miou:.4f}"
    by_picture = list(csv.DictReader((tmp_path / "out" / "pictures.csv").read_text().splitlines()))
    assert [r["picture"] for r in by_picture] == list(exact.names)
    assert [float(r["miou"]) for r in by_picture] == pytest.approx(exact.image_miou, abs=1e-4)
    assert len(list((tmp_path / "out" / "worst").iterdir())) == 2
    evaluate(str(run), str(data), out=tmp_path / "again", device="cpu")
    assert f"{exact.miou:.4f}" in capsys.readouterr().out


def test_eval_with_windows_and_views_counts_every_pixel(run: Path, data: Path, tmp_path: Path) -> None:
    counts = []
    for name, options in (("plain", {}), ("tta", {"tta": True}), ("window", {"window": "32x32"})):
        evaluate(str(run), str(data), out=tmp_path / name, device="cpu", as_json=True, **options)
        counts.append(json.loads((tmp_path / name / "evaluation.json").read_text())["exact"]["counts"])
    assert np.array(counts).sum(axis=(1, 2)).tolist() == [np.sum(counts[0])] * 3
    assert counts[0] != counts[1]
    assert counts[0] != counts[2]


@pytest.mark.parametrize("options", [{"engine": "onnx"}, {"display_bands": "nir"}])
def test_eval_of_several_refuses_what_is_for_one(options: dict[str, str], run: Path, data: Path) -> None:
    """--engine was passed over without a word."""
    with pytest.raises(ConfigError, match="is for one model; leave it out for an ensemble"):
        evaluate(str(run), str(run), [str(data)], device="cpu", **options)


def test_no_ensemble_is_saved_into_a_data_set(run: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="lies inside the data set"):
        evaluate(str(run), str(run), [str(data)], save=data / "both", device="cpu")


def test_eval_of_an_absent_split(run: Path, data: Path) -> None:
    with pytest.raises(DataError, match="no picture in test; it has train, val"):
        evaluate(str(run), str(data), split="test", device="cpu")


def test_eval_draws_the_split_of_the_run(run: Path, data: Path, tmp_path: Path) -> None:
    """Data without a split, trained with another seed than 0: eval measured on pictures that had been trained on."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("seed: 3\nval_fraction: 0.4\n")
    assert split_of_run(str(tmp_path / "run")) == {"seed": 3, "val_fraction": 0.4}
    assert split_of_run(str(tmp_path / "run" / "model")) == {"seed": 3, "val_fraction": 0.4}
    assert split_of_run(str(run)) == {}
    pool = write_synthetic(tmp_path / "pool", train=10, val=0, size=(40, 56), seed=1)
    evaluate(str(tmp_path / "run"), str(pool), device="cpu")
    measured = (tmp_path / "run" / "eval-val" / "pictures.csv").read_text().splitlines()[1:]
    expected = [item.name for item in open_dataset(pool, seed=3, val_fraction=0.4).of_split("val")]
    assert sorted(line.split(",")[0] for line in measured) == sorted(expected)


def test_predict_again_passes_over_what_is_done(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures(tmp_path / "in")
    predict(str(run), [str(folder)], str(tmp_path / "out"), device="cpu")
    assert "2 pictures predicted" in capsys.readouterr().out
    predict(str(run), [str(folder)], str(tmp_path / "out"), device="cpu")
    assert "0 pictures predicted" in (told := capsys.readouterr().out)
    assert "2 done before, and not done again (--redo does)" in told
    predict(str(run), [str(folder)], str(tmp_path / "out"), redo=True, device="cpu", as_json=True)
    results = json.loads(capsys.readouterr().out)["results"]
    assert ["already" in row for row in results] == [False, False]
    assert 0 < results[0]["confidence"] <= 1
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").read_text().splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["a.png", "b.jpg"]


def test_a_part_without_a_picture_says_so(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--shard 3/4` of a few pictures ended without a word."""
    folder = pictures(tmp_path / "in")
    for part in range(1, 5):
        predict(str(run), [str(folder)], str(tmp_path / "out"), shard=f"{part}/4", device="cpu")
        told = capsys.readouterr().out
        assert "predicted in" in told or told == "no picture belongs to this part, so none was predicted\n"


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["in"], {"polygons": Path("a.geojson")}, "may be several pictures; name a folder"),
        (["in"], {"manifest": Path("a.xls")}, "a table is written as"),
        (["in"], {"shard": "3/2"}, "counted from 1"),
        (["in", "a.mp4"], {}, r"a\.mp4 is a film, in is none"),
        (["a.mp4"], {"shard": "1/2"}, "--shard is for pictures"),
        (["in"], {"smooth": "mean", "probs": "png"}, "--probs is for pictures"),
        (["in"], {"ray": "auto", "steps": True, "crf": True}, "--ray with --probs, --steps, --polygons or --format"),
        (["s3://a/b", "in"], {}, "a store as the only input"),
    ],
)
def test_predict_refuses_what_does_not_go_together(
    inputs: list[str], options: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "in")
    with pytest.raises(ConfigError, match=message):
        predict("no model is loaded", inputs, "out", device="cpu", **options)
    assert not (tmp_path / "out").exists()
