"""Read settings from what users write (YAML, arguments, key=value words), and write them back as YAML.

Every error names its key.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from denselab.config.settings import LENGTHS, LossTerm, Settings, TrainConfig
from denselab.config.units import parse_duration
from denselab.documents import parse_yaml, read_text
from denselab.errors import ConfigError
from denselab.numbers import is_finite
from denselab.paths import require_path

# other tools' names for our keys, too different to be found as the nearest
SYNONYMS = {"learning_rate": "lr", "image_size": "imgsz", "backbone": "encoder", "amp": "precision"}
DURATIONS = "a duration such as 90s, 30m or 1h30m"
SIZE_FORM = "HEIGHTxWIDTH in pixels, such as 360x480"
FORMS = {"imgsz": SIZE_FORM, "crop": SIZE_FORM, "time": DURATIONS, "save_every": DURATIONS}
SettingsT = TypeVar("SettingsT", bound=Settings)


def make_settings(values: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check what a user wrote. A key that is None or missing is left open.

    source: where the values come from, for messages.
    Raises ConfigError with the key, what came and what was expected; for an unknown key, with the nearest known one.
    """
    return _checked(Settings, values, source)


def make_config(values: Mapping[str, Any], source: str = "settings") -> TrainConfig:
    """Check complete settings. Raises ConfigError as `make_settings` does, and for a missing key."""
    return _checked(TrainConfig, values, source)


def merged(base: Settings, over: Settings) -> Settings:
    """`base` overridden by what `over` gives; a length in `over` (LENGTHS) replaces the one in `base`."""
    kept = base.given()
    if any(getattr(over, key) is not None for key in LENGTHS):
        kept = {key: value for key, value in kept.items() if key not in LENGTHS}
    return make_settings({**kept, **over.given()})


def read_settings(path: Path) -> Settings:
    """The settings in a YAML file, which may give only some of the keys. Raises ConfigError naming the file."""
    require_path(path, "a YAML file of settings")
    try:
        loaded = parse_yaml(read_text(path))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML: {error}; correct it") from None
    if loaded is None:  # an empty file leaves everything to the recipe
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path} holds {type(loaded).__name__}; a mapping of settings was expected, such as `lr: 0.001`"
        )
    return make_settings(loaded, str(path))


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """The keys and values of words such as `lr=1e-3`; `[...]` and `{...}` are YAML, `null` leaves a key open.

    Keys and values are not checked. Raises ConfigError for a word without "=" and for a key given twice.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is no setting; write KEY=VALUE, such as lr=1e-3 or imgsz=360x480")
        if key in values:
            raise ConfigError(f"{key} is given twice: {key}={values[key]} and {word}; leave one out")
        values[key] = _word_value(key, value.strip())
    return values


def read_duration(word: str, key: str = "time") -> float:
    """The seconds in "90s", "10m" or "1h30m". Raises ConfigError naming the key."""
    try:
        seconds = parse_duration(word)
    except ValueError as error:
        raise ConfigError(f"`{key}` {error}") from None
    if not is_finite(seconds) or seconds <= 0:
        raise ConfigError(f"`{key}` {word!r}; write {DURATIONS}")
    return float(seconds)


def to_yaml(config: TrainConfig) -> str:
    """The complete config as YAML, in the order of TrainConfig."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )


def _word_value(key: str, value: str) -> Any:
    if value in ("", "null"):
        return None
    if value[0] not in "[{":
        return value  # pydantic reads numbers and truth values from words
    try:
        return parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"{key}={value} is not YAML: {error}") from None


def _checked(kind: type[SettingsT], values: Mapping[str, Any], source: str) -> SettingsT:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: {values!r} is no mapping; write keys and values, such as {{'lr': 0.001}}")
    for key in values:
        if key not in kind.model_fields:
            raise ConfigError(f"{source}: unknown key {key!r}; {_hint(key, kind.model_fields)}")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error.errors(include_url=False)[0])}") from None


def _hint(key: object, known: Iterable[str]) -> str:
    """The nearest known key, or all of them."""
    known = list(known)
    near = [SYNONYMS[str(key)]] if key in SYNONYMS else difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"


def _explain(fault: ErrorDetails) -> str:
    """What is wrong with which key, what came, and how to write it."""
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # in a loss term
        return f"unknown key {where!r}; {_hint(fault['loc'][-1], [field.name for field in fields(LossTerm)])}"
    message = fault["msg"].removeprefix("Value error, ")
    if not where:
        return message
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "value_error":  # our own message is complete
        return f"{where}: {message}"
    form = FORMS.get(str(fault["loc"][0]))
    return f"{where}: {message} (came: {fault['input']!r})" + (f"; write {form}" if form else "")
