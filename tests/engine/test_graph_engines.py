"""Exported graphs run as engines: the same logits and labels as torch, without torch; what is unsafe is refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import denselab
from denselab.engine.folder import load_engine
from denselab.engine.onnx_engine import OnnxEngine, onnx_engine
from denselab.engine.onnx_file import interface, refuse_external_data, with_output
from denselab.engine.open import open_folder, open_model
from denselab.engine.openvino_engine import OpenVINOEngine, openvino_engine
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, ConfigError
from denselab.folders import read_folder, write_folder
from denselab.inference import Predictor
from denselab.run_folder import WEIGHTS, stored_files

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "kind"), [("onnx", OnnxEngine), ("openvino", OpenVINOEngine)])
def test_an_exported_folder_is_a_model_folder(
    name: Any, kind: type, exported_folder: Path, engine: TorchEngine
) -> None:
    """Labels, probabilities, views and windows come out as those of torch."""
    ours, theirs = Predictor(engine), denselab.load(exported_folder, engine=name)
    assert isinstance(theirs.engine, kind)
    assert theirs.spec == ours.spec
    for options in ({}, {"tta": True}, {"window": (16, 16)}):
        expected, found = ours(PICTURE, **options), theirs(PICTURE, **options)
        assert (expected.labels != found.labels).mean() < 0.002
        np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)


def test_auto_takes_what_the_folder_holds(exported_folder: Path) -> None:
    assert isinstance(open_folder(exported_folder), OnnxEngine)
    assert stored_files(exported_folder) >= {"model.onnx", "config.json", "manifest.json"}


def test_an_engine_without_its_file_says_what_to_do(exported_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds model.onnx, and the engine torch runs model.safetensors"):
        open_folder(exported_folder, engine="torch")
    (tmp_path / "weights").mkdir()
    for name in (WEIGHTS, "config.json"):
        (tmp_path / "weights" / name).write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"`denselab export .*weights --to openvino --out exported`"):
        open_model(str(tmp_path / "weights"), engine="openvino")
    with pytest.raises(ConfigError, match=r"'tensorrt' is unknown; use auto, torch, onnx, openvino"):
        open_model(str(exported_folder), engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`denselab export torchvision:fcn_resnet50 --to onnx"):
        open_model("torchvision:fcn_resnet50", engine="onnx")


def test_what_an_exported_model_cannot_do_is_said(exported_folder: Path) -> None:
    predictor = denselab.load(exported_folder)
    with pytest.raises(ConfigError, match="no dropout"):
        predictor(PICTURE, uncertainty=True)
    with pytest.raises(ConfigError, match="keeps the one it was exported with"):
        denselab.load(exported_folder, output_stride=8)
    with pytest.raises(CheckpointError, match=r"holds an exported model \(model.onnx\) without model.safetensors"):
        load_engine(exported_folder)
    with pytest.raises(ConfigError, match=r"device 'mps'"):
        denselab.load(exported_folder, device="mps")


def test_copies_of_an_exported_model_run(exported_folder: Path, tmp_path: Path) -> None:
    copy = denselab.load(exported_folder).save_pretrained(tmp_path / "copy")
    assert np.array_equal(denselab.load(copy)(PICTURE).labels, denselab.load(exported_folder)(PICTURE).labels)


def test_a_signal_ends_no_process_that_openvino_ran_in(exported_folder: Path) -> None:
    """Each core of OpenVINO leaves a stack for signals on processors with AMX; of two, one was left that was freed."""
    lines = [
        "import gc, os, signal, numpy",
        "from pathlib import Path",
        "from denselab.engine.open import open_folder",
        f"first, second = (open_folder(Path({str(exported_folder)!r}), device='cpu', engine='openvino') for _ in range(2))",
        "for engine in (first, second):",
        "    engine.logits(numpy.zeros((1, 32, 32, 3), numpy.uint8))",
        "del first, engine",
        "gc.collect()",
        "del second",
        "gc.collect()",
        "noted = []",
        "signal.signal(signal.SIGTERM, lambda *_: noted.append(1))",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "assert noted == [1]",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_no_torch_is_imported(exported_folder: Path, tmp_path: Path) -> None:
    """An exported model predicts where torch is not installed, and OpenVINO, imported, tells its makers nothing.

    numba was always imported, then for pictures of another size: half a second and 100 MiB, more than the network's own.
    """
    lines = [
        "import sys",
        "sys.modules['torch'] = sys.modules['torchvision'] = sys.modules['timm'] = None",
        "from denselab.cli.main import app",
        "from denselab.compiled.without_blas import leave_out_blas",
        "leave_out_blas()  # as the command does",
        f"line = ['predict', {str(exported_folder)!r}, {str(tmp_path / 'in')!r}, '--out', {str(tmp_path / 'out')!r}]",
        "app(line, standalone_mode=False)",
        "app([*line, '--engine', 'openvino'], standalone_mode=False)",
        "heavy = {'numba', 'scipy.linalg', 'scipy.ndimage', 'matplotlib', 'sympy', 'denselab.data.layouts'} & set(sys.modules)",
        "assert not heavy, heavy  # each would take as much memory as a small network",
        "told = [name for name in sys.modules if 'openvino_telemetry' in name]",
        "assert 'openvino' in sys.modules and not told, told",
    ]
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name, picture in (("own", PICTURE[:32, :32]), ("other", PICTURE), ("smaller", PICTURE[:20, :9])):
        Image.fromarray(picture).save(tmp_path / "in" / f"{name}.png")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 3


def damaged(graph: Any, place: str) -> bytes:
    """The document with one tensor that lies in another file, in one of the places where tensors can be."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    node = model.graph.node[0]
    inner = {
        "initializer": lambda: model.graph.initializer[0],
        "attribute": lambda: node.attribute[0].t,
        "list": lambda: node.attribute.add(name="more").tensors.add(),
        "subgraph": lambda: node.attribute.add(name="body").g.initializer.add(),
        "function": lambda: model.functions.add().node.add().attribute.add().t,
        "sparse": lambda: model.graph.sparse_initializer.add().values,
    }
    tensor = inner[place]()
    tensor.name, tensor.data_location = "secret", onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("place", ["initializer", "attribute", "list", "subgraph", "function", "sparse"])
