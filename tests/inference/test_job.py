"""What counts as done: results go by the model's content, its options and the picture, and by nothing less."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.conftest import NearestColour

from denselab import __version__
from denselab.engine.graph_engine import GraphEngine
from denselab.engine.torch_engine import TorchEngine
from denselab.inference.ensembles import Model, ensemble_of
from denselab.inference.instances import InstanceWise
from denselab.inference.job import Job, model_key, other_version
from denselab.inference.plan import Plan, joint_plan, plan_for
from denselab.inference.stores import LocalPlace


def picture_of(folder: Path) -> Path:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    return folder / "a.png"


def mark_of(plan: Plan, folder: Path, model: str = "m") -> str:
    return Job(plan, LocalPlace(folder), model=model).mark(picture_of(folder))


def test_a_model_of_no_folder_goes_by_its_weights(engine: TorchEngine) -> None:
    """It went by its architecture: what another training had predicted passed for its own."""
    trained = NearestColour().eval()
    trained.register_buffer("weight", torch.ones(2))
    keys = [model_key(None, plan_for(one)) for one in (engine, replace(engine, network=trained))]
    assert keys[0] != keys[1]
    assert keys[0] == model_key(None, plan_for(engine))
    unknown = GraphEngine(engine.spec, "cpu", lambda pictures: np.zeros(0, np.float32))
    assert model_key(None, plan_for(unknown)) == "", "then nothing counts as done"


def test_options_and_the_picture_make_the_mark(engine: TorchEngine, tmp_path: Path) -> None:
    plain = mark_of(plan_for(engine), tmp_path)
    assert plain == mark_of(plan_for(engine), tmp_path)
    others = [
        mark_of(plan_for(engine, tta=True), tmp_path),
        mark_of(plan_for(engine, window=(16, 16)), tmp_path),
        mark_of(plan_for(engine, crf=True), tmp_path),
        mark_of(plan_for(engine, instances=InstanceWise()), tmp_path),
        mark_of(plan_for(engine, instances=InstanceWise(boxes=3)), tmp_path),
        mark_of(plan_for(engine), tmp_path, "another"),
    ]
    assert len({plain, *others}) == 7
    path = picture_of(tmp_path)
    path.write_bytes(path.read_bytes() + b" ")
    assert Job(plan_for(engine), LocalPlace(tmp_path), model="m").mark(path) != plain


def test_another_version_is_told_from_another_model(engine: TorchEngine, tmp_path: Path) -> None:
    mark = mark_of(plan_for(engine), tmp_path)
    content, _, version = mark.partition("@")
    assert (len(content), version) == (32, __version__)
    assert other_version(mark, mark) == ""
    assert other_version(mark, f"{content}@0.0.9") == "DenseLab 0.0.9"
    assert other_version(mark, content) == "an earlier version of DenseLab"
    assert other_version(f"{mark} 2 mean", f"{content}@0.0.9 2 mean") == "DenseLab 0.0.9"
    for unlike in (f"{content}@0.0.9 1 mean", mark_of(plan_for(engine, tta=True), tmp_path), ""):
        assert other_version(f"{mark} 2 mean", unlike) == ""
    assert other_version("", mark) == ""


def test_boxes_that_a_function_gives_leave_no_mark(engine: TorchEngine, tmp_path: Path) -> None:
    """Two functions had one mark, so that the results of the first were taken for those of the second."""
    how = InstanceWise(lambda image: np.array([[0, 0, 4, 4]]))
    assert mark_of(plan_for(engine, instances=how), tmp_path) == ""
    both = joint_plan(ensemble_of([Model(engine), Model(engine, None, how)]))
    assert mark_of(both, tmp_path) == ""
    assert mark_of(joint_plan(ensemble_of([Model(engine), Model(engine)])), tmp_path) != ""
