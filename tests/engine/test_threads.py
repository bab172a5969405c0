"""A thread less for each core that others use, and back again."""

from collections.abc import Iterator

import pytest
import torch

from denselab.engine import threads
from denselab.engine.threads import SharedCores, threads_beside
from denselab.neighbours import Neighbours


class Told(Neighbours):
    """A meter that reports what it is told."""

    def __init__(self, *loads: float | None) -> None:
        self.loads = list(loads)

    def busy(self) -> float | None:
        return self.loads.pop(0)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "LOOK_EVERY", 0.0)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("busy", "most", "now", "used"),
    [
        (0.0, 2, 2, 2),
        (0.3, 2, 2, 2),  # a little: nothing changes
        (0.3, 2, 1, 1),
        (0.67, 2, 2, 1),  # two of our threads and one neighbour on two cores
        (1.0, 2, 1, 1),
        (0.1, 2, 1, 2),
        (5.0, 2, 2, 1),  # never none
        (1.0, 16, 16, 15),
        (3.5, 16, 16, 12),
        (3.5, 16, 14, 12),
        (3.2, 16, 12, 12),
        (0.0, 1, 1, 1),
    ],
)
def test_threads_beside_neighbours(busy: float, most: int, now: int, used: int) -> None:
    assert threads_beside(busy, most, now) == used


@pytest.mark.usefixtures("two_threads")
def test_a_neighbour_takes_a_thread_and_gives_it_back() -> None:
    shared = SharedCores(Told(1.0, 0.0, None))
    shared.heed()
    assert torch.get_num_threads() == 1
    shared.heed()
    assert torch.get_num_threads() == 2
    shared.heed()
    assert torch.get_num_threads() == 2, "a system that does not tell"


@pytest.mark.usefixtures("two_threads")
def test_a_number_that_the_user_sets_is_left_alone() -> None:
    shared = SharedCores(Told())  # would raise if it were asked
    torch.set_num_threads(1)
    shared.heed()
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("two_threads")
def test_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedCores(Told(0.0))
    shared.heed()
    monkeypatch.setattr(threads, "LOOK_EVERY", 3600.0)
    shared.heed()  # would raise if it asked again


def test_a_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "noticed", lambda: None)
    threads._shared.cache_clear()
    before = torch.get_num_threads()
    threads.heed_neighbours()
    threads._shared.cache_clear()
    assert torch.get_num_threads() == before
