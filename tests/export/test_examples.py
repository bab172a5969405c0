"""The example program for people without DenseLab: it runs, gives the label ids of `predict`, and needs three packages."""

import ast
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from tests.test_docs import python_blocks

from denselab.data.resizing.resize import resize_image
from denselab.engine.enlarge import label_maps
from denselab.engine.torch_engine import TorchEngine
from denselab.export.labels_graph import labels_model
from denselab.inference.prediction import file_table

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_labels.py"


def test_the_example_writes_the_label_ids(
    pixelwise: TorchEngine,
    graph: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, photo, target = (tmp_path / name for name in ("labels.onnx", "photo.png", "labels.png"))
    model.write_bytes(labels_model(graph, pixelwise.spec, antialias=True).SerializeToString())
    picture = np.random.default_rng(4).integers(0, 256, (50, 31, 3), dtype=np.uint8)
    PILImage.fromarray(picture).save(photo)
    monkeypatch.setattr(sys, "argv", ["onnx_labels.py", str(model), str(photo), str(target)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    seen = resize_image(picture, pixelwise.spec.preprocessing.working_size((50, 31)))[None]
    expected = file_table(pixelwise.spec.label_space)[label_maps(pixelwise.logits(seen), (50, 31))[0]]
    found = np.asarray(PILImage.open(target))
    assert (found != expected).mean() < 0.02  # this network tells classes by single grey values
    shares = {line.rsplit(maxsplit=2)[0]: float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()}
    ids = {entry.name: entry.id for entry in pixelwise.spec.label_space.entries}
    assert shares == {name: pytest.approx(100 * (found == ids[name]).mean(), abs=0.051) for name in shares}
    assert sum(shares.values()) == pytest.approx(100, abs=0.2)


def test_the_lines_of_the_page(
    pixelwise: TorchEngine, graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = [block for block in python_blocks("export.md") if "labels.onnx" in block]
    (tmp_path / "exported").mkdir()
    model = labels_model(graph, pixelwise.spec, antialias=True)
    (tmp_path / "exported" / "labels.onnx").write_bytes(model.SerializeToString())
    PILImage.fromarray(np.full((50, 31, 3), 99, np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(block, "docs/export.md", "exec"), found)
    assert found["labels"].shape == (50, 31)
    assert set(np.unique(found["labels"])) <= {entry.id for entry in pixelwise.spec.label_space.entries}


def test_the_example_needs_no_denselab() -> None:
    nodes = list(ast.walk(ast.parse(EXAMPLE.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in plain | origins}
    assert roots == {"json", "sys", "numpy", "onnxruntime", "PIL"}
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 30
