"""Numbers of callers: whatever is none, or would have to be cut off, is refused where it comes in, by its name."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import denselab as dl
from denselab.comparison.plan import Candidate, Plan
from denselab.config import LossTerm, make_settings
from denselab.crf import DenseCRF, Parameters, refine
from denselab.crf.batch import refine_many
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import ConfigError, DenseLabError, ShapeError
from denselab.export.deploy import export
from denselab.inference.instances import InstanceWise
from denselab.inference.plan import Plan as Way
from denselab.inference.plan import plan_for
from denselab.inference.video import FilmOptions
from denselab.inspection.explanation import explain
from denselab.inspection.table import layer_table
from denselab.layers.unpool import bed_of_nails
from denselab.losses.terms import create_loss
from denselab.measure.ensembles import evaluate_ensemble
from denselab.measure.pseudo_labels import pseudo_label
from denselab.numbers import above_zero, finite, flag, listed, size, whole
from denselab.regions.graph_segments import graph_segments
from denselab.regions.search import Search

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


def test_no_truth_value_in_a_term_of_the_loss() -> None:
    """`weight: yes` was a weight of 1: only keys of the settings themselves were looked at."""
    for term in ({"name": "focal", "weight": True}, {"name": "focal", "options": {"gamma": True}}):
        with pytest.raises(ConfigError, match="losses.*true and false are no numbers"):
            make_settings({"losses": [term]})
    with pytest.raises(ConfigError, match="weight True"):
        create_loss([LossTerm("focal", True)], 3)


@pytest.mark.parametrize("value", ["no", "yes", "", 0, 1, 0.0, None, [True]], ids=repr)
def test_what_is_neither_true_nor_false_is_refused(value: object) -> None:
    with pytest.raises(ShapeError, match=r"^`x` is .*; expected True or False$"):
        flag(value, "`x`", ShapeError)


def test_truth_values_become_python_s() -> None:
    assert [flag(value, "x") for value in (True, np.True_, np.False_)] == [True, True, False]
    assert type(flag(np.True_, "x")) is bool


@pytest.mark.parametrize("value", [0, -1.0, NAN, float("inf"), True, "2", None], ids=repr)
def test_what_is_not_above_0_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^`x` is .*; expected a number above 0$"):
        above_zero(value, "`x`")


NOWHERE = Path("nowhere")
FLAGS: dict[str, Callable[[TorchEngine, Any], object]] = {
    "train.resume": lambda _, x: dl.train("d", out=NOWHERE, resume=x),
    "compare.resume": lambda _, x: dl.compare("d", out=NOWHERE, resume=x),
    "compare.cache": lambda _, x: dl.compare("d", out=NOWHERE, cache=x),
    "create_model.aux": lambda _, x: dl.create_model("unet_small", 2, aux=x),
    "check_dataset.quick": lambda _, x: dl.check_dataset(NOWHERE, quick=x),
    "check_dataset.quiet": lambda _, x: dl.check_dataset(NOWHERE, quiet=x),
    "diagnose.tta": lambda _, x: dl.diagnose(NOWHERE, NOWHERE, tta=x),
    "diagnose.store": lambda _, x: dl.diagnose(NOWHERE, NOWHERE, store=x),
    "diagnose.quiet": lambda _, x: dl.diagnose(NOWHERE, NOWHERE, quiet=x),
    "evaluate.tta": lambda _, x: dl.evaluate(NOWHERE, NOWHERE, tta=x),
    "evaluate.crf_fast": lambda _, x: dl.evaluate(NOWHERE, NOWHERE, crf_fast=x),
    "evaluate.cache": lambda _, x: dl.evaluate(NOWHERE, NOWHERE, cache=x),
    "evaluate.quiet": lambda _, x: dl.evaluate(NOWHERE, NOWHERE, quiet=x),
    "evaluate_ensemble.tta": lambda _, x: evaluate_ensemble([NOWHERE], NOWHERE, "mean", tta=x),
    "evaluate_ensemble.crf_fast": lambda _, x: evaluate_ensemble([NOWHERE], NOWHERE, "mean", crf_fast=x),
    "evaluate_ensemble.quiet": lambda _, x: evaluate_ensemble([NOWHERE], NOWHERE, "mean", quiet=x),
    "pseudo_label.tta": lambda _, x: pseudo_label(NOWHERE, NOWHERE, [], NOWHERE, tta=x),
    "pseudo_label.quiet": lambda _, x: pseudo_label(NOWHERE, NOWHERE, [], NOWHERE, quiet=x),
    "load.cache": lambda _, x: dl.load(NOWHERE, cache=x),
    "predict_dataset.redo": lambda _, x: dl.predict_dataset(None, NOWHERE, NOWHERE, redo=x),
    "predict_dataset.overlays": lambda _, x: dl.predict_dataset(None, NOWHERE, NOWHERE, overlays=x),
    "from_pretrained.local_files_only": lambda _, x: dl.Predictor.from_pretrained(NOWHERE, local_files_only=x),
    "from_pretrained.cache": lambda _, x: dl.Predictor.from_pretrained(NOWHERE, cache=x),
    "ensemble.cache": lambda e, x: dl.Predictor.ensemble([dl.Predictor(e)], cache=x),
    "push_to_hub.private": lambda e, x: dl.Predictor(e).push_to_hub("a/b", private=x),
    "__call__.tta": lambda e, x: dl.Predictor(e)(PICTURE, tta=x),
    "__call__.uncertainty": lambda e, x: dl.Predictor(e)(PICTURE, uncertainty=x),
    "__call__.crf_fast": lambda e, x: dl.Predictor(e)(PICTURE, crf_fast=x),
    "plan.tta": lambda e, x: dl.Predictor(e).plan(tta=x),
    "plan.crf_fast": lambda e, x: dl.Predictor(e).plan(crf_fast=x),
    "save.overlay": lambda e, x: dl.Predictor(e)(PICTURE).save(NOWHERE, overlay=x),
    "ensemble plan.tta": lambda e, x: dl.Predictor.ensemble([dl.Predictor(e)] * 2, cache=False).plan(tta=x),
    "Plan.flip": lambda e, x: Way((e,), flip=x),
    "Plan.crf_fast": lambda e, x: Way((e,), crf_fast=x),
    "InstanceWise.whole": lambda _, x: InstanceWise(whole=x),
    "Architecture.aux": lambda _, x: Architecture("fcn8s", 2, aux=x),
    "Architecture.frozen_norm": lambda _, x: Architecture("fcn8s", 2, frozen_norm=x),
    "export.int8": lambda _, x: export(NOWHERE, NOWHERE, int8=x),
    "export.bf16": lambda _, x: export(NOWHERE, NOWHERE, bf16=x),
    "export.labels": lambda _, x: export(NOWHERE, NOWHERE, labels=x),
    "export.quiet": lambda _, x: export(NOWHERE, NOWHERE, quiet=x),
    "explain.random": lambda e, x: explain(e, PICTURE, random=x),
    "explain.quiet": lambda e, x: explain(e, PICTURE, quiet=x),
    "layer_table.norms": lambda _, x: layer_table(nn.Conv2d(3, 2, 1), (4, 4), norms=x),
    "layer_table.joins": lambda _, x: layer_table(nn.Conv2d(3, 2, 1), (4, 4), joins=x),
    "refine.fast": lambda _, x: refine(PICTURE, np.full((2, 4, 5), 0.5, np.float32), fast=x),
    "refine_many.fast": lambda _, x: list(refine_many([], fast=x)),
}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", 1, None], ids=repr)
def test_a_flag_is_true_or_false(name: str, value: object, engine: TorchEngine) -> None:
    """`tta="no"` averaged over views, and `store="false"` wrote into the model."""
    flagged = name.rpartition(".")[2]
    with pytest.raises(ConfigError, match=f"{flagged}`? is {value!r}; expected True or False"):
        FLAGS[name](engine, value)


def test_every_flag_of_the_public_functions_is_tested() -> None:
    functions = [getattr(dl, name) for name in dl.__all__ if not isinstance(getattr(dl, name), type)]
    methods = [dl.Predictor.__call__, dl.Predictor.plan, dl.Predictor.from_pretrained, dl.Predictor.ensemble]
    methods += [dl.Predictor.push_to_hub, dl.Prediction.save]
    found = {
        f"{function.__name__}.{name}"
        for function in [*functions, *methods]
        for name, parameter in signature(function).parameters.items()
        if parameter.annotation in (bool, "bool")
    }
    assert len(found) > 20
    assert found <= set(FLAGS)


FED = {"imgsz": (8, 8), "mean": (0.5,) * 3, "std": (0.2,) * 3}
NETWORK = {"name": "fcn8s", "num_classes": 2}


@pytest.mark.parametrize(
    "given",
    [
        *({"imgsz": size} for size in [(0, 8), (8.5, 8), (-8, 8), 8, (8, 8, 8), "8x8", None]),
        *({"pad_to": size} for size in [(0, 8), 8, (8, True)]),
        *({"mean": mean} for mean in [(NAN,) * 3, (0.5,), (), 0.5, None, "0.5", (True,) * 3, ("0.5",) * 3]),
        *({"std": std} for std in [(0.2, 0, 0.2), (-0.2,) * 3, (NAN,) * 3, (0.2,), (float("inf"),) * 3]),
        *({"train_scale": scale} for scale in [0, -1, NAN, "1", None, True]),
        *({"white": white} for white in [0, -5, 4095.0, True]),
        {"fit": "crop"},
    ],
    ids=str,
)
def test_a_preprocessing_stands_for_something(given: dict[str, Any]) -> None:
    """A deviation of 0 made every pixel infinite, and all labels the first class."""
    key = next(iter(given))
    with pytest.raises(ConfigError, match=f"preprocessing: .*{key}"):
        Preprocessing(**(FED | given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        *({"num_classes": number} for number in [0, -1, 2.0, True, None, "2"]),
        *({"in_channels": number} for number in [0, 1.5, None]),
        *({"output_stride": number} for number in [0, -8, 8.0, True, "8"]),
        *({"encoder": name} for name in [5, True]),
        *({"name": name} for name in [None, 5, b"fcn8s"]),
        *({"crf_layer": layer} for layer in [True, "yes", 5]),
    ],
    ids=str,
)
def test_an_architecture_is_one_that_a_network_may_have(given: dict[str, Any]) -> None:
    key = next(iter(given))
    with pytest.raises(ConfigError, match=f"architecture: {key} is"):
        Architecture(**(NETWORK | given))  # type: ignore[arg-type]


def test_numbers_of_a_model_become_python_s() -> None:
    """What numpy computed (mean, std) is stored as JSON."""
    fed = Preprocessing(np.array([8, 9]), np.full(3, 0.5, np.float32), np.full(3, 0.25), np.float64(2))  # type: ignore[arg-type]
    assert fed == Preprocessing((8, 9), (0.5,) * 3, (0.25,) * 3, 2.0)
    assert [type(value) for value in (*fed.imgsz, *fed.mean, *fed.std, fed.train_scale)] == [int] * 2 + [float] * 7
    assert type(Architecture("fcn8s", np.int64(2)).num_classes) is int  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0, -1, NAN, "1", True, None], ids=repr)
def test_a_temperature_is_above_0(temperature: Any, engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="temperature is"):
        replace(engine.spec, temperature=temperature)


def test_a_model_has_the_classes_of_its_table(engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="the label table has .* classes, the network 21"):
        ModelSpec(Architecture("fcn8s", 21), engine.spec.label_space, engine.spec.preprocessing)


@pytest.mark.parametrize(
    "given",
    [{"most": 0}, {"most": 2.5}, {"least_side": True}, {"seed": -1}, {"seed": None}, {"strategies": ["fast"]}],
    ids=str,
)
def test_a_search_for_segments_is_one_that_can_be_made(given: dict[str, Any]) -> None:
    """A seed of -1 ended in numpy, at the first picture."""
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}`"):
        Search(**given)


@pytest.mark.parametrize("given", [{"k": NAN}, {"k": 0}, {"least": 1.5}, {"sigma": NAN}, {"sigma": -1}], ids=str)
def test_segments_of_a_graph_need_numbers(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}`"):
        graph_segments(np.zeros((4, 5, 3)), **({"k": 10.0, "least": 1} | given))


@pytest.mark.parametrize("pixel", [(1, 2, 3), (1.5, 2), (True, 0), (-1, 0), (0, 5)], ids=repr)
def test_a_pixel_to_explain_lies_in_the_picture(pixel: Any, engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match="`pixel`"):
        explain(engine, PICTURE, pixel=pixel)


@pytest.mark.parametrize("value", [5, None, "unet", b"unet", Path("runs/a"), 0.5], ids=repr)
def test_what_is_no_list_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^`x` is .*; expected a list"):
        listed(value, "`x`")


def test_lists_become_tuples() -> None:
    assert listed([1, 2], "x") == listed(range(1, 3), "x") == listed(np.array([1, 2]), "x") == (1, 2)
    assert listed([], "x") == ()


LISTS: dict[str, Callable[[TorchEngine, Any], object]] = {
    "seeds": lambda _, x: dl.compare("d", out=NOWHERE, seeds=x),
    "ways": lambda _, x: dl.compare("d", out=NOWHERE, ways=x),
    "with_": lambda _, x: dl.compare("d", out=NOWHERE, with_=x),
    "models": lambda _, x: evaluate_ensemble(x, NOWHERE, "mean"),
    "models of an ensemble": lambda _, x: dl.Predictor.ensemble(x),
    "pictures": lambda _, x: pseudo_label(NOWHERE, NOWHERE, x, NOWHERE),
    "display_bands": lambda e, x: dl.Predictor(e).plan(display_bands=x),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("value", [5, "runs/a"], ids=repr)
def test_one_value_is_no_list(name: str, value: object, engine: TorchEngine) -> None:
    """`seeds=5` ended with Python's TypeError, and a folder as a word was taken letter by letter."""
    with pytest.raises(ConfigError, match=f"`{name.split()[0]}` is {value!r}; expected a list, such as"):
        LISTS[name](engine, value)


