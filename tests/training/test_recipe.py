"""The default recipe: what it chooses by data and device, and that what the user said stays."""

import math
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
import torch

from denselab.config import Settings, TrainConfig, make_config, make_settings
from denselab.errors import ConfigError
from denselab.training import precision, recipe
from denselab.training.detail import SMALLEST_AREA, Detail
from denselab.training.precision import default_precision
from denselab.training.recipe import (
    CPU_AREA,
    ENCODER_RATES,
    GPU_AREA,
    PASSES_WANTED,
    STEPS_WANTED,
    TUNING_PASSES,
    WORTH_AREA,
    Facts,
    choose_recipe,
)

STREETS = Facts(pictures=367, size=(360, 480), num_classes=11, device="cpu", cores=2, normalised=True, score_inputs=256)


def test_what_the_user_said_stays_and_the_rest_is_explained() -> None:
    config, choices = choose_recipe(
        make_settings({"data": "d", "lr": 0.5, "time": "10m", "batch": None}), STREETS, None
    )
    assert config.lr == 0.5
    assert config.time == 600
    chosen = {choice.key: choice for choice in choices}
    assert "lr" not in chosen
    assert "time" not in chosen
    assert chosen["batch"].value == config.batch, "None is what the user left open"
    assert all(choice.reason for choice in choices)
    for choice in choices:
        assert make_config({**config.model_dump(), choice.key: choice.value}) == config


def test_pictures_are_as_large_as_the_time_allows() -> None:
    def area(rate: float, time: str) -> int:
        config, _ = choose_recipe(make_settings({"data": "d", "time": time}), STREETS, rate)
        return config.crop_size[0] * config.crop_size[1]

    enough = STEPS_WANTED * 8 / 600  # pictures per second that just reach the wanted steps in 10 minutes
    assert area(enough, "10m") == CPU_AREA
    assert area(enough, "5m") < CPU_AREA < area(enough, "20m")
    assert area(enough / 1000, "10m") >= SMALLEST_AREA / 2, "a machine busy at the wrong moment ends at small pictures"
    assert area(enough * 1000, "10m") <= STREETS.size[0] * STREETS.size[1], "never larger than the pictures"


def test_the_size_of_a_timed_run_goes_in_steps() -> None:
    """Each run of the same command had another size, by what else the machine did while the trial step was timed."""

    def size(rate: float) -> tuple[int, int]:
        return choose_recipe(make_settings({"data": "d", "time": "10m"}), STREETS, rate)[0].crop_size

    for rate in (STEPS_WANTED * 8 / 600, PASSES_WANTED * STREETS.pictures / 600 * 2):
        assert {size(rate * noise) for noise in (0.86, 0.95, 1.0, 1.05, 1.16)} == {size(rate)}
    sizes = {size(rate * 1.01**step) for step in range(-600, 100)}
    assert len(sizes) == 9, "from a quarter of the usual area to the pictures' own, in steps of 1.4"


@pytest.mark.parametrize(
    ("size", "device", "time", "rate", "why"),
    [
        ((360, 480), "cpu", None, None, "about 192x256 pixels: what a CPU trains at a useful rate"),
        ((100, 100), "cpu", None, None, "the pictures' own size, in multiples of 16"),
        ((360, 480), "cuda", None, None, "the pictures' own size, in multiples of 16"),
        ((3000, 4000), "cuda", None, None, "about 512x512 pixels: what a GPU trains at a useful rate"),
        ((360, 480), "cpu", "10m", 12.2, "larger ones would leave too few passes over 367 pictures in the time"),
        ((360, 480), "cpu", "1m", 12.2, "larger ones would leave fewer than 100 steps in the time"),
        ((360, 480), "cpu", "10s", 12.2, "the smallest that is taken: the time is short for 367 pictures"),
        ((360, 480), "cpu", "60m", 12.2, "the pictures' own size, in multiples of 16"),
        ((100, 100), "cpu", "10m", 12.2, "the pictures' own size, in multiples of 16"),
    ],
)
def test_the_reason_for_a_size_is_true(
    size: tuple[int, int], device: str, time: str | None, rate: float | None, why: str
) -> None:
    """Pictures of 100x100 were said to have about 192x256 pixels, and the passes wanted to fit where fewer did."""
    given = {"data": "d", "time": time} if time else {"data": "d"}
    _, choices = choose_recipe(make_settings(given), replace(STREETS, size=size, device=device), rate)
    assert next(choice.reason for choice in choices if choice.key == "imgsz") == why


