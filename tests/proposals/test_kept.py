"""Boxes in a folder: searched for once, also by `eval --proposals`; damaged files made anew."""

from pathlib import Path

import numpy as np
import pytest

from denselab.inference.instance_wise import FOUND, boxes_of
from denselab.inference.instances import InstanceWise
from denselab.proposals import kept, sources
from denselab.proposals.boxes import Boxes
from denselab.proposals.kept import BOXES, name_of, proposals_in

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
SHAPE = (8, 8)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many boxes were asked for in each search; nothing is really looked for, and OpenCV is not needed."""
    asked: list[int] = []

    def find(image: np.ndarray, most: int, shape: tuple[int, int]) -> Boxes:
        asked.append(most)
        return np.array([[-1, 0, 3, 4], [0, 2, 4, 6]])[: most if image.any() else 0]

    monkeypatch.setitem(sources.SOURCES, "edgeboxes", find)  # type: ignore[arg-type]
    monkeypatch.setattr(kept, "decided_by", lambda name: "OpenCV 5")
    return asked


def test_a_picture_is_searched_once(tmp_path: Path, searched: list[int]) -> None:
    """Edge boxes of a picture take a second, and every evaluation looked for them again."""
    for _ in range(3):
        found = proposals_in(tmp_path / "new", "edgeboxes", PICTURE, 9, SHAPE)
        assert found.tolist() == [[-1, 0, 3, 4], [0, 2, 4, 6]]
        assert found.dtype == np.int64
    assert searched == [9]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{name_of('edgeboxes', PICTURE, 9)}.json"]
    for _ in range(2):
        assert proposals_in(tmp_path, "edgeboxes", np.zeros_like(PICTURE), 9, SHAPE).shape == (0, 4)
    assert searched == [9, 9]


def test_what_is_run_comes_from_the_folder_in_use(tmp_path: Path, searched: list[int]) -> None:
    how = InstanceWise("edgeboxes", boxes=1, enlarge=1.0, whole=False)
    with BOXES.used(tmp_path):
        for _ in range(2):
            assert boxes_of(how, PICTURE, SHAPE).tolist() == [[-1, 0, 3, 4]]
    assert searched == [FOUND]
    boxes_of(how, PICTURE, SHAPE)
    assert searched == [FOUND, FOUND], "outside nothing is kept"


def test_windows_are_not_kept(tmp_path: Path) -> None:
    assert len(proposals_in(tmp_path, "windows", PICTURE, 4, SHAPE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"[]", b'{"boxes": [[1, 2, 3]]}', b'{"boxes": [[0, 0, 1.5, 1]]}', b'{"boxes": "x"}']
)
def test_a_damaged_file_is_made_anew(
    content: bytes, tmp_path: Path, searched: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{name_of('edgeboxes', PICTURE, 9)}.json"
    path.write_bytes(content)
    for _ in range(2):
        assert len(proposals_in(tmp_path, "edgeboxes", PICTURE, 9, SHAPE)) == 2
    assert searched == [9]
    assert "not a file of boxes" in capsys.readouterr().err


def test_the_name_stands_for_pixels_source_and_number(searched: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> set[str]:
        pictures = (PICTURE, PICTURE + 1, PICTURE.reshape(6, 4, 3))
        return {name_of(source, p, n) for source in ("edgeboxes", "selective") for p in pictures for n in (9, 10)}

    before = names()
    assert len(before) == 12
    monkeypatch.setattr(kept, "decided_by", lambda name: "OpenCV 6")
    assert not before & names()
