"""Under a limit of address space a process of its own compiles: its end is a message here."""

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from numba.core import event

from denselab.compiled import beside as processes
from denselab.compiled.beside import MARK
from denselab.compiled.code_cache import to_be_kept
from denselab.crf import compile_apart, refine
from denselab.crf.compile_apart import PLAIN, RAN_OUT, compile_beside, compiled_apart, require_compiled
from denselab.crf.compile_loops import compile_loops
from denselab.crf.notice import announced
from denselab.crf.pass_kernels import pass_over
from denselab.data.resizing.resample import resize_labels
from denselab.data.resizing.resize import resize_image
from denselab.data.weak_labels import Box
from denselab.errors import OutOfMemory
from denselab.weak.boxes import cut_outs


class FakeProcess:
    """Ends with a code after saying one line."""

    code = 0
    started: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, command: list[str], **options: Any) -> None:
        self.started.append({"command": command, **options})
        self.stdout = ["compiling\n"]

    def __enter__(self) -> "FakeProcess":
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def wait(self) -> int:
        return self.code

    def terminate(self) -> None:
        pass


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeProcess]]:
    """A limit of address space, and a fake in the place of processes."""
    monkeypatch.setattr(compile_apart, "address_room", lambda: 2**20)
    monkeypatch.setattr(processes.subprocess, "Popen", FakeProcess)
    monkeypatch.setattr(FakeProcess, "started", [])
    compiled_apart.cache_clear()
    yield FakeProcess
    compiled_apart.cache_clear()


def test_once_for_each_number_of_lanes(limited: type[FakeProcess], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        require_compiled(5, 8)
    assert len(limited.started) == 1
    assert limited.started[0]["command"][-1] == "5"
    assert limited.started[0]["env"][MARK] == compile_apart.PROGRAM
    assert "compiling" in caplog.messages


@pytest.mark.parametrize("code", [-6, -9, RAN_OUT])
def test_no_room_is_said_in_words(limited: type[FakeProcess], monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The compiler's std::bad_alloc ended `predict --crf` with all its pictures."""
    monkeypatch.setattr(limited, "code", code)
    for _ in range(2):
        with pytest.raises(OutOfMemory, match="for 5 classes must be compiled once.*raise the limit"), announced(5):
            pass
    assert len(limited.started) == 1, "a failure is not tried again for every picture"


def test_another_failure_leaves_the_work_to_this_process(
    limited: type[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited, "code", 1)
    require_compiled(5, 8)


def test_the_other_process_starts_none(limited: type[FakeProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "8")
    require_compiled(5, 8)
    monkeypatch.undo()
    require_compiled(5, 8)
    assert not limited.started, "and without a limit there is none at all"


class WaitedFor(FakeProcess):
    """Counts how often its end is waited for, and notes that it was ended."""

    waits: ClassVar[list[int]] = []
    ended: ClassVar[list[bool]] = []

    def terminate(self) -> None:
        self.ended.append(True)

    def wait(self) -> int:
        self.waits.append(1)
        return self.code


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> type[WaitedFor]:
    """No limit, nothing kept, and a fake in the place of processes."""
    monkeypatch.setattr(compile_apart, "to_be_kept", lambda function, lanes: True)
    monkeypatch.setattr(compile_apart, "_beside", {})
    monkeypatch.setattr(processes.subprocess, "Popen", WaitedFor)
    monkeypatch.setattr(FakeProcess, "started", [])
    monkeypatch.setattr(WaitedFor, "waits", [])
    monkeypatch.setattr(WaitedFor, "ended", [])
    monkeypatch.setattr(processes.atexit, "register", lambda function: function)
    return WaitedFor


def test_a_process_beside_is_begun_once_and_waited_for(beside: type[WaitedFor]) -> None:
    for _ in range(2):
        compile_beside(2)
    assert [call["command"][-2:] for call in beside.started] == [["2", PLAIN]]
    assert not beside.waits
    require_compiled(30, 32)
    assert not beside.waits, "for other lanes nothing is under way"
    require_compiled(2, 4)
    assert len(beside.waits) == 1
    assert len(beside.started) == 1


def test_it_ends_with_the_process_that_began_it(beside: type[WaitedFor], monkeypatch: pytest.MonkeyPatch) -> None:
    """After `train --dry-run` a compiler went on for a quarter of a minute."""
    at_the_end: list[Any] = []
    monkeypatch.setattr(processes.atexit, "register", at_the_end.append)
    compile_beside(2)
    assert len(at_the_end) == 1
    at_the_end[0]()
    assert beside.ended == [True]


def test_nothing_is_begun_where_it_would_be_in_vain(beside: type[WaitedFor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_apart, "to_be_kept", lambda function, lanes: False)
    compile_beside(2)
    monkeypatch.setattr(compile_apart, "to_be_kept", lambda function, lanes: True)
    monkeypatch.setenv(MARK, "4")
    compile_beside(2)
    monkeypatch.delenv(MARK)
    monkeypatch.setattr(compile_apart, "address_room", lambda: 2**20)
    compile_beside(2)
    assert not beside.started


def test_all_loops_of_a_picture_are_compiled() -> None:
    compile_loops(2)
    image = np.zeros((40, 50, 3), np.uint8)
    with event.install_recorder("numba:compile") as recorded:
        refine(image, np.full((2, 40, 50), 0.5, np.float32), "deeplab_v2", fast=True)
        refine(image, np.full((2, 40, 50), 0.5, np.float32), "deeplab_v2")
    assert not recorded.buffer
    assert not to_be_kept(pass_over, 4), "what is compiled is kept"
    assert to_be_kept(pass_over, 5), "no number of labels has five lanes"


def test_the_plain_loops_are_all_that_boxes_need() -> None:
    """They are compiled beside a training's start: what cutting out needs beyond them would be compiled after it."""
    compile_loops(2, plain=True)
    image = np.zeros((40, 50, 3), np.uint8)
    resize_image(image, (20, 25)), resize_labels(image[..., 0], (20, 25))  # what reading pictures compiles
    with event.install_recorder("numba:compile") as recorded:
        cut_outs(image, [Box(1, 5, 5, 30, 40)])
    assert not recorded.buffer