PLATES = replace(STREETS, pictures=20, size=(2000, 3000), val_pictures=10)
CRACK = Detail(0.75, "crack", 0.85, 0.75**2 * 2000 * 3000)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_large_pictures_of_thin_things_keep_their_size_and_a_step_sees_a_part(device: str) -> None:
    """They were shrunk to twice the usual area, where no crack of three pixels is left, and the user was told a size."""
    config, choices = choose_recipe(Settings(data="d"), replace(PLATES, device=device, detail=CRACK), None)
    assert config.imgsz == (1488, 2240), "0.75 of 2000x3000, in multiples of 16"
    usual = GPU_AREA if device == "cuda" else CPU_AREA
    assert 0.8 * usual < config.crop_size[0] * config.crop_size[1] <= usual
    reasons = {choice.key: (choice.told, choice.reason) for choice in choices}
    assert reasons["imgsz"][0] == "1488x2240"
    assert reasons["imgsz"][1].startswith("smaller, 'crack' would lose over 15% of its IoU to the size alone; 0.85 ")
    assert reasons["crop"][1].startswith("a step sees a part of each picture; about ")  # so many pixels
    times = 4 if device == "cuda" else 5  # at most, and the root of 12.7 and of 68
    assert config.epochs == times * recipe.default_epochs(device), "a pass sees a part of each picture"
    assert reasons["epochs"][1].startswith(f"{times} times the usual length on a ")


@pytest.mark.parametrize("pretrained", [True, False])
def test_crops_of_many_pictures_are_large_in_short_runs_too(pretrained: bool) -> None:
    """A minute of CamVid took crops of 96x128, for 20 passes that it never made: mIoU 0.41 against 0.63."""
    streets = replace(STREETS, pretrained=pretrained, detail=Detail(1.0, "pole", 1.0, 360 * 480))
    rate = STEPS_WANTED * 8 * WORTH_AREA / CPU_AREA / 60  # just so many steps in a minute

    def crop(time: str, facts: Facts = streets) -> tuple[tuple[int, int], str]:
        config, choices = choose_recipe(make_settings({"data": "d", "time": time}), facts, rate)
        return config.crop_size, next(choice.reason for choice in choices if choice.key == "crop").split("; ")[1]

    steps = "larger ones would leave fewer than 100 steps in the time"
    passes = "larger ones would leave too few passes over 367 pictures in the time"
    assert crop("30s") == ((192, 256), steps)
    assert crop("1m") == ((256, 352), steps)
    assert crop("3m") == crop("8m") == ((256, 352), passes)
    assert crop("12m") == ((320, 416), passes), "by 20 passes"
    assert crop("8m", replace(streets, pictures=5000))[0] == (256, 352), "however many pictures"
    assert crop("30s", replace(streets, pictures=16)) == ((256, 352), steps), "in batches of 4"


def test_from_imagenet_weights_pictures_that_may_be_shrunk_need_fewer_passes() -> None:
    rate = TUNING_PASSES * STREETS.pictures / 600 * 4
    settings = make_settings({"data": "d", "time": "10m"})
    areas = [
        math.prod(choose_recipe(settings, replace(STREETS, pretrained=pretrained), rate)[0].imgsz)
        for pretrained in (True, False)
    ]
    assert areas == [352 * 480, 320 * 416], "twelve passes of the whole, twenty of less"


def test_pictures_are_no_larger_than_can_be_validated() -> None:
    """By the memory of the device, and by the time of the run, of which a validation may take a twentieth."""
    facts = replace(PLATES, detail=CRACK)
    tight, choices = choose_recipe(Settings(data="d"), replace(facts, most_pixels=600_000), None)
    assert 500_000 < tight.imgsz[0] * tight.imgsz[1] <= 600_000
    why = next(choice.reason for choice in choices if choice.key == "imgsz")
    assert why == "'crack' needs 1500x2250, which `imgsz` sets; this is what memory and time allow for validations"
    minute, hour = (choose_recipe(make_settings({"data": "d", "time": t}), facts, 10.0)[0] for t in ("1m", "1h"))
    pixels = minute.imgsz[0] * minute.imgsz[1]
    # a validation of 10 pictures at 10 * CPU_AREA / 0.3 pixels per second
    assert 0.9 * 0.05 * 60 * CPU_AREA / 0.3 < pixels <= 0.05 * 60 * CPU_AREA / 0.3
    assert hour.imgsz == (1488, 2240)


