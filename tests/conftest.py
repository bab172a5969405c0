"""Fixtures that several parts share: the real test pictures, a tiny data set, a run that takes a second, a network whose answer is known."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from denselab.data import Dataset, open_dataset
from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.labels import LabelEntry, LabelSpace
from denselab.log import HANDLER
from denselab.models.base import SegmentationModel

# As `make tests` has it: more threads move the last bits of sums, and pictures of a folder are done in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

settings.register_profile("denselab", deadline=None)  # tests never time anything
settings.load_profile("denselab")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TINY: dict[str, Any] = {
    "model": "deeplabv3plus",
    "encoder": "mobilenetv3_small_050",
    "pretrained": "no",
    "imgsz": (32, 48),
    "batch": 4,
    "device": "cpu",
    "workers": 0,
    "epochs": 2,
    "validations": 2,
    "lr": 1e-3,
    "ema": 0.9,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def lines_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said appears on stderr, as on the command line: pytest's own handlers would make DenseLab's stand back."""
    monkeypatch.setattr(HANDLER, "alone", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test pictures beside the checkout; a clone elsewhere has none and skips."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test pictures (../shared/data) are not beside this checkout")
    return SHARED_DATA


@pytest.fixture
def two_colours() -> NDArray[np.uint8]:
    """A picture of 24x32: dark on the left, light on the right."""
    image = np.full((24, 32, 3), 40, np.uint8)
    image[:, 16:] = 210
    return image


@pytest.fixture
def noisy_probs() -> NDArray[np.float32]:
    """(2, 24, 32) of `two_colours`: right on average, wrong at about a fifth of the pixels."""
    logit = np.where(np.arange(32) >= 16, 1.0, -1.0) + np.random.default_rng(0).normal(0, 1.2, (24, 32))
    light = 1 / (1 + np.exp(-logit))
    return np.stack([1 - light, light]).astype(np.float32)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """12 training and 4 validation scenes of 48x64 pixels."""
    root = write_synthetic(tmp_path_factory.mktemp("tiny"), train=12, val=4, size=(48, 64), seed=5)
    return open_dataset(root)


@pytest.fixture(scope="session")
def tiny(tiny_data: Dataset) -> dict[str, Any]:
    """Settings of a short run; copy and change what a test is about."""
    return {"data": str(tiny_data.root), **TINY}


Numbers = Callable[..., NDArray[Any]]
Stack = Callable[..., Path]


@pytest.fixture(scope="session")
def band_numbers() -> Numbers:
    """band_numbers(bands, dtype, seed, size): (H, W, bands); band b lies around 1000 (b + 1), or 20 (b + 1) for bytes."""

    def make(bands: int, dtype: Any = np.uint16, seed: int = 0, size: tuple[int, int] = (6, 8)) -> NDArray[Any]:
        unit = 20 if np.dtype(dtype) == np.uint8 else 1000
        noise = np.random.default_rng(seed).integers(0, unit, (*size, bands))
        return (noise + unit * np.arange(1, bands + 1)).astype(dtype)

    return make


@pytest.fixture(scope="session")
def write_stack() -> Stack:
    """write_stack(path, pixels, **options): a TIFF of (H, W, C), or a npy file; the folders are made."""

    def write(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, pixels)
        else:
            planar = {"planarconfig": "contig"} if pixels.ndim == 3 else {}
            tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **planar, **options})
        return path

    return write


@pytest.fixture(scope="session")
def half_and_half() -> Stack:
    """half_and_half(path, size): a label PNG, 0 on the left and 1 on the right."""

    def write(path: Path, size: tuple[int, int] = (6, 8)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros(size, np.uint8)
        values[:, size[1] // 2 :] = 1
        Image.fromarray(values).save(path)
        return path

    return write


COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))


