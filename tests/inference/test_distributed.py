"""Prediction on a Ray cluster of two nodes, one of which dies under way: nothing is lost, nothing comes twice."""

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from denselab.engine.folder import save_engine
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.distributed import predict_dataset
from denselab.labels import LabelSpace

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray leaves sockets and files open
ray = pytest.importorskip("ray")
PICTURES = 60


@pytest.fixture
def model(space: LabelSpace, tmp_path: Path) -> Path:
    """A model folder of an untrained network."""
    architecture = Architecture("deeplabv3plus", space.num_classes, "test_efficientnet")
    preprocessing = Preprocessing((40, 56), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1.0)
    network = architecture.create().eval()
    import torch

    save_engine(
        TorchEngine(ModelSpec(architecture, space, preprocessing), network, torch.device("cpu")), tmp_path / "model"
    )
    return tmp_path / "model"


def test_a_node_dies_under_way(model: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(PICTURES):
        picture = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        PILImage.fromarray(picture).save(tmp_path / "in" / f"{number:03d}.png")
    (tmp_path / "in" / "007.png").write_bytes(b"no picture")
    store = 100 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
    other = cluster.add_node(num_cpus=1, object_store_memory=store)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        items = [{"path": str(p), "stem": p.stem} for p in sorted((tmp_path / "in").iterdir())]
        data = ray.data.from_items(items, override_num_blocks=12)
        rows = predict_dataset(data, model, tmp_path / "out", device="cpu", actors=2, cpus=0.8)

        def kill() -> None:
            while len(list((tmp_path / "out" / "labels").glob("*.png"))) < 6:
                time.sleep(0.05)
            cluster.remove_node(other, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        found = list(rows.iter_rows())
        killer.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert Counter(Path(row["file"]).stem for row in found) == Counter(f"{n:03d}" for n in range(PICTURES))
    assert [Path(row["file"]).stem for row in found if row["error"]] == ["007"]
    assert len(list((tmp_path / "out" / "labels").glob("*.png"))) == PICTURES - 1
