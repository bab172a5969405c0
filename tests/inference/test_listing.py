"""Folders listed as they are walked, and divided by name."""

import errno
import os
from pathlib import Path, PurePosixPath

import pytest

from denselab.data.listing.tree import read_tree
from denselab.errors import ConfigError
from denselab.inference.inputs import Skipped, find_sources
from denselab.inference.listing import Shard, can_stream, count_pictures, of_shard, parse_shard, walk


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_walking_finds_what_listing_finds(tmp_path: Path) -> None:
    names = ("a.jpg", "a.png", "b/c.PNG", "b/d/e.tif", "b/notes.txt", ".hidden/x.png", "._a.jpg", "out/labels/a.png")
    touch(*(tmp_path / name for name in names))
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    found = {(s.path, s.stem) for s in walk(tmp_path, tmp_path / "out")}
    assert found == {(s.path, s.stem) for s in find_sources([str(tmp_path)], tmp_path / "out")[0]}
    assert count_pictures(tmp_path, tmp_path / "out", None) == len(found) == 5


def test_results_of_another_prediction_are_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Label maps and overlays of an earlier `--out` in the folder were predicted, as if they were photographs."""
    touch(*(tmp_path / name for name in ("a.png", "b/labels/c.png", "old/labels/x/a.png", "old/overlays/a.jpg")))
    (tmp_path / "old" / "labels.json").write_text('[{"id": 0, "name": "a", "colour": [0, 0, 0], "role": "class"}]')
    for found in (walk(tmp_path, tmp_path / "new"), find_sources([str(tmp_path)], tmp_path / "new")[0]):
        assert [str(source.stem) for source in found] == ["a", "b/labels/c"]
    assert capsys.readouterr().err.count(f"{tmp_path / 'old'}, which `predict` has written") == 1
    assert find_sources([str(tmp_path / "old" / "labels")])[0] == []


def test_links_to_folders_are_followed_as_in_data_sets(tmp_path: Path) -> None:
    """`predict` left out a linked folder whose pictures `train` and `eval` saw; a link that leads back ends nowhere.

    With ** in a pattern such links were followed, and two of them without end.
    """
    photos, out = tmp_path / "photos", tmp_path / "out"
    touch(photos / "a.png", photos / "in" / "b.png", tmp_path / "far" / "c.png", out / "overlays" / "d.jpg")
    for link, target in (
        (photos / "linked", tmp_path / "far"),
        (photos / "loop", photos),  # leads back
        (photos / "twin", photos / "in"),  # has a place of its own
        (photos / "results", out / "overlays"),
        (tmp_path / "far" / "back", photos),
    ):
        link.symlink_to(target)
    wanted = ["a", "in/b", "linked/c"]
    assert [str(s.stem) for s in walk(photos, out)] == wanted
    assert count_pictures(photos, out, None) == 3
    assert [str(s.stem) for s in find_sources([str(photos)], out)[0]] == wanted
    assert [str(s.stem) for s in find_sources([str(photos / "**" / "*.png")], out)[0]] == wanted
    assert [str(f) for f in read_tree(photos).files] == ["a.png", "in/b.png", "linked/c.png", "results/d.jpg"]


def test_a_link_to_itself_is_listed_and_a_closed_folder_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither ends the walk; reading will say what is wrong with the link."""
    touch(tmp_path / "a.png", tmp_path / "closed" / "b.png", tmp_path / "open" / "c.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    scandir = os.scandir

    def closed(folder: object) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", closed)
    out = tmp_path / "out"
    left: list[Skipped] = []
    assert [str(s.stem) for s in walk(tmp_path, out, left)] == ["a", "loop", "open/c"]
    assert [record.getMessage() for record in caplog.records] == [
        f"skipped {tmp_path / 'closed'}: the folder cannot be listed (Permission denied)"
    ]
    sources, skipped = find_sources([str(tmp_path)], out)
    assert [str(s.stem) for s in sources] == ["a", "loop", "open/c"]
    assert [(s.path, s.reason) for s in skipped] == [
        (str(tmp_path / "closed"), "the folder cannot be listed (Permission denied)")
    ]
    assert left == skipped
    assert count_pictures(tmp_path, out, None) == 3
    assert len(caplog.records) == 1


def test_shards_divide_without_rest(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{i}.png" for i in range(60)))
    whole = {s.stem for s in walk(tmp_path, tmp_path / "out")}
    parts = [{s.stem for s in of_shard(walk(tmp_path, tmp_path / "out"), Shard(i, 4))} for i in (1, 2, 3, 4)]
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == 60
    assert min(map(len, parts)) >= 5, "about a quarter each"


def test_a_shard_stays_when_pictures_are_added() -> None:
    assert [i for i in range(1, 6) if Shard(i, 5).has(PurePosixPath("x/y"))] == [3]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_impossible_shards_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="counted from 1"):
        parse_shard(text)


def test_only_a_folder_that_results_cannot_land_in_is_streamed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert can_stream([str(tmp_path / "in")], tmp_path / "out")
    assert not can_stream([str(tmp_path / "in")], tmp_path)
    assert not can_stream([str(tmp_path / "in"), str(tmp_path / "in")], tmp_path / "out")


def test_a_pattern_over_folders_takes_what_lies_in_a_folder_that_it_fits(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.png", "b/c.png", "b/d.npy", "b/keep/e.png", "f/keep/g/h.jpg", "notes.txt")))

    def found(pattern: str) -> list[str]:
        return [str(s.stem) for s in find_sources([str(tmp_path / pattern)], tmp_path / "out")[0]]

    assert found("**/*.png") == ["a", "b/c", "b/keep/e"]
    assert found("**/keep") == ["b/keep/e", "f/keep/g/h"]
    assert found("b/**") == ["c", "d", "keep/e"]
    assert found("**/*.npy") == ["b/d"]
    assert found("*/keep/**/*.jpg") == ["f/keep/g/h"]
