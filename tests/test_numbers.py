"""Numbers of callers: whatever is none, or would have to be cut off, is refused where it comes in, by its name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import denselab as dl
from denselab.comparison.plan import Candidate, Plan
from denselab.config import make_settings
from denselab.crf import DenseCRF, Parameters
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DenseLabError, ShapeError
from denselab.inference.instances import InstanceWise
from denselab.inference.plan import plan_for
from denselab.layers.unpool import bed_of_nails
from denselab.numbers import finite, size, whole

NAN = float("nan")
NO_WHOLE_NUMBERS = [1.5, 2.0, True, "2", NAN, float("inf"), None, [2], np.float64(2), np.bool_(True), b"2"]
PICTURE = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS, ids=repr)
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ShapeError, match=r"^`n` is .*; expected a whole number$"):
        whole(value, "`n`", error=ShapeError)
    with pytest.raises(ConfigError, match="the width of `n` is .*; expected a whole number"):
        size((3, value), "`n`")


def test_whole_numbers_become_python_s() -> None:
    assert [type(whole(n, "n")) for n in (2, np.int64(2), np.uint8(2))] == [int, int, int]
    assert size(np.array([3, 4]), "n") == size([3, 4], "n") == (3, 4)
    assert whole(-2, "n") == -2
    with pytest.raises(ConfigError, match="n is -2; expected a whole number of 0 or more"):
        whole(-2, "n", 0)


@pytest.mark.parametrize("value", [4, (3,), (3, 4, 5), "34", None, np.zeros((2, 2))], ids=repr)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="`n`"):
        size(value, "`n`")


@pytest.mark.parametrize("value", [True, "2", NAN, -float("inf"), None, 1j], ids=repr)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^`x` is .*; expected a number$"):
        finite(value, "`x`")


def test_numbers_become_floats() -> None:
    assert [finite(n, "x") for n in (2, np.float32(0.5), -1.5)] == [2.0, 0.5, -1.5]


CRF = {"theta_alpha": 1, "theta_beta": 1, "w1": 1, "theta_gamma": 1, "w2": 1, "normalization": "none"}
COMPARED = {"data": "d", "candidates": (Candidate("unet"), Candidate("fcn8s")), "budget": ("time", 60.0)}

WHOLE: dict[str, Callable[[Any], object]] = {
    "id": lambda n: dl.LabelEntry(n, "road", (1, 2, 3)),
    "colour": lambda n: dl.LabelEntry(1, "road", (1, n, 3)),
    "`num_classes`": lambda n: dl.create_model("unet_small", n),
    "`in_channels`": lambda n: dl.create_model("unet_small", 2, in_channels=n),
    "`input_size`": lambda n: dl.convolutionalize(nn.Conv2d(3, 2, 1), (n, n)),
    "`boxes`": lambda n: InstanceWise(boxes=n),
    "`batch`": lambda n: InstanceWise(batch=n),
    "`smallest`": lambda n: InstanceWise(smallest=n),
    "`shift`": lambda n: InstanceWise(shift=n),
    "`seeds`": lambda n: Plan(**COMPARED, seeds=(n,)),  # type: ignore[arg-type]
    "`folds`": lambda n: Plan(**COMPARED, folds=n),  # type: ignore[arg-type]
    "CRF: iterations": lambda n: Parameters(**CRF, iterations=n),  # type: ignore[arg-type]
    "size of the CRF": lambda n: DenseCRF((3, n), 2),
    "num_classes": lambda n: DenseCRF((3, 4), n),
    "unpooling": lambda n: bed_of_nails(torch.zeros(1, 1, 2, 2), n),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [1.7, True, "2", NAN], ids=repr)
def test_no_part_of_a_number_is_cut_off(name: str, value: object) -> None:
    """An id of 1.7 was written to files as 1; others ended in torch, or made a network of True bands."""
    with pytest.raises(DenseLabError, match=f"{name}.* is .*expected a whole number"):
        WHOLE[name](value)


@pytest.mark.parametrize("window", [(32.5, 32), (True, 32), 32, (32,), (32, 32, 32), "32x32", (NAN, 32)], ids=repr)
def test_a_window_is_two_whole_numbers(window: Any, engine: TorchEngine) -> None:
    """(32.5, 32) was cut off, (32, 32, 32) taken as the first two, and others ended with a TypeError."""
    with pytest.raises(ConfigError, match="`window`"):
        plan_for(engine, window=window)


def test_a_window_may_be_any_pair(engine: TorchEngine) -> None:
    plans = [plan_for(engine, window=window) for window in ((32, 48), [32, 48], np.array([32, 48]))]  # type: ignore[arg-type]
    assert {plan.window for plan in plans} == {(32, 48)}


@pytest.mark.parametrize("samples", [2.5, True, "3", NAN, None], ids=repr)
def test_samples_are_a_whole_number(samples: Any, engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="`samples`"):
        dl.Predictor(engine)(PICTURE, uncertainty=True, samples=samples)


@pytest.mark.parametrize("alpha", [2, -0.1, "0.5", NAN, True], ids=repr)
def test_an_overlay_s_share_lies_between_0_and_1(alpha: Any, engine: TorchEngine) -> None:
    """2 gave colours of no class, NaN a black picture."""
    with pytest.raises(ConfigError, match="`alpha`"):
        dl.Predictor(engine)(PICTURE).overlay(alpha)


@pytest.mark.parametrize("crf", [1, 0, 5, 0.5], ids=repr)
def test_a_crf_is_chosen_by_true_or_name(crf: Any, engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="`crf`"):
        plan_for(engine, crf=crf)


@pytest.mark.parametrize("options", [{"seed": None}, {"seed": -1}, {"seed": 1.5}, {"seed": True}], ids=repr)
def test_a_split_needs_a_seed(options: dict[str, Any]) -> None:
    """None drew another split each time."""
    with pytest.raises(ConfigError, match="`seed`"):
        dl.open_dataset("synthetic:4", **options)


@pytest.mark.parametrize("share", ["0.2", None, NAN, True], ids=repr)
def test_a_share_of_val_is_a_number(share: Any) -> None:
    with pytest.raises(ConfigError, match="`val_fraction`"):
        dl.open_dataset("synthetic:4", val_fraction=share)


@pytest.mark.parametrize(
    "given", [{"batch": True}, {"time": True}, {"lr": True}, {"imgsz": (True, 64)}, {"workers": False}], ids=str
)
def test_a_truth_value_is_no_number_in_settings(given: dict[str, Any]) -> None:
    """`batch: yes` was a batch of one picture."""
    key = next(iter(given))
    with pytest.raises(ConfigError, match=f"{key}.*true and false are no numbers"):
        make_settings(given)


def test_truth_values_and_words_stay_what_they_were() -> None:
    read = make_settings({"flip": False, "precision": False, "pretrained": True, "batch": "4", "imgsz": "32x48"})
    assert (read.flip, read.precision, read.pretrained, read.batch, read.imgsz) == (False, "no", "yes", 4, (32, 48))