def test_who_sets_a_crop_gets_pictures_of_their_own_size() -> None:
    config, choices = choose_recipe(make_settings({"data": "d", "crop": "256x256"}), PLATES, None)
    assert (config.imgsz, config.crop) == ((2000, 3000), (256, 256))
    assert "crop" not in {choice.key for choice in choices}
    config, _ = choose_recipe(make_settings({"data": "d", "crop": "256x256"}), replace(PLATES, size=(100, 400)), None)
    assert (config.imgsz, config.crop) == ((256, 400), (256, 256)), "a strip is not enlarged by a box that is higher"
    config, _ = choose_recipe(make_settings({"data": "d", "imgsz": "96x128"}), PLATES, None)
    assert (config.imgsz, config.crop) == ((96, 128), None)
    config, _ = choose_recipe(make_settings({"data": "d", "crop": "64x64", "imgsz": "96x128"}), PLATES, None)
    assert (config.imgsz, config.crop) == ((96, 128), (64, 64))
    with pytest.raises(ConfigError, match="crop 128x64 is larger than imgsz 96x128"):
        make_settings({"crop": "128x64", "imgsz": "96x128"})


def test_good_from_50_pictures_on_is_said_of_50_pictures() -> None:
    settings = make_settings({"data": "d"})
    few, many = (recipe.choose_network(settings, pictures)[1][0].reason for pictures in (5, 50))
    assert (few, many) == ("light, and exact at borders", "light, and exact at borders, and good from 50 pictures on")


def test_pictures_are_as_large_as_the_time_that_is_left_allows() -> None:
    """In a new installation half a minute of compiling was counted as time for steps: one was made, of large pictures."""
    settings = make_settings({"data": "d", "time": "10m"})
    areas = [
        math.prod(choose_recipe(settings, replace(STREETS, spent=spent), 1.3)[0].imgsz) for spent in (0.0, 300.0, 900.0)
    ]
    assert areas[0] == pytest.approx(2 * areas[1], rel=0.15)
    assert areas[2] > 0, "a run whose start took all of its time still has a size"