def test_several_models_are_no_number() -> None:
    with pytest.raises(ConfigError, match="`models` is 5; expected a list"):
        dl.compare("d", out=NOWHERE, models=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`models` is 5; expected a list"):
        dl.diagnose(5, NOWHERE)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", [600, "10m", ("time",), ("time", None), ("steps", 2.5), ("time", True)], ids=repr)
def test_a_budget_is_a_key_and_a_number(budget: Any) -> None:
    with pytest.raises(ConfigError, match="`budget`"):
        dl.compare("d", out=NOWHERE, budget=budget)


def test_a_budget_of_time_may_be_in_words() -> None:
    """("time", "10m") was taken, and ended the comparison where its command is written."""
    plan = Plan("d", COMPARED["candidates"], ("time", "10m"))  # type: ignore[arg-type]
    assert plan.budget == ("time", 600.0)
    assert "--budget time 600s" in plan.command()


@pytest.mark.parametrize("settings", [5, "lr=0.1", ["lr"]], ids=repr)
def test_settings_are_keys_and_values(settings: Any) -> None:
    with pytest.raises(ConfigError, match="keys and values"):
        dl.compare("d", out=NOWHERE, settings=settings)
    with pytest.raises(ConfigError, match="keys and values"):
        dl.train("d", out=NOWHERE, settings=settings)


def test_a_comparison_measures_val_or_test() -> None:
    with pytest.raises(ConfigError, match="`split` 'train'; use val or test"):
        Plan(**COMPARED, split="train")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"every": 0}, {"every": 2.5}, {"every": True}, {"smooth": "median"}], ids=str)
def test_a_film_is_run_as_it_can_be(given: dict[str, Any]) -> None:
    """Every 0th frame ended in itertools; another word counted as the mean."""
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}`"):
        FilmOptions(**given)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_a_check_has_a_whole_number_of_threads(workers: Any) -> None:
    with pytest.raises(ConfigError, match="`workers`"):
        dl.check_dataset("synthetic:4", workers=workers, quiet=True)
