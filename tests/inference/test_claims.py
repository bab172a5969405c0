"""One process has a picture at a time; what a killed process left is taken over."""

import errno
import json
import os
from pathlib import Path

import pytest

from denselab.files import HOST
from denselab.inference.claims import STALE, Claims

NOBODY = 2**22 + 1  # above any process number


def claim_of(folder: Path, host: str, pid: int, age: float = 0.0) -> Path:
    """A claim for "a" as another process leaves it."""
    with Claims(folder) as claims:
        claims.take("a")
        (path,) = folder.glob("*.claim")
        name = path.name
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps({"host": host, "pid": pid}))
    modified = path.stat().st_mtime - age
    os.utime(path, (modified, modified))
    return path


def test_a_claim_is_for_one_process(tmp_path: Path) -> None:
    with Claims(tmp_path / "c") as mine, Claims(tmp_path / "c") as yours:
        assert mine.take("a")
        assert not yours.take("a")
        assert yours.take("b")
        mine.release("a")
        assert yours.take("a")
    assert not (tmp_path / "c").exists(), "the last one tidies up"


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    claim_of(tmp_path / "c", HOST, NOBODY)
    with Claims(tmp_path / "c") as claims:
        assert claims.take("a")


def test_a_living_process_keeps_its_claim(tmp_path: Path) -> None:
    claim_of(tmp_path / "c", HOST, os.getpid())
    claim_of(tmp_path / "d", "elsewhere", NOBODY, age=STALE / 2)
    for name in "cd":
        with Claims(tmp_path / name) as claims:
            assert not claims.take("a")


def test_another_machine_that_fell_silent_loses_its_claim(tmp_path: Path) -> None:
    claim_of(tmp_path / "c", "elsewhere", NOBODY, age=STALE * 2)
    with Claims(tmp_path / "c") as claims:
        assert claims.take("a")


def test_a_claim_cut_short_counts_as_taken(tmp_path: Path) -> None:
    claim_of(tmp_path / "c", HOST, NOBODY).write_text("")
    with Claims(tmp_path / "c") as claims:
        assert not claims.take("a")


def test_a_disk_that_turned_read_only_hides_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is told by the one who writes; a claim that cannot be removed tells nothing new."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with Claims(tmp_path / "c") as claims:
        assert claims.take("a")
        monkeypatch.setattr(Path, "unlink", refuse)
        claims.release("a")
    assert (tmp_path / "c").exists()


@pytest.mark.parametrize("content", ["[" * 200_000, f'{{"host": "{HOST}", "pid": 1e999}}', "[1]"])
def test_a_damaged_claim_counts_as_taken_until_it_is_old(tmp_path: Path, content: str) -> None:
    """Depth, and a number of a process beyond all numbers, ended `predict` as a fault of ours."""
    path = claim_of(tmp_path, HOST, NOBODY)
    path.write_text(content)
    with Claims(tmp_path) as claims:
        assert not claims.take("a")
        os.utime(path, (0, 0))
        assert claims.take("a")
