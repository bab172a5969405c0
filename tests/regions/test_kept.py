"""Segments in a folder: found once, damaged files made anew, a folder that cannot be written only costs time."""

import os
from pathlib import Path

import numpy as np
import pytest

from denselab.bounded import BoundedFolder
from denselab.regions import kept
from denselab.regions.kept import folder_in_use, kept_in, name_of, segments_in
from denselab.regions.search import Search
from denselab.regions.segments import Segments, segments_of

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
SEARCH = Search("single", least_side=1)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The pictures that were searched; nothing is really looked for."""
    seen: list[np.ndarray] = []

    def find(image: np.ndarray, search: Search) -> Segments:
        seen.append(image)
        return segments_of(np.ones((1, 4, 4), bool))

    monkeypatch.setattr(kept, "find_segments", find)
    return seen


def test_a_picture_is_searched_once(tmp_path: Path, searched: list[np.ndarray]) -> None:
    for _ in range(3):
        assert segments_in(tmp_path / "new", PICTURE, SEARCH).areas.tolist() == [16]
    assert len(searched) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{name_of(PICTURE, SEARCH)}.npz"]


def test_without_a_folder_each_time(searched: list[np.ndarray]) -> None:
    for _ in range(2):
        segments_in(None, PICTURE, SEARCH)
    assert len(searched) == 2


def test_a_damaged_file_is_made_anew(
    tmp_path: Path, searched: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{name_of(PICTURE, SEARCH)}.npz"
    path.write_bytes(b"PK")
    for _ in range(2):
        assert segments_in(tmp_path, PICTURE, SEARCH).areas.tolist() == [16]
    assert len(searched) == 1
    assert "make it anew" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, searched: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        assert segments_in(tmp_path / "file", PICTURE, SEARCH).areas.tolist() == [16]
    assert capsys.readouterr().err.count("segments are not kept") == 1


def test_a_folder_is_bounded_and_what_was_removed_is_found_again(
    tmp_path: Path, searched: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture that a run was ever measured on left a file in it for good."""
    pictures = [PICTURE + number for number in range(3)]
    segments_in(tmp_path, pictures[0], SEARCH)
    size = next(tmp_path.iterdir()).stat().st_size
    monkeypatch.setitem(kept.SEGMENTS.bounded, tmp_path, BoundedFolder(tmp_path, ".npz", int(2.5 * size)))
    for number, picture in enumerate(pictures[:2]):
        segments_in(tmp_path, picture, SEARCH)
        os.utime(tmp_path / f"{name_of(picture, SEARCH)}.npz", (number, number))
    segments_in(tmp_path, pictures[0], SEARCH)  # used last now
    segments_in(tmp_path, pictures[2], SEARCH)
    assert {path.stem for path in tmp_path.iterdir()} == {name_of(pictures[i], SEARCH) for i in (0, 2)}
    segments_in(tmp_path, pictures[1], SEARCH)
    assert len(searched) == 4


def test_the_name_stands_for_pixels_shape_and_search() -> None:
    names = {
        name_of(PICTURE, SEARCH),
        name_of(PICTURE.reshape(2, 8, 3), SEARCH),
        name_of(PICTURE + 1, SEARCH),
        name_of(PICTURE, Search("fast", least_side=1)),
        name_of(PICTURE, Search("single", least_side=1, seed=1)),
    }
    assert len(names) == 5
    assert name_of(PICTURE, SEARCH) == name_of(PICTURE.copy(), SEARCH)


def test_the_folder_in_use_ends_with_the_block(tmp_path: Path) -> None:
    assert folder_in_use() is None
    with kept_in(tmp_path), kept_in(tmp_path / "inner"):
        assert folder_in_use() == tmp_path / "inner"
    assert folder_in_use() is None
