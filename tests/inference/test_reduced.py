"""Pictures that are reduced far more than those of the training: a line names the window that keeps the scale."""

from dataclasses import replace

import pytest

from denselab.engine.torch_engine import TorchEngine
from denselab.inference.plan import Plan
from denselab.inference.reduced import reduction, warn_of_reduction


def test_a_strip_is_told_of(engine: TorchEngine, capsys: pytest.CaptureFixture[str]) -> None:
    """A strip twenty times as long came out empty without a word. The training's scale is 1; the box is imgsz."""
    height, width = engine.spec.preprocessing.imgsz
    plan = Plan((engine,))
    strip = (height, 20 * width)
    assert reduction(plan, strip) == 20
    assert reduction(plan, (height, width)) == 1
    assert reduction(replace(plan, window=(height, width)), strip) == 1
    warn_of_reduction(plan, {"strip.jpg": strip, "usual.jpg": (height, width)})
    told = capsys.readouterr().err
    assert "1 picture reached the network much smaller than those of the training (strip.jpg: 20 times)" in told
    assert f"`window` {height}x{width} keeps the training's scale" in told
    warn_of_reduction(plan, {"usual.jpg": (height, width)})
    assert not capsys.readouterr().err


def test_the_scale_of_the_training_counts(engine: TorchEngine) -> None:
    """Pictures that the training halved too are reduced by nothing more."""
    height, width = engine.spec.preprocessing.imgsz
    halved = replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, train_scale=0.5))
    assert reduction(Plan((replace(engine, spec=halved),)), (2 * height, 2 * width)) == 1
