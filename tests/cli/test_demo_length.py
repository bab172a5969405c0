"""The demo is as long as its scenes take to learn, and says so; a slow machine stops it at a stated time."""

import pytest

from denselab.cli import demo
from denselab.config import make_settings
from denselab.training import preflight


@pytest.mark.parametrize(
    ("each", "length", "told"),
    [
        (0.02, {"epochs": demo.DEMO_EPOCHS}, f"{demo.DEMO_EPOCHS} passes over them, about 2.1 min on this machine"),
        (0.2, {"time": demo.MOST_SECONDS}, "would take about 21 min on this machine; it stops after 6 min"),
        (None, {"time": demo.MOST_SECONDS}, "it stops after 6 min"),
    ],
)
def test_a_slow_machine_takes_longer_up_to_a_cap(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    each: float | None,
    length: dict[str, float],
    told: str,
) -> None:
    """140 s on a slower machine ended at 0.842 where the README promised 0.877."""
    monkeypatch.setattr(preflight, "seconds_of_a_picture", lambda *_: each)
    assert demo._length() == length
    out = capsys.readouterr()
    assert told in " ".join((out.out + out.err).split())
    make_settings({**demo.DEMO_MODEL, **length, "data": "d"})


def test_the_time_of_a_picture_is_measured() -> None:
    each = preflight.seconds_of_a_picture("unet_small", 3, (16, 16))
    assert each is not None
    assert each > 0
