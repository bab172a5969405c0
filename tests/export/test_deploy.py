"""The whole export: measured, kept or refused, and a model folder at the end."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import denselab
from denselab.data.many_files import spread
from denselab.engine.onnx_engine import onnx_engine
from denselab.engine.openvino_engine import multiplies_bfloat16
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DataError, MissingExtra, ParityError
from denselab.export import deploy
from denselab.export.deploy import export
from denselab.export.int8 import ROUNDED_MIOU, quantised
from denselab.export.parity import Parity, largest_difference, parity, require_bfloat16, require_float
from denselab.export.pictures import check_pictures

PERFECT = Parity("pictures", 3, 0.0, 1.0, 0.0, 0.5, 0.5, 1.0)


@pytest.fixture
def traced(graph: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of the network take the graph that was traced before."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    monkeypatch.setattr(deploy, "exported_program", lambda engine, coarse: program)
    monkeypatch.setattr(deploy, "onnx_model", lambda program, spec, opset, coarse: copy)


@pytest.mark.usefixtures("traced")
def test_export_ends_in_a_model_folder(model_folder: Path, scenes: Path, tmp_path: Path) -> None:
    done = export(model_folder, tmp_path / "out", labels=True, check=scenes)
    assert done.parity.other_labels < 0.001
    assert done.parity.miou_before == pytest.approx(done.parity.miou_after, abs=1e-3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["README.md", "config.json", "export.json", "labels.onnx", "manifest.json", "model.onnx"]
    )
    (tmp_path / "export.json").write_text("[" * 100_000)  # it ended as a fault of ours: RecursionError
    assert json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "## Exported" in card
    assert "| share of other labels |" in card
    measured = denselab.evaluate(tmp_path / "out", scenes, quiet=True)
    assert measured.miou == pytest.approx(denselab.evaluate(model_folder, scenes, quiet=True).miou, abs=1e-3)


@pytest.mark.usefixtures("traced")
def test_an_export_is_measured_on_the_pictures_that_its_run_held_out(
    model_folder: Path, scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It knew nothing of its run: `eval EXPORTED DATA` measured the training pictures too, and so another number."""
    data, run = tmp_path / "data", tmp_path / "run"
    for part in ("images", "labels"):  # one pool, which names no split
        shutil.copytree(scenes / part / "train", data / part)
    shutil.copy(scenes / "data.yaml", data)
    names = [item.name for item in denselab.open_dataset(data).items]
    shutil.copytree(model_folder, run / "model")
    (run / "config.yaml").write_text(f"data: {data}\n", encoding="utf-8")
    stored = {"path": str(data), "splits": {"train": names[1:], "val": names[:1]}}
    (run / "dataset.json").write_text(json.dumps(stored), encoding="utf-8")
    done = export(run, tmp_path / "out")
    assert done.parity.source == "data: val"
    assert done.parity.told() not in caplog.text, "the command tells it at the end"
    assert not any(name in (tmp_path / "out" / "splits.json").read_text(encoding="utf-8") for name in names)
    assert "no names" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    before = denselab.evaluate(run, data, quiet=True)
    moved = data.rename(tmp_path / "elsewhere")
    after = denselab.evaluate(tmp_path / "out", moved, quiet=True)
    assert list(after.evaluation.names) == list(before.evaluation.names) == names[:1]
    assert after.miou == pytest.approx(before.miou, abs=1e-3)
    export(run, tmp_path / "late", check=scenes)
    assert not (tmp_path / "late" / "splits.json").exists()
    assert "will not know which pictures it was trained on" in caplog.text