@pytest.mark.parametrize("size", [(360, 480), (37, 53), (4000, 3000), (1, 1), (30, 2000)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_sizes_are_multiples_of_16_and_within_the_area(size: tuple[int, int], device: str) -> None:
    config, _ = choose_recipe(Settings(data="d"), replace(STREETS, size=size, device=device), None)
    assert all(side >= 16 and side % 16 == 0 for side in config.imgsz)
    limit = GPU_AREA if device == "cuda" else CPU_AREA
    assert config.imgsz[0] * config.imgsz[1] <= limit or 16 in config.imgsz
    assert config.crop is None


@pytest.mark.parametrize("fact", [{"normalised": False}, {"score_inputs": 18_432}])
def test_networks_without_normalisation_and_with_wide_scores_learn_slowly_and_clipped(fact: dict[str, Any]) -> None:
    config, _ = choose_recipe(Settings(data="d"), replace(STREETS, **fact), None)
    assert (config.lr, config.clip_norm) == (1e-4, 1.0)


@pytest.mark.parametrize(
    ("facts", "given", "expected"),
    [
        ({}, {}, ("muon", 0.015, 1.0)),
        ({"pretrained": True}, {}, ("muon", 0.015, 0.05)),
        ({"pretrained": True}, {"optimizer": "adamw"}, ("adamw", 0.003, 0.2)),
        ({"pretrained": True, "device": "cuda"}, {}, ("adamw", 0.003, 0.2)),
        ({"normalised": False}, {}, ("adamw", 1e-4, 1.0)),
        ({"normalised": False, "score_inputs": 64}, {}, ("adamw", 1e-3, 1.0)),  # U-Net: 0.66 mIoU, at 1e-4 0.45
        ({"normalised": False, "score_inputs": 0}, {}, ("adamw", 1e-4, 1.0)),  # it has no layer of scores
        ({"score_inputs": 18_432}, {}, ("adamw", 1e-4, 1.0)),
    ],
)
def test_rates_follow_the_optimiser(
    facts: dict[str, Any], given: dict[str, Any], expected: tuple[str, float, float]
) -> None:
    """Measured together: a rate of one optimiser says nothing of another's."""
    config, _ = choose_recipe(make_settings({"data": "d", **given}), replace(STREETS, **facts), None)
    assert (config.optimizer, config.lr, config.encoder_lr_factor) == expected


@pytest.mark.parametrize("pictures", [1, 2, 7, 50, 5000])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_fit_small_sets(pictures: int, device: str) -> None:
    config, _ = choose_recipe(Settings(data="d"), replace(STREETS, pictures=pictures, device=device), None)
    assert 2 <= config.batch <= 16


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="either `time` or `epochs`"):
        make_settings({"time": 5, "epochs": 3})
    with pytest.raises(ConfigError, match="one of the three"):
        make_settings({"steps": 5, "epochs": 3})
    with pytest.raises(ConfigError, match="scale_min 1.2 is above scale_max 1.1"):
        make_settings({"scale_min": 1.2, "scale_max": 1.1})
    alone, _ = choose_recipe(Settings(data="d", scale_min=1.8), STREETS, None)
    assert alone.scale_max == 1.8, "what is chosen gives way to what was asked for"


@pytest.mark.parametrize(
    ("capabilities", "hardware"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "AMX"),
        ({"amx_bf16": False, "avx512_bf16": True}, "AVX512_BF16"),
        ({"avx512_vnni": True, "avx512_bf16": False}, ""),
        ({}, ""),
    ],
)
def test_what_multiplies_bfloat16(
    capabilities: dict[str, bool], hardware: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.bfloat16_hardware.__wrapped__() == hardware


@pytest.mark.parametrize(("hardware", "expected"), [("AMX", "bf16"), ("AVX512_BF16", "bf16"), ("", "no")])
def test_half_precision_where_the_machine_is_faster_with_it(
    hardware: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_hardware", lambda: hardware)
    config, choices = choose_recipe(Settings(data="d"), replace(STREETS, device="cpu"), None)
    assert config.precision == expected
    assert default_precision("cuda") == "bf16"
    assert default_precision("mps") == "no"
    (told,) = (choice.reason for choice in choices if choice.key == "precision")
    assert hardware in told
    assert ("bfloat16" in told) == bool(hardware)


def test_a_shipped_recipe_may_leave_the_precision_to_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bfloat16_hardware", lambda: "AMX")
    config, _ = choose_recipe(Settings(data="d", precision="auto"), STREETS, None)
    assert config.precision == "bf16"


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_what_a_config_must_have_and_the_recipe_chooses_is_the_same(device: str) -> None:
    """TrainConfig had defaults of its own (lr 1e-3, no running mean, ...) beside the recipe's: one of the two was never used."""
    config, choices = choose_recipe(Settings(data="d"), replace(STREETS, device=device), None)
    required = {key for key, field in TrainConfig.model_fields.items() if field.is_required()}
    # these are chosen where a package has brought weights, and where pictures are larger than a step can see
    chosen = {choice.key for choice in choices} - {"encoder", "crop"}
    assert chosen == required - {"data"} | {"epochs"}
    written, chosen = (get_type_hints(kind, include_extras=True) for kind in (Settings, TrainConfig))
    assert all(written[key] == chosen[key] | None for key in required), "the same bounds, but for what is left open"
    assert all(Settings.model_fields[key].default is None for key in required)
    assert config.precision == default_precision(device)


def test_an_encoder_from_imagenet_is_trained_on_with_care() -> None:
    """At the rate of the new layers a short run on CamVid ended at mIoU 0.57, at a fifth of it at 0.61."""
    config, choices = choose_recipe(Settings(data="d"), replace(STREETS, pretrained=True), None)
    assert config.encoder_lr_factor == ENCODER_RATES["muon"]
    assert choose_recipe(Settings(data="d"), STREETS, None)[0].encoder_lr_factor == 1.0
    assert (
        choose_recipe(Settings(data="d", encoder_lr_factor=0.5), replace(STREETS, pretrained=True), None)[
            0
        ].encoder_lr_factor
        == 0.5
    )
    assert "kept" in next(choice.reason for choice in choices if choice.key == "encoder_lr_factor")


def test_statistics_of_imagenet_stay_in_short_runs_on_a_cpu() -> None:
    tuned = replace(STREETS, pretrained=True, statistics=True)
    assert choose_recipe(Settings(data="d"), tuned, None)[0].bn_statistics == "pretrained"
    for other in (STREETS, replace(tuned, statistics=False), replace(tuned, device="cuda")):
        assert choose_recipe(Settings(data="d"), other, None)[0].bn_statistics == "running"


@pytest.mark.parametrize(
    ("factor", "pictures", "given", "model"),
    [
        (1.0, 20, {}, "unet_small"),
        (0.75, 20, {"pretrained": "no"}, "unet_small"),
        (1.0, 49, {"pretrained": "auto"}, "unet_small"),
        (0.5, 20, {}, "deeplabv3plus"),
        (1.0, 367, {}, "deeplabv3plus"),
        (1.0, 20, {"pretrained": "yes"}, "deeplabv3plus"),
        (1.0, 20, {"encoder": "resnet18"}, "deeplabv3plus"),
        (1.0, 20, {"output_stride": 8}, "deeplabv3plus"),
        (1.0, 20, {"model": "fcn8s"}, "fcn8s"),
    ],
)
def test_few_pictures_of_thin_things_get_a_network_at_full_size(
    monkeypatch: pytest.MonkeyPatch, factor: float, pictures: int, given: dict[str, str], model: str
) -> None:
    """DRIVE from scratch: deeplabv3plus 0.593, unet_small 0.687. What the user asks of a network stays possible."""
    monkeypatch.setattr(recipe, "installed_encoders", list)
    thin = Detail(factor, "vessel", 0.9, factor**2 * 200 * 200)
    settings, choices = recipe.choose_network(make_settings({"data": "d", **given}), pictures, thin)
    assert settings.model == model
    if model == "unet_small":
        assert next(choice.reason for choice in choices if choice.key == "model") == (
            f"'vessel' is thin or small and {pictures} pictures are few: it works at full size; `model` sets another"
        )
    assert recipe.choose_network(make_settings({"data": "d", **given}))[0].model == given.get("model", "deeplabv3plus")
    monkeypatch.setattr(recipe, "installed_encoders", lambda: ["tf_efficientnet_lite0"])
    with_weights = recipe.choose_network(make_settings({"data": "d", **given}), pictures, thin)[0].model
    assert with_weights == (model if "no" in given.values() else given.get("model", "deeplabv3plus"))


@pytest.mark.parametrize(("factor", "side", "model"), [(0.375, 1024, "unet_small"), (0.1875, 512, "deeplabv3plus")])
def test_what_is_thin_at_the_size_of_the_training_gets_a_network_at_full_size(
    monkeypatch: pytest.MonkeyPatch, factor: float, side: int, model: str
) -> None:
    """Cracks of 6 pixels in 1024x1024 bear 384x384, and are as thin there as those of 2."""
    monkeypatch.setattr(recipe, "installed_encoders", list)
    cracks = Detail(factor, "crack", 0.9, (factor * side) ** 2)
    assert recipe.choose_network(make_settings({"data": "d"}), 20, cracks)[0].model == model


@pytest.mark.parametrize(
    ("given", "installed", "encoder"),
    [
        ({}, ["tf_efficientnet_lite0"], "tf_efficientnet_lite0"),
        ({"pretrained": "yes"}, ["tf_efficientnet_lite1", "tf_efficientnet_lite0"], "tf_efficientnet_lite0"),
        ({}, [], None),
        ({"pretrained": "no"}, ["tf_efficientnet_lite0"], None),
        ({"init": "runs/a"}, ["tf_efficientnet_lite0"], None),
        ({"encoder": "resnet18"}, ["tf_efficientnet_lite0"], "resnet18"),
        ({"model": "unet_small"}, ["tf_efficientnet_lite0"], None),
        ({"model": "deeplabv3"}, ["tf_efficientnet_lite0"], None),
    ],
)
def test_the_default_network_stands_on_the_encoder_whose_weights_are_here(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], installed: list[str], encoder: str | None
) -> None:
    monkeypatch.setattr(recipe, "installed_encoders", lambda: installed)
    settings, choices = recipe.choose_network(make_settings({"data": "d", **given}))
    assert settings.encoder == encoder
    chosen = [choice.key for choice in choices]
    assert ("encoder" in chosen) == (encoder == "tf_efficientnet_lite0")
