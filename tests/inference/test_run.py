"""One picture through a plan: whole, by windows, and when memory runs out."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from denselab.engine import torch_engine
from denselab.engine.engine import Pictures
from denselab.engine.spec import Fit
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ResourceError
from denselab.inference import route
from denselab.inference.plan import plan_for
from denselab.inference.run import labels_of, probs_of, run
from denselab.inference.sinks import LabelSink


def scene(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_preprocessing(engine: TorchEngine, **changes: object) -> TorchEngine:
    preprocessing = replace(engine.spec.preprocessing, **changes)  # type: ignore[arg-type]
    return replace(engine, spec=replace(engine.spec, preprocessing=preprocessing))


@pytest.mark.parametrize(
    ("fit", "size", "working"),
    [("inside", (30, 100), (10, 32)), ("shrink", (20, 33), (19, 32)), ("shorter", (20, 21), (32, 33))],
)
def test_labels_and_probabilities_come_from_the_same_run(
    engine: TorchEngine, fit: Fit, size: tuple[int, int], working: tuple[int, int]
) -> None:
    """Of converted weights, probabilities were computed at the working size fitted into itself once more: 19x31, 31x33."""
    plan = plan_for(with_preprocessing(engine, fit=fit))
    labels_of(plan, scene(*size))
    probs_of(plan, scene(*size))
    assert [run[2:] for run in engine.network.runs] == [working] * 2


def test_one_run_gives_labels_and_probabilities_where_both_are_wanted(engine: TorchEngine) -> None:
    image = scene(20, 30)
    kept = run(plan_for(engine), image, keep_probs=True)
    assert np.array_equal(kept.labels, kept.probs.argmax(axis=0))
    assert len(engine.network.runs) == 1
    later = run(plan_for(engine), image)
    assert np.array_equal(later.probs, kept.probs)
    assert len(engine.network.runs) == 3


@dataclass(frozen=True)
class Cramped(TorchEngine):
    """Runs out of memory with pictures above 40 pixels in height or width."""

    def logits(self, pictures: Pictures) -> torch.Tensor:
        if max(pictures.shape[1:3]) > 40:
            raise MemoryError("no room")
        return super().logits(pictures)


@pytest.mark.parametrize("options", [{}, {"tta": True}])
def test_running_out_of_memory_goes_on_with_windows(
    engine: TorchEngine, options: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For labels and for probabilities, with views and without; once it was for plain labels alone."""
    monkeypatch.setattr(route, "AUTO_WINDOW", (32, 32))
    large = with_preprocessing(engine, imgsz=(64, 64))
    plan = plan_for(Cramped(large.spec, large.network, large.device), **options)
    image = np.kron(np.array([[0, 1], [1, 0]], np.uint8) * 255, np.ones((32, 32), np.uint8))[..., None].repeat(3, 2)
    image[..., 1:] = 0  # black and red quarters
    expected = image[..., 0] // 255
    assert np.array_equal(labels_of(plan, image), expected)
    assert np.array_equal(probs_of(plan, image).argmax(axis=0), expected)
    assert capsys.readouterr().err.count("going on with windows of 32x32") == 2


class Late(TorchEngine):
    """Runs out of memory once, at the third window of 64 pixels, when the first row of windows is done."""

    asked = 0

    def logits(self, pictures: Pictures) -> torch.Tensor:
        type(self).asked += pictures.shape[1] == 64
        if pictures.shape[1] == 64 and self.asked == 3:
            raise MemoryError("no room")
        return super().logits(pictures)


def test_a_confidence_counts_no_block_twice(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen before memory ran out was counted, and then once more in smaller windows."""
    monkeypatch.setattr(route, "SMALLEST_TRIED", 32)
    image = scene(90, 90)
    image[:45] = (255, 0, 0)
    given = engine.spec, engine.network, engine.device
    whole = run(plan_for(engine, window=(32, 32)), image)
    late = run(plan_for(Late(*given), window=(64, 64)), image)
    assert Late.asked == 3
    assert late.confidence == whole.confidence


def test_a_confidence_is_told_which_numbers_are_probabilities() -> None:
    """It guessed by their sum: logits of 1 and 0 made it certain."""
    planes = np.stack([np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)])
    for logits, expected in ((True, np.e / (np.e + 1)), (False, 1.0)):
        sink = LabelSink(2, (8, 8))
        sink.take(0, 0, planes, logits)
        assert sink.confidence.mean == pytest.approx(expected)


def test_a_confidence_is_the_same_from_logits_and_from_probabilities(engine: TorchEngine) -> None:
    image = scene(40, 60)
    assert run(plan_for(engine), image).confidence == pytest.approx(
        run(plan_for(engine), image, keep_probs=True).confidence, rel=1e-5
    )


def test_a_window_that_does_not_fit_either_is_an_error(engine: TorchEngine) -> None:
    plan = plan_for(Cramped(engine.spec, engine.network, engine.device), window=(64, 64))
    with pytest.raises(MemoryError, match="no room"):
        labels_of(plan, scene(100, 100))


def test_what_would_not_fit_is_windowed_by_itself(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 MiB holds 4096 network pixels at once; 128x128 is run in windows at the same scale."""
    monkeypatch.setattr(torch_engine, "device_memory", lambda device: 16 * 2**20)
    monkeypatch.setattr(route, "AUTO_WINDOW", (32, 32))
    large = with_preprocessing(engine, imgsz=(128, 128))
    labels_of(plan_for(large), scene(64, 64))
    assert {run[2:] for run in large.network.runs} == {(32, 32)}


def test_probabilities_too_large_for_the_machine_are_refused(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denselab.inference.run.total_memory", lambda: 2**20)
    with pytest.raises(ResourceError, match=r"500x500 pixels \(height x width\) and 4 classes need 4 MiB"):
        probs_of(plan_for(engine), np.zeros((500, 500, 3), np.uint8))


def test_windows_read_only_their_own_part(engine: TorchEngine, tmp_path: Path) -> None:
    """A picture only has to give [rows, columns]: one that is mapped from a file is never read as a whole."""
    image = scene(90, 70)
    np.save(tmp_path / "picture.npy", image)
    plan = plan_for(engine, window=(32, 32))
    assert np.array_equal(labels_of(plan, np.load(tmp_path / "picture.npy", mmap_mode="r")), labels_of(plan, image))


def test_the_crf_step_can_be_another(engine: TorchEngine) -> None:
    seen = []

    def invert(image: np.ndarray, probs: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return 1 - probs

    image = scene(20, 30)
    inverted = run(plan_for(engine, crf="deeplab_v2"), image, crf_step=invert)
    assert seen == [(20, 30, 3)]
    assert np.array_equal(inverted.labels, probs_of(plan_for(engine), image).argmin(axis=0))
