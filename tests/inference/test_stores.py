"""Pictures and results in stores of fsspec: memory:// here, S3 on a local server in test_stores_s3.py."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.engine.torch_engine import TorchEngine
from denselab.errors import MissingExtra, NoSuchPath
from denselab.inference.collection import predict_files
from denselab.inference.distributed import Predict, Remote
from denselab.inference.job import Job
from denselab.inference.plan import plan_for
from denselab.inference.stores import LocalPlace, is_url, open_store, place_of, walk_store

fsspec = pytest.importorskip("fsspec")


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def memory() -> Iterator[object]:
    """Two pictures, one that is none, and another file, in memory://photos."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name, content in (
        ("photos/a.png", png((5, 7), (255, 0, 0))),
        ("photos/sub/b.png", png((4, 3), (0, 0, 255))),
        ("photos/bad.png", b"no picture"),
        ("photos/notes.txt", b"x"),
    ):
        system.pipe(f"/{name}", content)
    yield system
    system.store.clear()


def test_urls() -> None:
    assert is_url("s3://bucket/photos")
    assert not any(map(is_url, ("photos", "/a/b", "C:\\photos", "owner/name")))


def test_a_store_is_walked_like_a_folder(memory: object) -> None:
    found = list(walk_store("memory://photos"))
    assert [str(s.stem) for s in found] == ["a", "bad", "sub/b"]
    assert [s.name for s in found] == ["memory://photos/a.png", "memory://photos/bad.png", "memory://photos/sub/b.png"]
    assert [str(s.stem) for s in walk_store("memory://photos/sub/b.png")] == ["b"]
    with pytest.raises(NoSuchPath, match="memory://nowhere"):
        list(walk_store("memory://nowhere"))


def test_from_a_store_into_a_store(memory: object, engine: TorchEngine) -> None:
    plan = plan_for(engine)
    for round_ in range(2):
        with place_of("memory://out") as place:
            results, skipped = predict_files(
                Job(plan, place, model="m"), list(walk_store("memory://photos")), quiet=True
            )
            assert not list(place.out.rglob("*.jpg")), "results leave this machine"
        assert [r.already for r in results] == [round_ == 1] * 2
        assert [r.shares for r in results] == [{"red": 1.0}, {"blue": 1.0}]
        assert [s.path for s in skipped] == ["memory://photos/bad.png"]
    system = fsspec.filesystem("memory")
    assert np.asarray(PILImage.open(io.BytesIO(system.cat("/out/labels/sub/b.png")))).shape == (3, 4)
    assert len(json.loads(system.cat("/out/labels.json"))) == 5
    assert system.exists("/out/overlays/a.jpg")


def test_a_picture_in_a_store_is_fetched_once(
    memory: object, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was fetched to see whether it was done, again to be read, and once more when its labels were saved."""
    fetched: list[str] = []
    copies: list[Path] = []
    fetch = type(memory).get_file

    def counted(self: object, place: str, path: str) -> None:
        fetched.append(place)
        copies.append(Path(path))
        fetch(self, place, path)

    monkeypatch.setattr(type(memory), "get_file", counted)
    for _ in range(2):
        predict_files(
            Job(plan_for(engine), LocalPlace(tmp_path), model="m"), list(walk_store("memory://photos")), quiet=True
        )
        assert sorted(fetched) == ["/photos/a.png", "/photos/bad.png", "/photos/sub/b.png"]
        assert not any(copy.exists() for copy in copies)
        fetched.clear()


def test_results_in_a_store_go_by_their_urls(memory: object, engine: TorchEngine) -> None:
    """Those that were done before went by names in a scratch folder, which was gone by then."""
    sources = list(walk_store("memory://photos/a.png"))
    for done in (False, True):
        with place_of("memory://out") as place:
            (result,), _ = predict_files(Job(plan_for(engine), place, model="m"), sources, quiet=True)
        assert (result.already, result.source) == (done, "memory://photos/a.png")
        assert result.written["labels"] == "memory://out/labels/a.png"


def test_a_picture_that_left_its_store_costs_no_other(memory: object, exported_folder: Path, tmp_path: Path) -> None:
    """On a cluster, one that was deleted after it had been listed ended the work on all of them."""
    paths = np.array(["memory://photos/gone.png", "memory://photos/a.png"])
    rows = Predict(Remote(str(exported_folder), str(tmp_path)), {})({"path": paths})
    assert [bool(error) for error in rows["error"]] == [True, False]
    assert "there is no such picture" in rows["error"][0]
    assert (tmp_path / "labels" / "a.png").exists()


def test_what_cannot_be_opened_is_told() -> None:
    with pytest.raises((NoSuchPath, MissingExtra), match="nothing://"):
        open_store("nothing://x")


def test_the_package_of_a_store_comes_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec says what a store needs, but not how to get it."""

    def without(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", without)
    with pytest.raises(MissingExtra, match=r"^s3://b/x: Install s3fs to access S3: pip install s3fs$"):
        open_store("s3://b/x")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with place_of(str(tmp_path)) as place:
        assert place.out == tmp_path
