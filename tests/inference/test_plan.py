"""Options become a plan, or are refused with what is wrong."""

import pytest

from denselab.crf import PRESETS
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError
from denselab.inference.plan import SCALES, Plan, plan_for


def test_options_become_a_plan(engine: TorchEngine) -> None:
    assert plan_for(engine) == Plan((engine,))
    assert plan_for(engine, tta=True, window=(32, 48)) == Plan((engine,), (32, 48), SCALES, True)
    refining = plan_for(engine, crf=True, crf_fast=True)
    assert (refining.crf, refining.crf_fast) == (PRESETS["deeplab_v2"], True)
    assert refining.without_crf() == plan_for(engine)
    assert plan_for(engine, crf_fast=True) == plan_for(engine), "nothing to be fast with"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": (8, 512)}, "`window` 8x512; use at least 16x16"),
        ({"scales": ()}, "test-time scales"),
        ({"scales": (0.0, 1.0)}, "test-time scales"),
        ({"samples": 1}, "`samples` 1; an uncertainty needs 2 at least"),
        ({"samples": -3}, "`samples` -3; "),
        ({"engines": ()}, "0 engines"),
    ],
)
def test_what_makes_no_sense_is_refused(engine: TorchEngine, wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan(**{"engines": (engine,), **wrong})


def test_an_unknown_preset_and_samples_without_dropout_are_refused(engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="nothing"):
        plan_for(engine, crf="nothing")
    with pytest.raises(ConfigError, match="no dropout layer"):
        plan_for(engine, samples=2)
