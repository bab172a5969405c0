"""The predictor on a network whose answer is known, for any size, form and option; and model folders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from denselab.engine.folder import save_engine
from denselab.engine.hub import is_hub_id
from denselab.engine.spec import Architecture, Fit, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.errors import CheckpointError, DataError, NoSuchPath, ResourceError
from denselab.inference import Prediction, Predictor, load
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


def test_labels_ids_and_probs_of_one_picture(engine: TorchEngine) -> None:
    result = Predictor(engine)(quarters(), name="q")
    assert result.name == "q"
    assert np.array_equal(result.labels, expected())
    assert np.array_equal(result.ids, 10 * expected())
    assert result.probs.shape == (4, 32, 32)
    assert np.allclose(result.probs.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(result.probs.argmax(axis=0), expected())


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (2000, 30), (30, 2000), (1, 300)])
@pytest.mark.parametrize("options", [{}, {"tta": True}, {"window": (16, 16)}, {"window": (16, 24), "tta": True}])
def test_any_size_gives_labels_of_that_size(engine: TorchEngine, size: tuple[int, int], options: dict) -> None:
    image = np.full((*size, 3), (0, 250, 4), dtype=np.uint8)
    result = Predictor(engine)(image, **options)
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
    engine: TorchEngine, fit: Fit, plain: tuple[int, int], options: dict
) -> None:
    """A 16x16 picture in a box of 32x32: enlarged, left as it is, or enlarged by its shorter side; views are scaled from there."""
    predictor = Predictor(
        replace(engine, spec=replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, fit=fit)))
    )
    assert np.array_equal(predictor(quarters(16), **options).labels, expected(16))
    runs = {run[2:] for run in engine.network.runs}
    wanted = {tuple(round(side * s) for side in plain) for s in ((0.75, 1.0, 1.25) if "tta" in options else (1.0,))}
    assert runs == (wanted if "window" not in options else {(16, 16)})


def test_windows_keep_the_detail_that_fitting_into_imgsz_loses(engine: TorchEngine) -> None:
    """A 320x320 picture with 4-pixel dots is reduced tenfold by the plain run; windows work at the scale of training."""
    image = np.zeros((320, 320, 3), dtype=np.uint8)
    truth = np.zeros((320, 320), dtype=np.uint8)
    for y, x in ((10, 10), (150, 170), (300, 45)):
        image[y : y + 4, x : x + 4] = (255, 0, 0)
        truth[y : y + 4, x : x + 4] = 1
    predictor = Predictor(engine)
    assert np.array_equal(predictor(image, window=(32, 32)).labels, truth)
    assert (predictor(image).labels == 1).sum() < (truth == 1).sum() / 2


def test_windows_work_at_the_scale_of_training(engine: TorchEngine) -> None:
    halved = replace(
        engine, spec=replace(engine.spec, preprocessing=replace(engine.spec.preprocessing, train_scale=0.5))
    )
    Predictor(halved)(np.zeros((128, 128, 3), np.uint8), window=(32, 32))
    runs = halved.network.runs  # type: ignore[union-attr]
    assert set(runs) == {(1, 3, 32, 32)}  # each reads 64x64 pixels of the picture
    assert len(runs) == 9


def test_tta_runs_three_sizes_and_their_mirror_images(engine: TorchEngine) -> None:
    Predictor(engine)(quarters(), tta=True)
    assert [run[2] for run in engine.network.runs] == [24, 24, 32, 32, 40, 40]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a real, small network."""
    labels = LabelSpace.from_list([{"id": i, "name": f"c{i}"} for i in range(3)])
    architecture = Architecture("deeplabv3plus", 3, "test_efficientnet")
    preprocessing = Preprocessing((32, 48), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
    torch.manual_seed(0)
    network = architecture.create().eval()
    target = tmp_path_factory.mktemp("run") / "model"
    save_engine(TorchEngine(ModelSpec(architecture, labels, preprocessing), network, torch.device("cpu")), target)
    return target


def test_a_folder_and_its_run_and_its_copy_predict_the_same(folder: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    first = load(folder, "cpu")
    copy = first.save_pretrained(tmp_path / "copy")
    for other in (load(folder.parent, "cpu"), Predictor.from_pretrained(copy, device="cpu")):
        assert np.array_equal(other(image).probs, first(image).probs)
    assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_predictor_made_in_memory_is_saved_too(folder: Path, tmp_path: Path) -> None:
    made = Predictor(load(folder, "cpu").engine)
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


def test_reprs_are_short(engine: TorchEngine, folder: Path) -> None:
    assert repr(Predictor(engine)) == "Predictor(nearest, 4 classes, cpu)"
    assert repr(load(folder, "cpu")) == "Predictor(deeplabv3plus on test_efficientnet, 3 classes, cpu)"
    assert repr(Predictor(engine)(quarters(), name="q")) == "Prediction('q', 32x32, 4 classes)"


def flat(value: int, height: int = 6) -> np.ndarray:
    return np.full((height, 8, 3), (0, value, 0), np.uint8)


def test_a_list_gives_a_list_in_its_order(engine: TorchEngine, tmp_path: Path) -> None:
    """Of any forms and sizes; names that would be the same get their position, for the files of both."""
    PILImage.fromarray(flat(255)).save(tmp_path / "a.png")
    results = Predictor(engine)([flat(0), tmp_path / "a.png", flat(255, height=9), PILImage.fromarray(flat(0))])
    assert [result.name for result in results] == ["picture-0", "a", "picture-2", "picture-3"]
    assert [int(result.labels[0, 0]) for result in results] == [0, 2, 2, 0]
    assert results[2].labels.shape == (9, 8)
    assert Predictor(engine)([]) == []


def test_a_batch_gives_a_list(engine: TorchEngine) -> None:
    batch = np.stack([flat(0), flat(255), flat(255)])
    from_arrays = Predictor(engine)(batch, name="p")
    from_tensor = Predictor(engine)(torch.from_numpy(batch).permute(0, 3, 1, 2))
    assert [result.name for result in from_arrays] == ["p-0", "p-1", "p-2"]
    for results in (from_arrays, from_tensor):
        assert [int(result.labels[0, 0]) for result in results] == [0, 2, 2]


def test_a_folder_or_a_pattern_gives_its_pictures_as_they_are_asked_for(
    engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else a few at once
    (tmp_path / "sub").mkdir()
    for name, value in (("b.png", 0), ("sub/a.png", 255), ("a.png", 255)):
        PILImage.fromarray(flat(value)).save(tmp_path / name)
    predictor = Predictor(engine)
    results = predictor(tmp_path)
    assert isinstance(next(results), Prediction)
    assert len(engine.network.runs) == 1, "the others have not been predicted yet"
    assert [result.name for result in predictor(str(tmp_path))] == ["a", "b", "sub/a"]
    assert [result.name for result in predictor(f"{tmp_path}/*.png")] == ["a", "b"]
    written = [result.save(tmp_path / "out")["labels"] for result in predictor(tmp_path)]
    assert written[-1] == tmp_path / "out" / "labels" / "sub" / "a.png"


def test_a_folder_or_a_pattern_without_pictures_is_refused_at_once(engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        Predictor(engine)(tmp_path)
    with pytest.raises(DataError, match="matches no picture"):
        Predictor(engine)(f"{tmp_path}/*.png")
    with pytest.raises(NoSuchPath, match="nothing.png"):
        Predictor(engine)(tmp_path / "nothing.png")