def test_numbers_in_other_files_are_refused(place: str, nearest_graph: Any, engine: TorchEngine) -> None:
    """A file from elsewhere would read any file of this machine into the network."""
    content = damaged(nearest_graph, place)
    for refuse in (
        lambda: refuse_external_data(content, "model.onnx"),
        lambda: onnx_engine(content, engine.spec, "model.onnx"),
        lambda: openvino_engine(content, None, engine.spec, "model.onnx"),
    ):
        with pytest.raises(
            CheckpointError, match=r"model.onnx: the numbers of secret lie in another file \(\.\./\.\./etc"
        ):
            refuse()


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a graph", b"\x3a\x05\x0a"])
def test_what_is_no_graph_is_refused(content: bytes, engine: TorchEngine) -> None:
    with pytest.raises(CheckpointError, match="model.onnx"):
        onnx_engine(content, engine.spec, "model.onnx")
    with pytest.raises(CheckpointError, match="model.xml"):
        openvino_engine(content, b"", engine.spec, "model.xml")


def test_graphs_of_others_are_refused(nearest_graph: Any, engine: TorchEngine) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(nearest_graph)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "scores"
    for found in (
        lambda: onnx_engine(model.SerializeToString(), engine.spec, "model.onnx"),
        lambda: openvino_engine(model.SerializeToString(), None, engine.spec, "model.onnx"),
    ):
        with pytest.raises(CheckpointError, match="not written by `denselab export`"):
            found()


def test_a_damaged_exported_folder_is_refused(exported_folder: Path) -> None:
    (exported_folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="damaged"):
        denselab.load(exported_folder)


ENLARGED = """
<ir_version: 8, opset_import: ["": 18]>
enlarged (uint8[B,H,W,3] pictures) => (float[B,4,h,w] logits, float[B,4,h,w] coarse_2)
{
    numbers = Cast <to = 1> (pictures)
    planes = Transpose <perm = [0, 3, 1, 2]> (numbers)
    coarse_2 = Conv <strides = [2, 2]> (planes, weight)
    logits = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (coarse_2, , scales)
}
"""


