"""Everything computes what it did when values.json was written; see write_golden.py.

The bounds are for another CPU, whose sums differ in their last bits: AVX2 against AVX-512, other libraries of the same kind.
On one machine `write_golden.py --compare` finds every changed bit.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
SHARE = 0.002  # of the pixels of a label map that may change to another class

# (relative, of the deviation of all numbers of the array) by kind; documents are in `close`, all else must be equal.
# Measured with torch and oneDNN held to AVX2 and to SSE 4.1, against AVX-512: logits differ by 2e-4 of their deviation,
# probabilities by 1e-4, initial weights by 2e-6, resumed ones by 1e-7 (the four steps are short), label maps in one pixel.
# OpenBLAS has kernels of its own for Zen 4 and for Haswell, by which a tie of a resized pixel is rounded otherwise: one grey
# level in one picture, and probabilities of its windows differ by 5e-4.
BOUNDS = {
    "pixels": (0.0, 1e-4),
    "logits": (1e-3, 1e-3),
    "probs": (3e-3, 3e-3),
    "uncertainty": (1e-3, 1e-3),
    "weights": (1e-3, 1e-3),
}


def load() -> ModuleType:
    """golden.py, which lies beside this file and in no package."""
    spec = importlib.util.spec_from_file_location("golden", HERE / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load()
STORED: dict[str, dict[str, Any]] = json.loads((HERE / "values.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return golden.prepare(tmp_path_factory.mktemp("golden"))


def test_everything_that_is_stored_is_compared() -> None:
    assert list(STORED) == list(golden.parts())


@pytest.mark.parametrize("part", STORED)
def test_nothing_has_changed(part: str, work: Any) -> None:
    now = golden.summaries(golden.parts()[part](work))
    assert list(now) == list(STORED[part])
    faults = [fault for name, stored in STORED[part].items() for fault in differences(name, stored, now[name])]
    assert not faults, "\n".join(faults)


def differences(name: str, stored: Any, now: Any) -> list[str]:
    """One line for each number of a summary that is out of bounds."""
    kind = name.split("/")[0]
    if kind == "labels":
        return [] if same_counts(stored, now) else [f"{name}: pixels by class {now}, stored {stored}"]
    if kind in BOUNDS:
        relative, share = BOUNDS[kind]
        bound = share * stored[1] + relative * np.abs(stored)
        far = np.abs(np.subtract(now, stored)) > bound
        return [f"{name}: {now}, stored {stored}"] if far.any() else []
    if kind in ("scores", "metrics"):
        if list(stored) != list(now):
            return [f"{name}: keys {sorted(set(stored) ^ set(now)) or list(now)}"]
        far_keys = [key for key in stored if not close(key, stored[key], now[key])]
        return [f"{name}{key}: {now[key]}, stored {stored[key]}" for key in far_keys]
    return [] if json.loads(json.dumps(now)) == stored else [f"{name}: {now}, stored {stored}"]


def same_counts(stored: list[int], now: list[int]) -> bool:
    """Whether the pixels of each class agree but for SHARE of all pixels."""
    length = max(len(stored), len(now))
    one, other = (np.pad(counts, (0, length - len(counts))) for counts in (stored, now))
    return bool(np.abs(one - other).max() <= SHARE * one.sum())


def close(key: str, stored: Any, now: Any) -> bool:
    """Whether an entry of a document agrees: scores of all classes to 0.002, of one class or at a border to 0.02."""
    if not isinstance(stored, float) or not isinstance(now, float):
        pixels = key.endswith("predicted_pixels")
        return abs(stored - now) <= 25 if pixels else bool(stored == now)  # SHARE of four scenes
    if key.endswith("loss"):
        return abs(now - stored) <= 1e-3 * abs(stored)
    wide = "/class" in key or "boundary" in key or key.endswith(("_low", "_high"))
    return abs(now - stored) <= (2e-2 if wide else 2e-3)
