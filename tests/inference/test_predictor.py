"""The predictor on a network whose answer is known, for any size, form and option; and model folders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import denselab.inference.predictor as predictor_module
from denselab.engine.hub import is_hub_id
from denselab.engine.segmenter import Architecture, Fit, Preprocessing, Segmenter, save_segmenter
from denselab.errors import CheckpointError, ConfigError, NoSuchPath, ResourceError
from denselab.inference import Options, Predictor, load
from denselab.inference.predictor import _or_windows
from denselab.labels import LabelSpace


def quarters(size: int = 32) -> np.ndarray:
    """Black, red, green and blue quarters."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    half = size // 2
    image[:half, half:] = (255, 0, 0)
    image[half:, :half] = (0, 255, 0)
    image[half:, half:] = (0, 0, 255)
    return image


def expected(size: int = 32) -> np.ndarray:
    return np.kron(np.array([[0, 1], [2, 3]]), np.ones((size // 2, size // 2), int))


def test_labels_ids_and_probs_of_one_picture(segmenter: Segmenter) -> None:
    result = Predictor(segmenter)(quarters(), name="q")
    assert result.name == "q"
    assert np.array_equal(result.labels, expected())
    assert np.array_equal(result.ids, 10 * expected())
    assert result.probs.shape == (4, 32, 32)
    assert np.allclose(result.probs.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(result.probs.argmax(axis=0), expected())


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (2000, 30), (30, 2000), (1, 300)])
@pytest.mark.parametrize("options", [{}, {"tta": True}, {"window": (16, 16)}, {"window": (16, 24), "tta": True}])
def test_any_size_gives_labels_of_that_size(segmenter: Segmenter, size: tuple[int, int], options: dict) -> None:
    image = np.full((*size, 3), (0, 250, 4), dtype=np.uint8)
    result = Predictor(segmenter)(image, **options)
    assert result.labels.shape == size
    assert (result.labels == 2).all()
    assert result.probs.shape == (4, *size)


@pytest.mark.parametrize("options", [{}, {"tta": True}, {"window": (16, 16)}])
@pytest.mark.parametrize(
    ("fit", "plain"),
    [("inside", (32, 32)), ("shrink", (16, 16)), ("shorter", (32, 32))],
    ids=["inside", "shrink", "shorter"],
)
def test_the_rule_of_the_weights_holds_for_every_option(
    segmenter: Segmenter, fit: Fit, plain: tuple[int, int], options: dict
) -> None:
    """A 16x16 picture in a box of 32x32: enlarged, left as it is, or enlarged by its shorter side; views are scaled from there."""
    predictor = Predictor(replace(segmenter, preprocessing=replace(segmenter.preprocessing, fit=fit)))
    assert np.array_equal(predictor(quarters(16), **options).labels, expected(16))
    runs = {run[2:] for run in segmenter.model.runs}
    wanted = {tuple(round(side * s) for side in plain) for s in ((0.75, 1.0, 1.25) if "tta" in options else (1.0,))}
    assert runs == (wanted if "window" not in options else {(16, 16)})


def test_windows_keep_the_detail_that_fitting_into_imgsz_loses(segmenter: Segmenter) -> None:
    """A 320x320 picture with 4-pixel dots is reduced tenfold by the plain run; windows work at the scale of training."""
    image = np.zeros((320, 320, 3), dtype=np.uint8)
    truth = np.zeros((320, 320), dtype=np.uint8)
    for y, x in ((10, 10), (150, 170), (300, 45)):
        image[y : y + 4, x : x + 4] = (255, 0, 0)
        truth[y : y + 4, x : x + 4] = 1
    predictor = Predictor(segmenter)
    assert np.array_equal(predictor(image, window=(32, 32)).labels, truth)
    assert (predictor(image).labels == 1).sum() < (truth == 1).sum() / 2


def test_windows_work_at_the_scale_of_training(segmenter: Segmenter) -> None:
    halved = replace(segmenter, preprocessing=replace(segmenter.preprocessing, train_scale=0.5))
    Predictor(halved)(np.zeros((128, 128, 3), np.uint8), window=(32, 32))
    runs = halved.model.runs  # type: ignore[union-attr]
    assert set(runs) == {(1, 3, 32, 32)}  # each reads 64x64 pixels of the picture
    assert len(runs) == 9


def test_tta_runs_three_sizes_and_their_mirror_images(segmenter: Segmenter) -> None:
    Predictor(segmenter)(quarters(), tta=True)
    assert [run[2] for run in segmenter.model.runs] == [24, 24, 32, 32, 40, 40]  # type: ignore[union-attr]


def test_what_would_not_fit_is_windowed_by_itself(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 MiB holds 4096 network pixels at once; 128x128 is run in windows at the same scale."""
    monkeypatch.setattr(predictor_module, "total_memory", lambda: 16 * 2**20)
    monkeypatch.setattr(predictor_module, "AUTO_WINDOW", (32, 32))
    large = segmenter.with_imgsz((128, 128))
    labels = Predictor(large).labels(quarters(64))
    assert max(run[2] for run in large.model.runs) == 32  # type: ignore[union-attr]
    assert (labels != expected(64)).mean() < 0.07  # only where the enlarged picture mixes two colours


def test_running_out_of_memory_goes_on_with_windows() -> None:
    def whole() -> int:
        raise torch.OutOfMemoryError("no room")

    assert _or_windows(whole, lambda: 7) == 7


def test_probabilities_too_large_for_the_machine_are_refused(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_module, "total_memory", lambda: 2**20)
    with pytest.raises(ResourceError, match=r"500x500 pixels and 4 classes need .* GiB"):
        Predictor(segmenter).probs(np.zeros((500, 500, 3), np.uint8))


def test_tiny_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="window 8x512"):
        Options((8, 512))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a real, small network."""
    labels = LabelSpace.from_list([{"id": i, "name": f"c{i}"} for i in range(3)])
    architecture = Architecture("deeplabv3plus", 3, "test_efficientnet")
    preprocessing = Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
    torch.manual_seed(0)
    network = architecture.create().eval()
    target = tmp_path_factory.mktemp("run") / "model"
    save_segmenter(Segmenter(network, architecture, labels, preprocessing, torch.device("cpu"), {}), target)
    return target


def test_a_folder_and_its_run_and_its_copy_predict_the_same(folder: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    first = load(folder, "cpu")
    copy = first.save_pretrained(tmp_path / "copy")
    for other in (load(folder.parent, "cpu"), Predictor.from_pretrained(copy, device="cpu")):
        assert np.array_equal(other(image).probs, first(image).probs)
    assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_predictor_made_in_memory_is_saved_too(folder: Path, tmp_path: Path) -> None:
    made = Predictor(load(folder, "cpu").segmenter)
    saved = made.save_pretrained(tmp_path / "made")
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "manifest.json", "model.safetensors"]
    image = np.zeros((9, 9, 3), np.uint8)
    assert np.array_equal(load(saved, "cpu")(image).probs, made(image).probs)


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="file"):
        load(folder, "cpu").save_pretrained(tmp_path / "file" / "model")


def test_a_path_without_model_is_an_error_and_no_look_at_the_network(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(NoSuchPath, match="nothing"):
        load(tmp_path / "runs" / "nothing")


def test_an_id_that_cannot_be_fetched_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="someone/streets could not be fetched"):
        Predictor.from_pretrained("hf://someone/streets", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(NoSuchPath, match="someone/streets does not exist; expected .* or an id that the hub knows"):
        Predictor.from_pretrained("someone/streets", cache_dir=tmp_path, local_files_only=True)


def test_only_ids_that_are_no_folder_mean_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_hub_id("someone/streets")
    assert is_hub_id("hf://runs/streets")
    for path in ("runs/streets", "./someone/streets", "/someone/streets", "streets", "a/b/c", "../a/b"):
        assert not is_hub_id(path)
