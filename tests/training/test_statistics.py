"""Statistics of batch normalisation gathered over the training set: plain averages, and a run whose model holds them."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from denselab.config import make_settings
from denselab.data import Dataset
from denselab.engine.segmenter import Preprocessing, load_segmenter
from denselab.models.base import SegmentationModel
from denselab.training import loop
from denselab.training.records import read_metrics
from denselab.training.run import run_training
from denselab.training.statistics import gather_statistics

RAW = Preprocessing((4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Small(SegmentationModel):
    """Dropout, then normalisation: with dropout on, its statistics would be others."""

    def __init__(self) -> None:
        super().__init__(3)
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(3)

    def coarse_logits(self, images: Tensor) -> Tensor:
        return self.norm(self.dropout(images))

    def enlarge(self, coarse: Tensor, size: tuple[int, int]) -> Tensor:
        return coarse


def test_every_batch_counts_alike_and_dropout_is_off() -> None:
    """Two batches by hand: mean of their means, mean of their variances; what the running averages held is gone."""
    torch.manual_seed(0)
    batches = [torch.randint(0, 256, (size, 3, 4, 4), dtype=torch.uint8) for size in (2, 5)]
    model = Small().train()
    for _ in range(3):
        model(torch.randn(2, 3, 4, 4))
    gather_statistics(model, batches, RAW, Accelerator(cpu=True))
    values = [batch.float().div(255).transpose(0, 1).flatten(1) for batch in batches]
    assert model.norm.running_mean is not None
    assert model.norm.running_var is not None
    torch.testing.assert_close(model.norm.running_mean, (values[0].mean(1) + values[1].mean(1)) / 2)
    torch.testing.assert_close(model.norm.running_var, (values[0].var(1) + values[1].var(1)) / 2)
    assert model.norm.momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_the_model_of_a_run_holds_gathered_statistics(
    tiny_data: Dataset, tiny: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    """Gathered once, after the last step and before the last validation; weights are those of the run without."""
    gathered: list[list[int]] = []

    def gather(model: SegmentationModel, batches: Any, *rest: Any) -> None:
        kept = list(batches)
        gathered.append([len(images) for images in kept])
        gather_statistics(model, kept, *rest)

    monkeypatch.setattr(loop, "gather_statistics", gather)
    models = {}
    for kind in ("running", "cumulative"):
        run = tmp_path / kind
        run_training(make_settings({**tiny, "bn_statistics": kind, "validations": 1}), tiny_data, run)
        models[kind] = load_segmenter(run, "cpu").model.state_dict()
        assert len(read_metrics(run, "validation")) == 1
        assert json.loads((run / "summary.json").read_text())["stopped"] == "epochs"
    assert gathered == [[4, 4, 4]]
    different = {
        name for name, value in models["running"].items() if not torch.equal(value, models["cumulative"][name])
    }
    assert different
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in different)
    counts = {int(v) for name, v in models["cumulative"].items() if name.endswith("num_batches_tracked")}
    assert counts == {3}
