"""Scores kept by content: found again, bounded, and safe where two write at once."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from denselab.errors import ResourceError
from denselab.files import HOST
from denselab.inference import score_cache
from denselab.inference.score_cache import ScoreCache, key_of, unkept

SHAPE = (2, 3, 4)
NOBODY = 2**22 + 1  # above any process number
SIZE = np.prod(SHAPE) * 4 + 129


class Network:
    """Fills scores with a number, and counts how often it ran."""

    def __init__(self, value: float, logits: bool = True) -> None:
        self.value, self.logits, self.runs = value, logits, 0

    def __call__(self, target: np.ndarray) -> bool:
        self.runs += 1
        target[:] = self.value
        return self.logits


def test_scores_are_computed_once_and_read_by_another_process_s_cache(tmp_path: Path) -> None:
    network = Network(0.1, logits=False)
    first = ScoreCache(tmp_path).get("key", SHAPE, network)
    again = ScoreCache(tmp_path).get("key", SHAPE, network)
    assert network.runs == 1
    assert (first.logits, again.logits) == (False, False)
    assert np.array_equal(first.planes, again.planes)
    assert again.planes[1, 2, 3] == np.float32(0.1)
    ScoreCache(tmp_path).get("other", SHAPE, network)
    assert network.runs == 2


def test_a_damaged_or_foreign_file_is_made_again(tmp_path: Path) -> None:
    cache, network = ScoreCache(tmp_path), Network(1)
    cache.get("key", SHAPE, network)
    path = tmp_path / "key.npy"
    whole = path.read_bytes()
    for runs, damaged in enumerate((b"", whole[:100], whole[:-1], whole + b"P", whole[:-1] + b"?"), 2):
        path.write_bytes(damaged)
        found = cache.get("key", SHAPE, network)
        assert (found.planes.sum(), found.logits, network.runs) == (24, True, runs)
    np.save(path, np.zeros((1, 1, 1), np.float32))
    assert cache.get("key", SHAPE, network).planes.shape == SHAPE


def test_the_folder_stays_within_its_bound_and_the_latest_used_are_kept(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, bound=int(3.5 * SIZE))
    for number, key in enumerate("abc"):
        cache.get(key, SHAPE, Network(1))
        os.utime(tmp_path / f"{key}.npy", (number, number))
    unused = Network(1)
    cache.get("a", SHAPE, unused)  # used last now
    cache.get("d", SHAPE, Network(1))
    assert unused.runs == 0
    assert {path.name[0] for path in tmp_path.iterdir()} == {"a", "c", "d"}


def test_scores_in_use_outlive_their_removal_by_another_process(tmp_path: Path) -> None:
    """Its bound may take the file away from under this one; the scores stay readable, and are made again next time."""
    network = Network(7)
    mine = ScoreCache(tmp_path).get("key", SHAPE, network)
    ScoreCache(tmp_path, bound=1).get("other", SHAPE, Network(1))
    assert [path.name for path in tmp_path.iterdir()] == ["other.npy"]
    assert np.asarray(mine.planes).sum() == 7 * 24
    assert ScoreCache(tmp_path).get("key", SHAPE, network).planes.max() == 7
    assert network.runs == 2


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    """A process of this machine is known to be gone; a killed one's file once stayed, and uncounted, for a day."""
    gone, old, new = (tmp_path / f".{name}.part" for name in (f"{NOBODY}-{HOST}-00000000", "1-old", "2-new"))
    for path in (gone, old, new):
        path.touch()
    os.utime(old, (1, 1))
    ScoreCache(tmp_path, bound=1).get("key", SHAPE, Network(1))
    assert not gone.exists()
    assert not old.exists()
    assert new.exists(), "a process of another machine may be writing it"


def test_two_processes_together_stay_within_the_bound(tmp_path: Path) -> None:
    """Each counted only what it had added itself, so that two filled a folder to nearly twice its bound."""
    caches = [ScoreCache(tmp_path, bound=int(3.5 * SIZE)) for _ in range(2)]
    for number in range(9):
        caches[number % 2].get(f"key{number}", SHAPE, Network(1))
        assert len(list(tmp_path.iterdir())) <= 3


def test_two_writers_of_one_key_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both compute at the same time; each gets whole scores, and one whole file remains."""
    meet = threading.Barrier(2)

    def slow(target: np.ndarray) -> bool:
        target[:1] = 5
        meet.wait(timeout=30)
        target[1:] = 5
        return True

    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(ScoreCache(tmp_path).get("key", SHAPE, slow).planes))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [planes.min() for planes in found] == [5, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["key.npy"]


def test_a_reader_never_sees_scores_that_are_being_written(tmp_path: Path) -> None:
    """Who asks while another writes computes its own; the file appears under its name when it is whole."""
    names: list[list[str]] = []

    def slow(target: np.ndarray) -> bool:
        target[:1] = 5
        names.append([path.suffix for path in tmp_path.iterdir()])
        assert ScoreCache(tmp_path).get("key", SHAPE, Network(7)).planes.min() == 7
        return True

    ScoreCache(tmp_path).get("key", SHAPE, slow)
    assert names == [[".part"]]
    assert [path.name for path in tmp_path.iterdir()] == ["key.npy"]


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    cache = ScoreCache(tmp_path / "file" / "below")
    for key in "ab":
        assert cache.get(key, SHAPE, Network(2)).planes.max() == 2
    assert capsys.readouterr().err.count("scores are not kept: cannot write") == 1


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    def fails(target: np.ndarray) -> bool:
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        ScoreCache(tmp_path).get("key", SHAPE, fails)
    assert list(tmp_path.iterdir()) == []


def test_large_unkept_scores_are_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_cache, "IN_MEMORY", 10)
    scores = unkept(SHAPE, Network(3))
    assert isinstance(scores.planes, np.memmap)
    assert scores.planes.sum() == 72


def test_a_full_disk_is_told_and_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to a mapped file of which the disk holds no more is SIGBUS: its space is taken before."""

    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(score_cache, "IN_MEMORY", 10)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(ResourceError, match="no room for scores in .*: No space left on device; set TMPDIR"):
        unkept(SHAPE, Network(3))


def test_keys_tell_contents_apart() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    keys = [
        key_of("a", image),
        key_of("b", image),
        key_of("a", image.reshape(6, 4, 3)),
        key_of("a", image + 1),
        key_of("a"),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of("a", image[::1]) == keys[0]
    assert key_of(b"ab", b"c") != key_of(b"a", b"bc")