@pytest.mark.usefixtures("traced")
def test_for_openvino_in_int8(
    model_folder: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("denselab.export.int8.ROUNDED_MIOU", 1.0)  # random weights lose whatever they have
    done = export(model_folder, tmp_path / "out", "openvino", int8=True, check=scenes)
    assert done.int8
    assert done.layers == 7
    assert "float32: " in caplog.text
    assert done.parity.told() not in caplog.text
    assert {"model.xml", "model.bin"} <= done.files.keys()
    assert b"FakeQuantize" in (tmp_path / "out" / "model.xml").read_bytes()
    assert denselab.load(tmp_path / "out")(np.zeros((20, 30, 3), np.uint8)).labels.shape == (20, 30)


bfloat16 = pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor does not multiply bfloat16")


@bfloat16
@pytest.mark.usefixtures("traced")
def test_for_openvino_in_bfloat16(
    model_folder: Path, pixelwise: TorchEngine, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph itself says so: it is run as it was measured, which rounds, and in float32 where that is slow."""
    monkeypatch.setattr("denselab.export.parity.ROUNDED_MIOU", 1.0)  # random weights lose whatever they have
    done = export(model_folder, tmp_path / "out", "openvino", bf16=True, labels=True, check=scenes)
    assert done.bf16
    assert json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))["bf16"] is True
    assert "In bfloat16 (`model.xml`)" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    picture = np.random.default_rng(0).integers(0, 256, (1, 36, 48, 3), dtype=np.uint8)
    exact, errors = pixelwise.logits(picture).numpy(), []
    for here in (True, False):
        monkeypatch.setattr("denselab.engine.openvino_engine.multiplies_bfloat16", lambda here=here: here)
        engine = denselab.load(tmp_path / "out").engine
        with engine.side_by_side(2) as form:
            assert np.array_equal(form.logits(picture), engine.logits(picture))
        errors.append(float(np.abs(np.asarray(engine.logits(picture)) - exact).max() / exact.std()))
    assert errors[1] < 1e-4 < 1e-3 < errors[0] < 0.1
    assert done.labels_parity is not None
    assert done.labels_parity.other_labels < 0.005, "resized in float32"
    assert done.parity.logits > 1e-3 * done.parity.deviation, "measured as it is run"


@pytest.mark.usefixtures("traced")
def test_bfloat16_is_measured_where_it_is_multiplied(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "multiplies_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match=r"does not multiply bfloat16 \(no AVX512_BF16, no AMX\)"):
        export(model_folder, tmp_path / "out", "openvino", bf16=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"miou_after": 0.495}, {"logits": float("inf")}])
def test_bfloat16_that_loses_too_much_is_refused(change: dict[str, float]) -> None:
    require_bfloat16(dataclasses.replace(PERFECT, miou_after=0.496, other_labels=0.01, logits=0.3))
    with pytest.raises(ParityError, match=r"bfloat16 loses 0\..0 points of mIoU, less than 0.5 is allowed"):
        require_bfloat16(dataclasses.replace(PERFECT, **change))


@pytest.mark.usefixtures("traced")
def test_for_torch(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without data the demo's scenes are drawn, and their labels are the model's here."""
    monkeypatch.setattr("denselab.export.pictures.SCENES", (2, 2))
    done = export(model_folder, tmp_path / "out", "torch")
    assert {"model.pt2", "model.safetensors"} == done.files.keys()
    assert done.parity.source == "the demo's scenes"
    assert denselab.load(tmp_path / "out", "cpu").spec == denselab.load(model_folder, "cpu").spec


@pytest.mark.usefixtures("traced")
def test_another_network_is_refused_and_leaves_nothing(model_folder: Path, scenes: Path, tmp_path: Path) -> None:
    """A graph with one weight changed; the exit code is its own, and the folder that was there stays."""
    document = deploy.onnx_model(None, None, 18, None)  # type: ignore[arg-type]
    weight = next(t for t in document.graph.initializer if len(t.dims) == 4)
    weight.raw_data = (1.1 * np.frombuffer(weight.raw_data, np.float32)).astype(np.float32).tobytes()
    with pytest.raises(ParityError, match=r"is not the model: logits differ by up to .* Nothing was written") as caught:
        export(model_folder, tmp_path / "out", check=scenes)
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together(model_folder: Path, tmp_path: Path) -> None:
    for options, told in (
        ({"to": "tflite"}, "'tflite' is unknown; use onnx, openvino, torch"),
        ({"to": "torch", "int8": True}, "`int8` belongs to ONNX and OpenVINO"),
        ({"bf16": True}, "`bf16` belongs to OpenVINO; leave it out for onnx"),
        ({"to": "torch", "bf16": True}, "`bf16` belongs to OpenVINO; leave it out for torch"),
        ({"to": "openvino", "bf16": True, "int8": True}, "choose one"),
        ({"opset": 12}, "opset 12; use 18 to"),
    ):
        with pytest.raises(ConfigError, match=told):
            export(model_folder, tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the model's own folder"):
        export(model_folder, model_folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a model that is no export"):
        export(model_folder, tmp_path / "other")  # its weights were gone, being no file of the export
    (tmp_path / "run" / "model").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds a run \(model\), and nothing in it is touched"):
        export(model_folder, tmp_path / "run")  # the export in its root hid the trained model


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"logits": 0.02}, "logits differ by up to 0.02, 0.01 is allowed"),
        ({"logits": float("inf")}, "logits differ by up to inf"),
        ({"other_labels": 0.002}, r"0.20 % of the labels differ, 0.10 % are allowed"),
        ({"other_labels": float("nan")}, "labels differ"),
        ({"miou_after": 0.45}, r"mIoU falls from 0.5000 to 0.4500"),
    ],
)
def test_each_measure_can_refuse(change: dict[str, float], told: str) -> None:
    require_float(PERFECT, "the graph")
    with pytest.raises(ParityError, match=told):
        require_float(dataclasses.replace(PERFECT, **change), "the graph")


