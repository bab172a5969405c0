"""docs/reference/ says what the code says: the pages are made from it, and none is out of date."""

import importlib.util
import signal
from pathlib import Path
from types import ModuleType

import pytest

from denselab import errors
from denselab.config import Settings
from denselab.errors import DenseLabError, Interrupted

DOCS = Path(__file__).parent.parent / "docs"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_script()


@pytest.mark.parametrize("name", ["config.md", "exit-codes.md", "commands.md"])
def test_a_page_is_what_the_code_makes(name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == reference.pages()[name], "run: python docs/reference_pages.py"


def test_every_key_has_a_meaning_and_a_section() -> None:
    """The keys were described in comments, where there were any, and nowhere else."""
    sections = reference.described()
    keys = {key: told for section in sections.values() for key, told in section.items()}
    assert list(keys) == list(Settings.model_fields)
    assert [key for key, told in keys.items() if len(told.split()) < 3] == []
    assert "network" in sections
    assert "" not in sections


def test_every_error_and_every_code_has_its_row() -> None:
    codes = reference.exit_codes()
    assert set(codes) == set(reference.REMEDIES)
    told = " ".join(when for whens in codes.values() for when in whens)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DenseLabError)]
    assert [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in told] == ["DenseLabError", "Interrupted"]
    assert {Interrupted("", number).exit_code for number in (signal.SIGINT, signal.SIGTERM)} <= set(codes)


def test_values_in_words() -> None:
    assert reference.value_form({"type": "integer", "exclusiveMinimum": 0}) == "whole number ≥ 1"
    assert reference.value_form({"type": "number", "minimum": 0, "exclusiveMaximum": 1}) == "number ≥ 0, < 1"
    assert reference.value_form({"anyOf": [{"type": "boolean"}, {"type": "null"}]}) == "`yes` `no`"
