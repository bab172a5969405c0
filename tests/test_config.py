"""Settings: sizes and durations as people write them, unknown keys, wrong types, complete files."""

from pathlib import Path

import pytest

from denselab.config import (
    make_config,
    make_settings,
    parse_duration,
    parse_size,
    read_duration,
    read_settings,
    read_words,
    to_yaml,
)
from denselab.errors import ConfigError

GOOD = {
    "data": "d",
    "model": "unet",
    "pretrained": "no",
    "imgsz": "360x480",
    "epochs": 3,
    "batch": 2,
    "workers": 0,
    "scale_min": 0.5,
    "scale_max": 2,
    "photometric": 1,
    "validations": 2,
    "precision": "no",
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 0,
    "schedule": "poly",
    "clip_norm": 0,
    "encoder_lr_factor": 1,
    "freeze_stages": 0,
    "bn_statistics": "running",
    "ema": 0,
    "losses": [{"name": "dice"}],
    "class_weights": "none",
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1h30m", 5400), ("1.5m", 90), (12, 12), ("1h2m3s", 3723)],
)
def test_durations(text: str | int, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "1.2.3m", "5 minutes", "45", "1h30"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="time"):
        make_settings({"time": text})


def test_sizes() -> None:
    assert parse_size("360x480") == (360, 480)
    assert parse_size("512") == parse_size(512) == (512, 512)
    assert make_config({**GOOD, "imgsz": [96, 128]}).imgsz == (96, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1}, "unknown key 'learning_rate'"),
        ({"epoch": 1}, "did you mean 'epochs'"),
        ({"lr": -1}, r"lr: .*greater than 0 .*-1"),
        ({"lr": "fast"}, r"lr: .*number.*'fast'"),
        ({"imgsz": "0x5"}, "imgsz"),
        ({"time": 5}, "either `time` or `epochs`"),
        ({"scale_min": 3}, "scale_min 3.0 is above scale_max 2.0"),
        ({"losses": []}, "losses"),
        ({"losses": [{"name": "dice", "wieght": 2}]}, "wieght"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"ema": 1.0}, "ema"),
        ({"learning_rate": 1}, "did you mean 'lr'"),
        ({"lr": float("inf")}, "lr: .*finite"),
        ({"imgsz": "huge"}, "imgsz: .*'huge'.*write HEIGHTxWIDTH in pixels, such as 360x480"),
        ({"losses": [{"name": "dice", "wieght": 2}]}, r"losses\.0\.wieght.*did you mean 'weight'"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config({**GOOD, **change})


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = make_config({**GOOD, "losses": [{"name": "dice", "weight": 0.5}]})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert make_config(read_settings(path).given()) == config


@pytest.mark.parametrize("text", ["- a\n- b", "{unclosed", "!!python/object/apply:os.system ['true']"])
def test_files_that_are_no_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_settings(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read_settings(tmp_path / "nowhere.yaml")


def test_bare_yes_and_no_of_yaml(tmp_path: Path) -> None:
    """YAML reads `pretrained: no` as False; a run refused it with "should be 'auto', 'yes' or 'no' (came: False)"."""
    path = tmp_path / "c.yaml"
    path.write_text("pretrained: no\nprecision: no\n")
    config = read_settings(path)
    assert (config.pretrained, config.precision) == ("no", "no")


@pytest.mark.parametrize(
    "line", ["lr: -0.1", "batch: two", "precision: fp8", "time: soon", "lr: .inf", "losses: [dice]"]
)
def test_a_wrong_value_in_a_file_names_the_file(tmp_path: Path, line: str) -> None:
    """It said "settings: ...", after the data had been read; fp8 ended as a fault of ours."""
    path = tmp_path / "c.yaml"
    path.write_text(f"epochs: 3\n{line}\n")
    with pytest.raises(ConfigError, match=rf"c\.yaml: {line.split(':')[0]}"):
        read_settings(path)


def test_a_part_of_the_settings_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("lr: 0.1\nencoder:\n")
    assert read_settings(path).given() == {"lr": 0.1}
    path.write_text("")
    assert read_settings(path).given() == {}


def test_an_output_stride_is_read_from_a_word() -> None:
    """`denselab train data output_stride=16` was refused with "should be 8, 16 or 32 (came: '16')"."""
    assert make_settings(read_words(["output_stride=16"])).output_stride == 16
    with pytest.raises(ConfigError, match="output_stride: Input should be 8, 16 or 32"):
        make_settings(read_words(["output_stride=12"]))


def test_a_duration_beyond_all_numbers_is_refused() -> None:
    """It was taken as infinite."""
    with pytest.raises(ConfigError, match="`time`"):
        read_duration("9" * 400 + "h")
