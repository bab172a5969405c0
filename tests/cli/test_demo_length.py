"""The demo is as long as its scenes take to learn, and says so; a slow machine stops it at a stated time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denselab import api
from denselab.cli import demo
from denselab.data.draw import synthetic
from denselab.training import trial
from denselab.training.trial import Trial


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Trial(0.04, 0.04), "8 passes over them, about 3.0 min on this machine"),
        (Trial(0.044, 0.04), "8 passes over them, about 3.3 min on this machine"),
        (Trial(0.06, 0.04), "8 passes over them, 3.0 min on this machine, 4.5 beside what else it does now"),
        (Trial(0.14, 0.07), "5.2 min on this machine, 10.5 beside what else it does now; it stops after 6 min at the"),
        (Trial(0.4, 0.4), "8 passes over them would take about 29.9 min on this machine; it stops after 6 min, and"),
        (Trial(0.4, 0.2), "would take 14.9 min on this machine, 29.9 beside what else it does now; it stops after 6"),
        (None, "8 passes over them, and it stops after 6 min"),
    ],
)
def test_the_length_is_told_as_a_range(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Trial | None, told: str
) -> None:
    """Beside other work a demo of two minutes was announced as one of seven."""
    monkeypatch.setattr(trial, "try_network", lambda *_: found)
    demo._say_length()
    out = capsys.readouterr()
    assert told in " ".join((out.out + out.err).split())


def test_it_ends_with_its_passes_and_at_a_stated_time_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A trial step that was too slow made it a run of six minutes, long after all that it needed was learnt."""
    asked: dict[str, Any] = {}

    def train_run(settings: Any, run: Path, **others: Any) -> SimpleNamespace:
        asked.update(others, settings=settings)
        return SimpleNamespace(best_miou={"miou": 0.9}, seconds=1.0)

    monkeypatch.setattr(api, "train_run", train_run)
    monkeypatch.setattr(trial, "try_network", lambda *_: None)
    monkeypatch.setattr(synthetic, "write_synthetic", lambda folder, **_: folder)
    demo.demo(tmp_path / "demo", seed=4)
    settings = asked["settings"]
    assert (settings.epochs, settings.time, settings.seed) == (demo.DEMO_EPOCHS, None, 4)
    assert asked["at_most"] == demo.MOST_SECONDS
