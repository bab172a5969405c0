"""A prediction's arrays, pictures and files."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.errors import ConfigError, ResourceError
from denselab.files import write_bytes
from denselab.inference.prediction import Prediction, file_table, write_table
from denselab.labels import LabelEntry, LabelSpace

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
LABELS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 1, 1]], dtype=np.uint8)
PROBS = np.full((4, 3, 4), 0.25, dtype=np.float32)


def predicted(space: LabelSpace, name: str = "a") -> Prediction:
    return Prediction(name, IMAGE, LABELS, space, lambda: PROBS)


def space_of(ids: list[int]) -> LabelSpace:
    return LabelSpace(tuple(LabelEntry(i, f"class/{i}", (i % 256, 7, 9)) for i in ids))


def test_ids_are_those_of_the_label_files(space: LabelSpace) -> None:
    assert predicted(space).ids.tolist() == (LABELS * 10).tolist()
    assert predicted(space).ids.dtype == np.uint8


def test_saved_labels_are_an_index_picture_with_palette(space: LabelSpace, tmp_path: Path) -> None:
    written = predicted(space).save(tmp_path)
    with PILImage.open(written["labels"]) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), LABELS * 10)
        assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(predicted(space).colours()))
    with PILImage.open(written["overlay"]) as picture:
        assert picture.size == (4, 3)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.jpg", "a.png"]


def test_ids_above_255_are_saved_with_16_bits(tmp_path: Path) -> None:
    written = predicted(space_of([0, 5, 256, 40000])).save(tmp_path)
    with PILImage.open(written["labels"]) as picture:
        assert picture.mode == "I;16"
        assert np.asarray(picture)[0].tolist() == [0, 5, 256, 40000]


def test_ids_that_no_picture_holds_are_saved_as_class_indices(tmp_path: Path) -> None:
    assert predicted(space_of([-1, 0, 1, 2])).ids.tolist() == LABELS.tolist()
    assert predicted(space_of([0, 1, 2, 70000])).ids.tolist() == LABELS.tolist()


def test_the_table_beside_label_pngs_lists_what_they_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids that no index PNG holds become class indices in both; ignored ids stay where they stand for no class then."""
    void = [LabelEntry(1, "blur", (9, 9, 9), "ignore"), LabelEntry(-7, "edge", (8, 8, 8), "ignore")]
    unsure = LabelEntry(255, "unsure", (7, 7, 7), "ignore")
    odd = LabelSpace((*space_of([70000, 3, -2]).entries, *void, unsure))
    write_table(tmp_path / "labels.json", odd)
    rows = json.loads((tmp_path / "labels.json").read_text())
    assert [(row["id"], row["name"]) for row in rows] == [
        (2, "class/70000"), (1, "class/3"), (0, "class/-2"), (255, "unsure"),
    ]  # fmt: skip
    assert LabelSpace.from_list(rows).names == odd.names
    assert file_table(odd)[:3].tolist() == [0, 1, 2]
    told = "label ids -2 to 70000 do not fit into label PNGs (0 to 65535): the files hold 0 to 2 instead, "
    assert capsys.readouterr().err.startswith(told)


def test_a_table_that_fits_is_written_as_it_is(
    space: LabelSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = LabelSpace((*space_of([5, 65535]).entries, LabelEntry(-1, "void", (9, 9, 9), "ignore")))
    for table in (space, wide):
        write_table(tmp_path / "labels.json", table)
        assert LabelSpace.from_list(json.loads((tmp_path / "labels.json").read_text())) == table
    assert capsys.readouterr().err == ""


def test_probabilities_as_npz_and_png(space: LabelSpace, tmp_path: Path) -> None:
    written = predicted(space).save(tmp_path, probs="npz", stem="x/y.z")
    assert written["probs"] == tmp_path / "probs" / "x" / "y.z.npz"
    with np.load(written["probs"]) as stored:
        assert stored["probs"].shape == (4, 3, 4)
        assert (stored["probs"] == 0.25).all()
        assert stored["ids"].tolist() == [0, 10, 20, 30]
        assert stored["names"].tolist() == list(space.names)
    folder = predicted(space_of([0, 1, 2, 3])).save(tmp_path, probs="png")["probs"]
    assert sorted(p.name for p in folder.iterdir()) == [f"00{i}_class_{i}.png" for i in range(4)]
    assert (np.asarray(PILImage.open(folder / "000_class_0.png")) == 64).all()


def test_probabilities_are_computed_when_asked_for_and_once(space: LabelSpace) -> None:
    calls = []
    prediction = Prediction("a", IMAGE, LABELS, space, lambda: calls.append(1) or PROBS)  # type: ignore[func-returns-value]
    assert not calls
    assert prediction.probs is prediction.probs
    assert calls == [1]


def test_a_notebook_gets_a_png_of_bounded_size(space: LabelSpace) -> None:
    large = Prediction("a", np.zeros((20, 3000, 3), np.uint8), np.zeros((20, 3000), np.uint8), space, lambda: PROBS)
    with PILImage.open(io.BytesIO(large._repr_png_())) as picture:
        assert picture.size == (1024, 7)
    assert "array" not in repr(large)


def test_unknown_form_of_probabilities_is_refused(space: LabelSpace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"npz" or "png"'):
        predicted(space).save(tmp_path, probs="jpg")  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_named(space: LabelSpace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match=r"cannot write .*file.*choose another"):
        predicted(space).save(tmp_path / "file")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """The target is a folder, so the last step fails: no temporary file may stay."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ResourceError):
        write_bytes(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    write_bytes(tmp_path / "c.json", json.dumps({}).encode())
    assert sorted(os.listdir(tmp_path)) == ["a", "c.json"]


def test_many_threads_save_into_one_folder(space: LabelSpace, tmp_path: Path) -> None:
    """The temporary file had one name per process: threads renamed each other's, and label PNGs held another picture's."""
    predictions = []
    for index in range(40):
        labels = np.full((16, 16), index % 4, np.uint8)
        probs = np.eye(4, dtype=np.float32)[:, index % 4, None, None].repeat(16, 1).repeat(16, 2)
        image = np.full((16, 16, 3), 6 * index, np.uint8)
        unsure = np.full((16, 16), index / 400, np.float32)
        predictions.append(Prediction(f"p{index}", image, labels, space, lambda probs=probs: probs, unsure))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda result: result.save(tmp_path / "together", probs="npz"), predictions))
    for result, written in zip(predictions, together, strict=True):
        alone = result.save(tmp_path / "alone", probs="npz")
        for kind in ("labels", "overlay", "uncertainty", "probs"):
            assert written[kind].read_bytes() == alone[kind].read_bytes(), (result.name, kind)
    assert not list(tmp_path.rglob("*.part"))