def test_parity_in_words() -> None:
    """With and without truth; of a graph that gives labels only, no logits are told."""
    assert PERFECT.told() == (
        "largest difference of logits 0 (their deviation: 1), 0.000 % other labels, "
        "mIoU 0.5000 before, 0.5000 after; 3 pictures of pictures"
    )
    bare = dataclasses.replace(PERFECT, logits=float("nan"), miou_before=None, miou_after=None, agreement=0.75)
    assert bare.told() == (
        "0.000 % other labels, agreement 0.7500 (mIoU with the network's own labels); 3 pictures of pictures"
    )


def test_parity_by_hand(pixelwise: TorchEngine, scenes: Path) -> None:
    """Against an engine that adds one to the logits of the first class."""

    class Shifted:
        spec = pixelwise.spec

        def logits(self, pictures: Any) -> Any:
            logits = pixelwise.logits(pictures).clone()
            logits[:, 0] += 100
            return logits

        def coarse(self, picture: Any) -> None:
            """Its logits are all that it has."""

    with check_pictures(pixelwise.spec, "nowhere", str(scenes)) as pictures:
        found = parity(pixelwise, Shifted(), pictures, 2)  # type: ignore[arg-type]
        same = parity(pixelwise, pixelwise, pictures, 2)
    assert found.pictures == 2
    assert found.told().endswith(f"; 2 pictures of {scenes.name}: val"), (
        "it said: 2 pictures of 16 pictures of /home/..."
    )
    assert found.logits == pytest.approx(100)
    assert found.other_labels > 0.5
    assert found.miou_after is not None
    assert found.miou_after < 0.1
    assert (same.logits, same.other_labels, same.agreement, same.loss) == (0, 0, 1, 0)


def test_logits_that_are_no_numbers_are_refused() -> None:
    logits = np.zeros((1, 2, 4, 4), np.float32)
    broken = logits.copy()
    broken[0, 1, 2, 2] = np.nan
    assert largest_difference(logits, broken) == float("inf")
    assert largest_difference(logits, logits + 1) == 1


def test_pictures_without_the_models_labels(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's scenes show whether the graph is the same; int8 needs the model's own pictures."""
    monkeypatch.setattr("denselab.export.pictures.SCENES", (2, 2))
    with check_pictures(engine.spec, "nowhere", None) as pictures:
        assert not pictures.labelled
        assert parity(engine, engine, pictures, 2).miou_before is None
    with (
        pytest.raises(DataError, match="give `check` a data set"),
        check_pictures(engine.spec, "nowhere", None, real=True),
    ):
        pass


def test_spread_takes_first_and_last() -> None:
    assert spread(list(range(11)), 3) == [0, 5, 10]
    assert spread([1, 2], 3) == [1, 2]


def test_layers_that_hurt_stay_in_float_and_are_named(graph: Any, pixelwise: TorchEngine) -> None:
    """The measure here lets pass what leaves the layer in float whose error alone is largest."""
    names = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    seen = [np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), dtype=np.uint8)]
    asked: list[bytes] = []

    def measure(document: bytes) -> Parity:
        asked.append(document)
        return dataclasses.replace(PERFECT, miou_after=0.5 if len(asked) == 2 else 0.5 - 2 * ROUNDED_MIOU)

    def logits(document: bytes, pictures: Any) -> list[Any]:
        return [onnx_engine(document, pixelwise.spec, "graph").logits(picture) for picture in pictures]

    done = quantised(graph, seen, measure, logits)
    assert len(done.kept_float) == 1
    assert done.kept_float[0] in names
    exact = logits(graph.SerializeToString(), seen)[0]
    both = [float(np.abs(logits(document, seen)[0] - exact).mean()) for document in asked]
    assert 0 < both[1] < both[0], "with its worst layer in float the graph is nearer"
    with pytest.raises(ParityError, match=r"int8 loses 1.00 points of mIoU even with 2 of 7 layers"):
        quantised(graph, seen, lambda document: dataclasses.replace(PERFECT, miou_after=0.49), logits)


@pytest.mark.parametrize(("to", "extras"), [("onnx", "export"), ("openvino", "export,openvino")])
def test_one_line_installs_all_that_an_export_needs(
    to: Any, extras: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For OpenVINO the first message named `export` alone, and a second one the rest."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"pip install 'denselab\[{extras}\]'"):
        export("no model", tmp_path / "out", to)
