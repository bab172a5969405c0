"""The CRF's parameters: what a choice stands for, and what is refused."""

from dataclasses import asdict, replace

import pytest

from denselab.crf import PRESETS, Parameters
from denselab.crf.parameters import changed, parameters_for
from denselab.errors import ConfigError

FEW = Parameters(10, 10, 5, 1, 1, 2, "symmetric")


def test_choices_of_parameters() -> None:
    stored = replace(FEW, w1=7.0)
    assert parameters_for(None, stored) is None
    assert parameters_for(False, stored) is None
    assert parameters_for(True, stored) == stored
    assert parameters_for(True, None) == PRESETS["deeplab_v2"]
    assert parameters_for("deconvnet", stored) == PRESETS["deconvnet"]
    assert parameters_for(FEW, stored) == FEW
    assert changed(FEW, {"w1": 3.5, "w2": None, "iterations": 0}) == replace(FEW, w1=3.5, iterations=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"theta_alpha": 0}, "theta_alpha is 0; expected more than 0"),
        ({"theta_beta": float("nan")}, "theta_beta is nan"),
        ({"w1": -1.0}, "w1 is -1.0; expected 0"),
        ({"iterations": -1}, "iterations is -1"),
        ({"normalization": "both"}, "normalization is 'both'; use one of symmetric"),
    ],
)
def test_impossible_parameters(changes: dict, message: str) -> None:
    """Whoever makes them: only the command line and the predictor looked, so `refine` took a weight of -1 without a word."""
    with pytest.raises(ConfigError, match=message):
        changed(FEW, changes)
    with pytest.raises(ConfigError, match=message):
        Parameters(**{**asdict(FEW), **changes})
