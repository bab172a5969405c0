"""One small trained-like network, traced once for all tests of this room."""

from pathlib import Path
from typing import Any

import pytest
import torch

from denselab.data.draw.synthetic import write_synthetic
from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.export.onnx_graph import onnx_model
from denselab.export.program import exported_program
from denselab.labels import LabelSpace
from denselab.models.pixelwise import Pixelwise


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and three validation scenes of 48x64 pixels."""
    return write_synthetic(tmp_path_factory.mktemp("export") / "scenes", train=4, val=3, size=(48, 64), seed=2)


@pytest.fixture(scope="session")
def pixelwise(scenes: Path) -> TorchEngine:
    """The smallest network, with random weights, for the scenes' classes at 36x48."""
    from denselab.data import open_dataset

    torch.manual_seed(0)
    space: LabelSpace = open_dataset(scenes).label_space
    network = Pixelwise(3, space.num_classes)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    spec = ModelSpec(
        Architecture("pixelwise", space.num_classes), space, Preprocessing((36, 48), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    )
    return TorchEngine(spec, network.eval(), torch.device("cpu"))


@pytest.fixture(scope="session")
def model_folder(pixelwise: TorchEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's model folder."""
    folder = tmp_path_factory.mktemp("export") / "model"
    save_engine(pixelwise, folder)
    return folder


@pytest.fixture(scope="session")
def program(pixelwise: TorchEngine) -> Any:
    """torch.export's graph of the network."""
    return exported_program(pixelwise)


@pytest.fixture(scope="session")
def graph(pixelwise: TorchEngine, program: Any) -> Any:
    """The network as an onnx.ModelProto."""
    return onnx_model(program, pixelwise.spec)
