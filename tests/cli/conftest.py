"""Made scenes and small untrained models of them, for commands that take a model."""

from pathlib import Path

import pytest
import torch

from denselab.data import open_dataset
from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine


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
