"""What others use of the cores, from the text of /proc/stat, and from a neighbour that is really there."""

import os
import sys

import pytest

from denselab import neighbours
from denselab.neighbours import Neighbours, Reading, busy_between, busy_seconds, noticed, read_load, share_cores

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
STAT = f"""cpu  99 99 99 99 99 99 99 99 99 99
cpu0 {1 * TICKS} {2 * TICKS} {3 * TICKS} {50 * TICKS} {60 * TICKS} 0 {1 * TICKS} {4 * TICKS} {9 * TICKS} 0
cpu1 {8 * TICKS} 0 0 {70 * TICKS} 0 0 0 0 0 0
cpu10 {9 * TICKS} 0 0 0 0 0 0 0 0 0
intr 5
"""


def test_busy_is_all_but_idle_and_waiting_on_the_cores_of_this_process() -> None:
    """User, nice, system, interrupts and what the host takes away; guests are in user time already."""
    assert busy_seconds(STAT, {0}) == 11
    assert busy_seconds(STAT, {0, 1}) == 19
    assert busy_seconds(STAT, {10}) == 9


def test_who_gives_way_is_no_neighbour() -> None:
    """A backup at the lowest priority took one of two threads from a training that it did not disturb."""
    assert busy_seconds(STAT, {0}, polite=True) == 9
    assert busy_seconds(STAT, {1}, polite=True) == 8


def test_what_is_our_own_is_no_neighbour() -> None:
    before = Reading(clock=10.0, busy=100.0, own=5.0)
    assert busy_between(before, Reading(clock=12.0, busy=104.0, own=7.0)) == 1.0
    assert busy_between(before, Reading(clock=12.0, busy=101.0, own=7.0)) == 0.0, "clocks differ by ticks"
    assert busy_between(before, before) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_this_machine_tells_its_load() -> None:
    first, second = read_load(), read_load()
    assert first is not None
    assert second is not None
    assert second.clock >= first.clock
    assert second.busy >= first.busy
    busy = Neighbours().busy()
    assert busy is None or busy >= 0


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(neighbours, "STAT", neighbours.Path(str(tmp_path)) / "missing")
    assert read_load() is None
    assert Neighbours().busy() is None


@pytest.mark.parametrize("name", neighbours.FIXED)
def test_a_chosen_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in neighbours.FIXED:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(neighbours, "_noticed", None)
    monkeypatch.setenv(name, "2")
    share_cores()
    assert noticed() is None
    monkeypatch.delenv(name)
    share_cores()
    assert isinstance(noticed(), Neighbours)
