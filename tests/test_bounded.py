"""Folders within a bound: what was used longest ago goes first, the newest and what is not ours stay."""

import os
from pathlib import Path

import pytest

from denselab import bounded
from denselab.bounded import BoundedFolder


def file_of(folder: Path, name: str, size: int, used: int) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (used, used))
    return path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{number}.npy", 10, number) for number in range(4)]
    folder = BoundedFolder(tmp_path, ".npy", 20)
    folder.use(files[0])
    folder.add(files[3])
    assert left(tmp_path) == {"0.npy", "3.npy"}


def test_the_newest_stays_however_large(tmp_path: Path) -> None:
    BoundedFolder(tmp_path, ".npy", 5).add(file_of(tmp_path, "a.npy", 10, 1))
    assert left(tmp_path) == {"a.npy"}


def test_files_of_others_stay_and_those_being_written_count(tmp_path: Path) -> None:
    file_of(tmp_path, "notes.txt", 1000, 1)
    (tmp_path / ".5-0.part").write_bytes(b"x" * 15)
    file_of(tmp_path, "a.npy", 10, 2)
    BoundedFolder(tmp_path, ".npy", 30).add(file_of(tmp_path, "b.npy", 10, 3))
    assert left(tmp_path) == {"notes.txt", ".5-0.part", "b.npy"}


def test_a_folder_is_looked_through_at_the_start_and_after_a_part_of_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(BoundedFolder, "_remove_down_to", lambda self, allowed: looks.append(allowed))
    folder = BoundedFolder(tmp_path, ".npy", 160)
    for number in range(8):
        folder.add(file_of(tmp_path, f"{number}.npy", 4, number))
    assert looks == [160, 160, 160], "at the start, then after each 12 of 160 bytes, a little more than a sixteenth"


def test_a_disk_with_little_room_lowers_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = bounded.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(bounded.shutil, "disk_usage", lambda path: usage._replace(free=100))
    assert BoundedFolder(tmp_path, ".npy", 1000).allowed() == 25
    assert BoundedFolder(tmp_path, ".npy", 10).allowed() == 10


def test_a_folder_that_goes_away_is_no_error(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path / "gone", ".npy", 10)
    folder.use(tmp_path / "gone" / "a.npy")
    folder.add(tmp_path / "gone" / "a.npy")
