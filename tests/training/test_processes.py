"""Two processes on the CPU: the same start, the same counts as one process, resume."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from denselab.config import Settings
from denselab.data import Dataset
from denselab.data.feed.cache import SampleCache
from denselab.engine.segmenter import load_segmenter
from denselab.training.records import read_metrics
from denselab.training.run import make_accelerator
from denselab.training.validate import validate

Values = dict[str, Any]

WORKER = """
import json, sys
from pathlib import Path
from denselab.config import make_settings
from denselab.data import open_dataset
from denselab.training.resume import resumed_settings
from denselab.training.run import run_training
data, run, settings, resume = sys.argv[1:]
settings = make_settings(json.loads(settings))
if resume == "resume":
    settings = resumed_settings(settings, Path(run))
run_training(settings, open_dataset(data), Path(run), resume=resume == "resume")
"""


def launch(data: Path, run: Path, settings: Values, resume: str = "no") -> None:
    """What `accelerate launch --cpu --num_processes 2` does: a process per rank, told its place by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        address = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", WORKER, str(data), str(run), json.dumps(settings), resume]
        environment = {**os.environ, **place, **address}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)


@pytest.mark.slow
def test_two_processes_train_measure_like_one_and_resume(tiny_data: Dataset, tiny: Values, tmp_path: Path) -> None:
    """The weights that two processes kept give one process the same counts, hence the same scores to the last bit."""
    launch(tiny_data.root, tmp_path / "two", {**tiny, "epochs": 1, "validations": 1})
    stored = yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())
    assert stored["batch"] == tiny["batch"]
    row = read_metrics(tmp_path / "two", "validation")[-1]
    segmenter = load_segmenter(tmp_path / "two", device="cpu")
    alone = validate(
        segmenter.model,
        tiny_data,
        tiny_data.of_split("val"),
        segmenter.preprocessing,
        lambda logits, labels: logits.sum() * 0,
        make_accelerator(Settings(device="cpu")),
        batch=tiny["batch"],
        workers=0,
        cache=SampleCache(0),
    )
    assert row["miou"] == alone.miou
    assert list(row["class_iou"].values()) == alone.class_iou
    launch(tiny_data.root, tmp_path / "two", {"epochs": 2}, "resume")
    assert [r["step"] for r in read_metrics(tmp_path / "two", "validation")] == [3, 6]
