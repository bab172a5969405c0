"""Many pictures: order, bounded memory, failures that do not stop the rest; and the threads below."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from denselab.crf import PRESETS, refine
from denselab.crf import workspace as workspace_module
from denselab.crf.batch import Job, refine_many
from denselab.crf.memory import expected_vertices, predicted_bytes
from denselab.crf.threads import parts, run
from denselab.crf.workspace import Workspace
from denselab.errors import ConfigError, ResourceError


def job(scene: Callable[..., Any], number: int) -> Job:
    image, unary = scene(14 + number, 20, 3, number)
    probabilities = np.exp(-unary)
    return Job(f"picture {number}", image, probabilities / probabilities.sum(0))


def test_order_and_results(scene: Callable[..., Any]) -> None:
    jobs, counts = [job(scene, i) for i in range(5)], []
    results = list(refine_many(iter(jobs), "deeplab_v1", workers=2, progress=counts.append))
    assert [result.name for result in results] == [f"picture {i}" for i in range(5)]
    assert counts == [1, 2, 3, 4, 5]
    for given, result in zip(jobs, results, strict=True):
        expected = refine(given.image, given.probabilities, "deeplab_v1", threads=1)
        np.testing.assert_array_equal(result.marginals, expected)


def test_memory_bounds_how_far_it_reads_ahead(scene: Callable[..., Any]) -> None:
    """With room for one picture and a half, the next is loaded but not begun before the last is handed over."""
    read: list[int] = []

    def loading() -> Iterator[Job]:
        for i in range(4):
            read.append(i)
            yield job(scene, 0)

    allowed = predicted_bytes(14, 20, 3, "deeplab_v1") * 3 // 2
    for done, _ in enumerate(refine_many(loading(), "deeplab_v1", workers=4, memory=allowed)):
        assert len(read) <= done + 2
    assert len(read) == 4


def test_fine_deviations_are_predicted_to_need_more() -> None:
    """The numbers of vertices that a lattice of a 360x480 road scene had, per pixel (CamVid, theta_alpha and theta_beta)."""
    counted = {
        (80.0, 13.0): 0.060,
        (80.0, 3.0): 0.625,
        (67.0, 3.0): 0.69,
        (40.0, 5.0): 0.468,
        (160.0, 30.0): 0.008,
        (10.0, 2.0): 2.548,
    }
    for (alpha, beta), vertices in counted.items():
        parameters = replace(PRESETS["pydensecrf"], theta_alpha=alpha, theta_beta=beta)
        assert vertices < expected_vertices(parameters) < 1.6 * vertices
    fine, coarse = (predicted_bytes(360, 480, 12, name) for name in ("deeplab_v2", "pydensecrf"))
    assert fine > 1.5 * coarse


def test_a_failure_is_one_picture(scene: Callable[..., Any]) -> None:
    good = job(scene, 1)
    bad = Job("bad", good.image, good.probabilities[:, ::2])
    results = list(refine_many([good, bad, good], workers=2))
    assert [result.error is None for result in results] == [True, False, True]
    assert "expected" in str(results[1].error)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_picture_too_large_is_returned_with_its_error_in_its_place(scene: Callable[..., Any], workers: int) -> None:
    """It raised out of the generator: the rest of the pictures was lost, those already refined included."""
    large = Job("large", np.zeros((200, 300, 3), np.uint8), np.full((3, 200, 300), 1 / 3, np.float32))
    jobs, counts = [job(scene, 0), large, job(scene, 1), job(scene, 2), large], []
    allowed = predicted_bytes(20, 20, 3, "deeplab_v1") * 4
    results = list(refine_many(iter(jobs), "deeplab_v1", workers, allowed, counts.append))
    assert [result.name for result in results] == ["picture 0", "large", "picture 1", "picture 2", "large"]
    assert [result.error is None for result in results] == [True, False, True, True, False]
    assert [result.marginals is None for result in results] == [False, True, False, False, True]
    assert counts == [1, 2, 3, 4, 5]
    assert isinstance(results[1].error, ResourceError)
    message = (
        r"large: the CRF of 200x300 pixels \(height x width\) and 3 classes needs about \d+ MiB, "
        r"allowed are \d+ MiB; refine parts of"
    )
    assert re.match(message, str(results[1].error))


def test_too_few_workers() -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        list(refine_many([], workers=0))


def test_run_keeps_order_and_passes_errors_on() -> None:
    assert run([lambda i=i: i * i for i in range(20)], 3) == [i * i for i in range(20)]  # type: ignore[misc]

    def fails() -> int:
        raise KeyError("this one")

    with pytest.raises(KeyError, match="this one"):
        run([fails, lambda: 1, lambda: 2], 2)


def test_parts() -> None:
    assert parts(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert parts(10, 2, 8) == [(0, 8), (8, 10)]
    assert parts(3, 8) == [(0, 1), (1, 2), (2, 3)]
    assert parts(1, 4, 64) == [(0, 1)]


def test_the_crf_needs_numpy_and_numba_alone() -> None:
    """No torch, no scipy, no rich: the package serves where the rest is not installed."""
    code = """
import sys
for name in ("torch", "torchvision", "timm", "scipy", "PIL", "rich", "pydantic", "matplotlib"):
    sys.modules[name] = None
import numpy as np
import denselab.crf, denselab.crf.pydensecrf, denselab.crf.batch
print(denselab.crf.DenseCRF((2, 2), 2).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 2)", done.stderr


def test_workspaces_hand_their_memory_on() -> None:
    """The next owner gets the block that the last one left, aligned; blocks of another size stay where they are."""

    class Owner:
        pass

    workspace_module._kept.clear()  # other tests leave theirs
    owner = Owner()
    first = Workspace(owner).floats(12_345)
    assert first.ctypes.data % 64 == 0
    place, first = first.ctypes.data, first[:0]
    del owner
    other = Owner()
    workspace = Workspace(other)
    assert workspace.floats(40_000).ctypes.data != place
    assert workspace.integers(12_000).ctypes.data == place
    assert workspace.integers(12_000).ctypes.data != place
    assert workspace.floats(0).size == 0