@pytest.fixture
def enlarged() -> bytes:
    """A network that sees every second pixel, red, green or blue (its fourth class never), and enlarges what it saw."""
    model = onnx.parser.parse_model(ENLARGED)
    weight = np.eye(4, 3, dtype=np.float32)[:, :, None, None]
    numbers = {"weight": weight, "scales": np.array([1, 1, 2, 2], np.float32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in numbers.items())
    content: bytes = model.SerializeToString()
    return content


def test_one_output_is_left_with_what_leads_to_it(enlarged: bytes) -> None:
    """ONNX Runtime computes every node of a document: enlarging logits that nobody took was 2.7 ms of a picture's 20."""
    assert interface(enlarged, "a.onnx") == (["pictures"], ["logits", "coarse_2"])
    for output in ("logits", "coarse_2"):
        found, expected = onnx.load_from_string(with_output(enlarged, output)), onnx.load_from_string(enlarged)
        kept = [value for value in expected.graph.output if value.name == output]
        del expected.graph.output[:]
        expected.graph.output.extend(kept)
        if output == "coarse_2":
            assert expected.graph.node.pop().op_type == "Resize"
        assert found == expected


INNER = """
<ir_version: 8, opset_import: ["" : 18]>
graph (float[N] x, bool yes) => (float[N] logits, float[N] other) {
    seen = Neg (x)
    passed = Exp (x)
    unseen = Abs (x)
    logits = If (yes) <
        then_branch = g1 () => (float[N] doubled) { doubled = Add (seen, seen) },
        else_branch = g2 () => (float[N] passed) { }
    >
    other = Add (unseen, x)
}
"""


def test_a_graph_within_a_node_sees_what_is_around_it() -> None:
    """One branch computes with a tensor from outside, the other only passes one on."""
    found = onnx.load_from_string(with_output(onnx.parser.parse_model(INNER).SerializeToString(), "logits"))
    assert [node.op_type for node in found.graph.node] == ["Neg", "Exp", "If"]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_logits_before_their_enlargement(runtime: str, enlarged: bytes, engine: TorchEngine) -> None:
    """Several callers at once get the same; labels come from the coarse logits as from the full ones."""
    if runtime == "onnx":
        made: Any = onnx_engine(enlarged, engine.spec, "a.onnx")
    else:
        made = openvino_engine(enlarged, None, engine.spec, "a.onnx")
    picture = PICTURE[None]
    logits = made.logits(picture)[0]
    coarse = made.coarse(picture)
    assert (coarse.factor, coarse.size, coarse.values.shape) == (2, (40, 56), (4, 20, 28))
    assert np.array_equal(coarse.values[:3], PICTURE[::2, ::2].transpose(2, 0, 1).astype(np.float32))
    assert (coarse.labels() == logits.argmax(axis=0)).mean() > 0.99  # whole numbers tie now and then
    with made.side_by_side(2) as form, ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: form.coarse(picture).values, range(8)):
            assert np.array_equal(found, coarse.values)


def test_a_graph_without_that_output_has_no_coarse_logits(exported_folder: Path) -> None:
    assert denselab.load(exported_folder).engine.coarse(PICTURE[None]) is None


def test_a_second_form_is_of_the_same_model(exported_folder: Path, enlarged: bytes) -> None:
    """The document is read again for it; a folder that was replaced meanwhile holds another model."""
    opened = open_folder(exported_folder)
    first = opened.logits(PICTURE[None])
    with opened.side_by_side(2) as form:
        assert np.array_equal(form.logits(PICTURE[None]), first)
    write_folder(exported_folder, {**read_folder(exported_folder), "model.onnx": enlarged})
    with (
        opened.side_by_side(3) as form,
        pytest.raises(CheckpointError, match="was replaced while its model was in use"),
    ):
        form.logits(PICTURE[None])


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_graph_that_does_not_run_on_a_picture_is_refused(
    runtime: Any, nearest_graph: Any, exported_folder: Path
) -> None:
    """One that somebody fixed to a height ended a command as a fault of ours, in the runtime's own words alone."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(nearest_graph)
    fixed.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 17
    write_folder(exported_folder, {**read_folder(exported_folder), "model.onnx": fixed.SerializeToString()})
    opened = open_folder(exported_folder, engine=runtime)
    assert opened.logits(PICTURE[None, :17]).shape == (1, 4, 17, 56)
    with pytest.raises(CheckpointError, match=r"model.onnx does not run on a picture of 40x56 .*17"):
        opened.logits(PICTURE[None])


def test_the_hub_is_asked_once_for_a_model(exported_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked whether the model is an ensemble, and then once more for the model."""
    asked: list[str] = []

    def download(name: str, **options: object) -> str:
        asked.append(name)
        return str(exported_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    predictor = Predictor.from_pretrained("hf://someone/model", device="cpu")
    assert predictor.folder == exported_folder
    assert asked == ["someone/model"]
