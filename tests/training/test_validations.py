"""When a run validates: evenly, also where a validation takes much longer than the next."""

from types import SimpleNamespace
from typing import Any

import pytest

from denselab.training import loop
from denselab.training.budget import Budget
from denselab.training.state import RunState


def test_validations_that_get_faster_are_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first took half a minute, so two were to be made in all; the second took 6 s, and a third followed at once."""
    made, step = [], 0

    def validate(job: Any, session: Any) -> None:
        made.append(step)
        session.budget.validation_seconds = 30.0 if len(made) == 1 else 6.0

    monkeypatch.setattr(loop, "validate_and_keep", validate)
    monkeypatch.setattr(Budget, "progress", lambda budget, step: step / 80)
    budget = Budget(None, 600.0, validations=8, validation_seconds=6.0)
    session: Any = SimpleNamespace(accelerator=SimpleNamespace(num_processes=1), budget=budget, state=RunState())
    job: Any = SimpleNamespace()
    for step in range(80):
        session.state.step = step
        loop._validate_if_due(job, session)
    assert made == [10, 40, 50, 60, 70]
