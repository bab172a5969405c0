"""The cache of decoded pictures: it keeps to its budget and gives back what was put in."""

import numpy as np

from denselab.data.feed.cache import SHARE, SampleCache
from denselab.runtime import free_memory
from denselab.types import Sample


def sample(size=10):
    return Sample("s", np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8))  # 4 size^2 bytes


def test_made_once_and_then_kept():
    cache, made = SampleCache(10_000), []

    def make():
        made.append(sample())
        return made[-1]

    assert cache.get("a", make) is cache.get("a", make)
    assert (len(made), len(cache), cache.used) == (1, 1, 400)


def test_what_came_first_stays_and_the_budget_holds():
    cache = SampleCache(900)
    samples = [cache.get(key, sample) for key in range(4)]
    assert (len(cache), cache.used) == (2, 800)
    assert cache.get(0, sample) is samples[0]
    assert cache.get(3, sample) is not samples[3]  # had no room: made anew
    assert cache.get("small", lambda: sample(5)) is cache.get("small", lambda: sample(5))  # 100 bytes still fit


def test_no_budget_keeps_nothing():
    cache = SampleCache(0)
    cache.get("a", sample)
    assert len(cache) == 0


def test_the_default_budget_is_a_share_of_the_free_memory():
    assert free_memory() > 100 << 20
    assert 0 < SampleCache().budget < 2 * SHARE * free_memory()


def test_what_is_stale_is_made_anew_and_makes_room():
    cache = SampleCache(900)
    old = [cache.get(key, sample) for key in "ab"]
    cache.forget(lambda key: key == "a")
    assert (len(cache), cache.used) == (1, 400)
    assert cache.get("a", sample) is not old[0]
    assert cache.get("b", sample) is old[1]
