"""The first training of an installation: its loops are compiled beside its start, and the first step waits for them."""

import logging
from typing import Any, ClassVar

import pytest
import torch

from denselab.build import create_model
from denselab.compiled import beside
from denselab.compiled.beside import MARK
from denselab.compiled.jobs import job_function
from denselab.config import LossTerm, make_settings
from denselab.config.settings import Precision
from denselab.layers.cpu import team
from denselab.layers.cpu.team import can_run
from denselab.losses import create_loss
from denselab.models.base import SegmentationModel
from denselab.training import loops, trial
from denselab.training.cold_start import begin_layers, compile_for, loops_beside
from denselab.training.trial import try_steps

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not can_run(), reason="torch runs on another library of threads here")


class FakeProcess:
    """Notes what it was started for, and that somebody waited for it."""

    started: ClassVar[list[list[str]]] = []
    waited: ClassVar[list[str]] = []

    def __init__(self, command: list[str], **options: Any) -> None:
        self.kinds = command[command.index("-c") + 3 :]
        self.started.append(command[command.index("-c") + 2 :])

    def poll(self) -> None:
        return None

    def wait(self) -> int:
        self.waited.extend(kind for kind in self.kinds if kind not in self.waited)
        return 0

    def terminate(self) -> None:
        pass


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    """Nothing is kept, a machine of two cores, and a fake in the place of processes."""
    monkeypatch.setattr(loops, "_is_missing", lambda kind, maps: True)
    monkeypatch.setattr(loops, "_begun", {})
    monkeypatch.setattr(loops, "cpu_count", lambda: 2)
    monkeypatch.setattr(beside.subprocess, "Popen", FakeProcess)
    monkeypatch.setattr(beside.atexit, "register", lambda function: function)
    monkeypatch.setattr(FakeProcess, "started", [])
    monkeypatch.setattr(FakeProcess, "waited", [])
    return FakeProcess


def default_network() -> SegmentationModel:
    return create_model("deeplabv3plus", 3, encoder="mobilenetv2_100", pretrained="no")


def test_each_kind_is_begun_once_said_once_and_waited_for(
    cold: type[FakeProcess], caplog: pytest.LogCaptureFixture
) -> None:
    """Fourteen seconds went by without a word, and were taken for the time of the pictures."""
    caplog.set_level(logging.INFO)
    with loops_beside(make_settings({"data": "d", "device": "cpu", "precision": "no", "time": 60})):
        assert cold.started == [["float32", "pictures"], ["float32", "enlarge", "softmax"]]
        begin_layers(default_network(), CPU, "no")
        assert cold.started[2:] == [["float32", "depthwise", "norm"]], "no core is left for more than one"
        assert not cold.waited
        compile_for(default_network(), CPU, "no")
    assert len(cold.started) == 3
    assert sorted(cold.waited) == ["depthwise", "enlarge", "norm", "pictures", "softmax"]
    (line,) = caplog.messages
    assert line == (
        "denselab: compiling the loops of training for this machine, beside what else is to be prepared (about "
        f"{loops.seconds(loops.SECONDS):.0f} s, once: they are kept)"
    )


def test_a_network_without_such_layers_needs_no_loops_for_them(cold: type[FakeProcess]) -> None:
    begin_layers(create_model("unet_paper", 2), CPU, "no")
    assert not cold.started
    begin_layers(create_model("unet_small", 2), CPU, "bf16")
    assert cold.started == [["bfloat16", "norm"]]


def test_a_trial_waits_for_what_it_needs(cold: type[FakeProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the trial of a demo, of a comparison and of a dry run, which begin nothing before it."""

    def step(*arguments: object) -> None:
        assert sorted(cold.waited) == ["depthwise", "enlarge", "norm", "pictures", "softmax"]
        raise MemoryError

    monkeypatch.setattr(trial, "_timed_step", step)
    assert try_steps(default_network(), trial.plain_loss, (32, 32), CPU, "no") is None


def test_a_run_too_short_to_compile_does_without(cold: type[FakeProcess], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    steps = loops.seconds(loops.LOSS | loops.LAYERS)
    with loops_beside(make_settings({"data": "d", "device": "cpu", "precision": "no", "time": 10})):
        assert not can_run()
        begin_layers(default_network(), CPU, "no")
        assert cold.started == [["float32", "pictures"]], "no picture is read without"
    assert can_run()
    assert f"would take about {steps:.0f} of 10 s: this run does without them" in caplog.messages[0]


def test_nothing_is_begun_where_all_is_kept_or_by_a_process_that_compiles(
    cold: type[FakeProcess], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name, value in ((MARK, "denselab.training.loops"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
        compile_for(default_network(), CPU, "no")
        monkeypatch.delenv(name)
    monkeypatch.setattr(loops, "_is_missing", lambda kind, maps: False)
    with loops_beside(make_settings({"data": "d", "device": "cpu", "time": 1})):
        assert can_run(), "it need not do without what is there"
        compile_for(default_network(), CPU, "no")
    assert not cold.started
    assert not caplog.messages


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_what_is_compiled_is_what_a_step_calls(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that the list forgets would be compiled in the first step, and one too many would keep it waiting."""
    called: set[tuple[str, str]] = set()

    def noted(loop: Any, maps: str) -> int:
        called.add((loop.__name__, maps))
        return job_function(loop, maps)

    monkeypatch.setattr(team, "job_function", noted)
    loss = create_loss((LossTerm("cross-entropy"), LossTerm("jaccard")), 3, 255)
    network = default_network()
    for rests in (False, True):
        if rests:
            network.rest_norms(path for stage in network.pretrained_stages() for path in stage)
        try_steps(network, lambda logits, labels, _: loss(logits[0], labels), (32, 32), CPU, precision, 2)
    maps = "bfloat16" if precision == "bf16" else "float32"
    listed = {(loop.__name__, numbers) for kind in loops.STEPS for loop, numbers in loops.jobs(kind, maps)}
    network.eval()
    with torch.no_grad(), trial.compiled_layers(network):
        network(torch.zeros(1, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    assert called == listed


def test_a_process_compiles_and_keeps_a_kind() -> None:
    for kind in ("pictures", "softmax"):
        assert loops.main("float32", kind) == 0
        assert not loops._is_missing(kind, "float32"), "it is kept"


def test_kinds_are_shared_out_evenly() -> None:
    assert loops.shared_out(loops.SECONDS, 2) == [["depthwise", "enlarge"], ["pictures", "norm", "softmax"]]
    assert loops.shared_out({"norm"}, 4) == [["norm"]]
    assert loops.shared_out(set(), 4) == []
    assert loops.seconds(set()) == 0


def test_each_kind_has_its_seconds_and_its_loops() -> None:
    assert loops.SECONDS.keys() == {loops.PICTURES, *loops.LOSS, *loops.LAYERS}
    assert loops.STEPS.keys() == loops.LOSS | loops.LAYERS
