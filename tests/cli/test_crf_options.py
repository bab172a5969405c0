"""The CRF's options name what the library has."""

from typing import get_args

from denselab.cli.crf_options import PresetName
from denselab.crf import PRESETS


def test_every_preset_can_be_asked_for() -> None:
    assert get_args(PresetName) == tuple(PRESETS)
