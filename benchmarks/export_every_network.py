"""Every network of `denselab models`, at thin width, exported to ONNX and run by two runtimes beside torch.

One graph for each, traced at 67x83, then run at four sizes and batches of 1 to 3, so that the dynamic axes are proved
too. Printed are the largest differences of two logits, in standard deviations of the network's. The thin networks are
those of the tests' contract (tests/models/test_contract.py): they differ from the full ones in channels only. Networks
that cut the picture into regions cannot be exported and are left out. Ends with 1 where a network failed.

    python benchmarks/export_every_network.py [--networks NAMES] [--skip-openvino]
"""

import argparse
import importlib.util
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from denselab.engine.engine import Engine
from denselab.engine.onnx_engine import onnx_engine
from denselab.engine.openvino_engine import openvino_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.export.onnx_graph import onnx_model
from denselab.export.parity import largest_difference
from denselab.export.program import coarse_factor, exported_program
from denselab.labels import LabelEntry, LabelSpace
from denselab.models.base import SegmentationModel

SHAPES = ((2, 67, 83), (1, 64, 96), (3, 75, 53), (1, 128, 160))  # batch, height, width
ALLOWED = 1e-3  # standard deviations of the logits


def main() -> int:
    """Print a row for each network. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help="comma-separated; all without it")
    parser.add_argument("--skip-openvino", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    tests = contract()
    cases: dict[str, Callable[[], SegmentationModel]] = tests.CASES
    names = options.networks.split(",") if options.networks else [name for name in cases if name not in tests.REGIONAL]
    print("| network | nodes | ONNX Runtime | OpenVINO | seconds |\n|---|---|---|---|---|")
    failed = False
    for name in names:
        started = time.perf_counter()
        try:
            row, wrong = compare(cases[name], options.skip_openvino)
        except Exception as error:
            row, wrong = f"FAILED: {type(error).__name__}: {str(error).strip().splitlines()[-1][:200]} | | ", True
        failed |= wrong
        print(f"| {name} | {row} | {time.perf_counter() - started:.0f} |", flush=True)
    return int(failed)


def contract() -> ModuleType:
    """The tests' module with the thin networks."""
    path = Path(__file__).resolve().parent.parent / "tests" / "models" / "test_contract.py"
    spec = importlib.util.spec_from_file_location("contract", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(build: Callable[[], SegmentationModel], skip_openvino: bool) -> tuple[str, bool]:
    """The cells of a network's row, and whether a runtime computes something else."""
    torch.manual_seed(0)
    network = build().eval()
    for parameter in network.parameters():  # score layers start at zero and would hide the rest
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    space = LabelSpace(tuple(LabelEntry(i, f"class {i}", (i, 0, 0)) for i in range(network.num_classes)))
    preprocessing = Preprocessing((64, 64), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    spec = ModelSpec(Architecture("thin", network.num_classes), space, preprocessing)
    engine = TorchEngine(spec, network, torch.device("cpu"))
    coarse = coarse_factor(engine)
    model = onnx_model(exported_program(engine, coarse is not None), spec, coarse=coarse)
    document = model.SerializeToString()
    found = [differences(engine, onnx_engine(document, spec, "graph", "cpu"))]
    if not skip_openvino:
        found.append(differences(engine, openvino_engine(document, None, spec, "graph", "cpu")))
    cells = [shown(by_shape) for by_shape in found] + [""] * skip_openvino
    wrong = any(not max(by_shape.values()) <= ALLOWED for by_shape in found)
    return " | ".join([str(len(model.graph.node)), *cells]), wrong


def shown(by_shape: dict[str, float]) -> str:
    """The largest difference; what is beyond the limit by shape."""
    beyond = [f"FAILED: {value:.2g} at {shape}" for shape, value in by_shape.items() if not value <= ALLOWED]
    within = [value for value in by_shape.values() if value <= ALLOWED]
    return "; ".join([*beyond, f"{max(within):.1e}"] if within else beyond)


def differences(expected: Engine, found: Engine) -> dict[str, float]:
    """The largest difference of two logits for each shape, in standard deviations."""
    by_shape = {}
    for shape in SHAPES:
        pictures = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        ours, theirs = expected.logits(pictures).numpy(), found.logits(pictures)
        assert ours.shape == theirs.shape, f"logits {theirs.shape} instead of {ours.shape}"
        by_shape["x".join(map(str, shape))] = largest_difference(ours, theirs) / float(ours.std())
    return by_shape


if __name__ == "__main__":
    sys.exit(main())