class NearestColour(SegmentationModel):
    """Logits 4 (c . x - |c|^2 / 2) for each class's colour c: largest for the nearest. `runs` counts forward passes."""

    def __init__(self) -> None:
        super().__init__(len(COLOURS))
        self.colours = torch.tensor(COLOURS, dtype=torch.float32) / 255
        self.runs: list[tuple[int, ...]] = []

    def coarse_logits(self, images: Tensor) -> Tensor:
        self.runs.append(tuple(images.shape))
        bias = (self.colours**2).sum(dim=1)[None, :, None, None] / 2
        return 4 * (torch.einsum("kc,bchw->bkhw", self.colours, images) - bias)

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


@pytest.fixture
def space() -> LabelSpace:
    """Ids that differ from the indices, and one that is ignored."""
    names = ("ground", "red", "green", "blue")
    entries = [LabelEntry(10 * i, name, colour) for i, (name, colour) in enumerate(zip(names, COLOURS, strict=True))]
    return LabelSpace((*entries, LabelEntry(99, "void", (9, 9, 9), "ignore")))


@pytest.fixture
def engine(space: LabelSpace) -> TorchEngine:
    """The nearest-colour network, fed with pictures fitted into 32x32."""
    preprocessing = Preprocessing((32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
    architecture = Architecture("nearest", len(COLOURS))
    return TorchEngine(ModelSpec(architecture, space, preprocessing), NearestColour().eval(), torch.device("cpu"))


NEAREST = """
<ir_version: 8, opset_import: ["": 18]>
nearest (uint8[B,H,W,3] pictures) => (float[B,4,H,W] logits)
{
    white = Constant <value = float {255.0}> ()
    numbers = Cast <to = 1> (pictures)
    scaled = Div (numbers, white)
    planes = Transpose <perm = [0, 3, 1, 2]> (scaled)
    logits = Conv (planes, weight, bias)
}
"""


@pytest.fixture(scope="session")
def nearest_graph() -> Any:
    """The nearest-colour network as an onnx.ModelProto, written by hand."""
    import onnx

    model = onnx.parser.parse_model(NEAREST)
    colours = np.array(COLOURS, np.float32) / 255
    numbers = {"weight": 4 * colours[:, :, None, None], "bias": -2 * (colours**2).sum(axis=1)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in numbers.items())
    return model


@pytest.fixture
def exported_folder(nearest_graph: Any, engine: TorchEngine, tmp_path: Path) -> Path:
    """A model folder that holds the nearest-colour network as model.onnx, and no weights."""
    from denselab.engine.folder import config_bytes
    from denselab.folders import write_folder
    from denselab.run_folder import CARD, MODEL_CONFIG, ONNX_GRAPH

    files = {ONNX_GRAPH: nearest_graph.SerializeToString(), MODEL_CONFIG: config_bytes(engine.spec), CARD: b"a card"}
    write_folder(tmp_path / "exported", files)
    return tmp_path / "exported"


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training and four validation scenes of 40x56 pixels."""
    return write_synthetic(tmp_path_factory.mktemp("scenes"), train=2, val=4, size=(40, 56), seed=1)


@pytest.fixture(scope="session")
def models(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two model folders with untrained networks for those scenes, which differ in their weights and working size."""
    space, folders = open_dataset(scenes).label_space, []
    for seed, imgsz in enumerate([(40, 56), (32, 32)]):
        torch.manual_seed(seed)
        architecture = Architecture("deeplabv3plus", space.num_classes, "test_efficientnet")
        network = architecture.create()
        with torch.no_grad():
            for _ in range(25):  # until batch norm knows its statistics: before, every pixel gets the same class
                network(torch.randn(4, 3, 40, 56))
        spec = ModelSpec(architecture, space, Preprocessing(imgsz, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0))
        folders.append(tmp_path_factory.mktemp("models") / f"model{seed}")
        save_engine(TorchEngine(spec, network.eval(), torch.device("cpu")), folders[-1])
    return folders[0], folders[1]
