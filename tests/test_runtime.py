"""Memory of this process: the machine's, or its control group's where that is less."""

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from denselab import runtime
from denselab.runtime import cpu_count, free_memory, total_memory

GIB = 2**30


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of /sys/fs/cgroup; the machine has 16 GiB, 10 of them free."""
    monkeypatch.setattr(runtime, "CGROUP", tmp_path)
    monkeypatch.setattr(runtime, "_machine_memory", lambda: 16 * GIB)
    monkeypatch.setattr(runtime, "_free_on_machine", lambda: 10 * GIB)
    return tmp_path


def test_without_a_limit_it_is_the_machine_s(group: Path) -> None:
    assert (total_memory(), free_memory()) == (16 * GIB, 10 * GIB)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text(f"{GIB}\n")
    assert (total_memory(), free_memory()) == (16 * GIB, 10 * GIB)


def test_a_control_group_s_limit_counts(group: Path) -> None:
    (group / "memory.max").write_text(f"{4 * GIB}\n")
    (group / "memory.current").write_text(f"{3 * GIB}\n")
    assert (total_memory(), free_memory()) == (4 * GIB, GIB)
    (group / "memory.current").write_text(f"{5 * GIB}\n")
    assert free_memory() == 0


def test_the_first_version_of_control_groups_too(group: Path) -> None:
    (group / "memory").mkdir()
    (group / "memory" / "memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
    assert total_memory() == 2 * GIB


def test_this_machine_has_some_of_everything() -> None:
    assert 0 < free_memory() <= total_memory()
    assert cpu_count() >= 1


def test_a_limit_of_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `ulimit -v` the CRF was let start and ended the process with std::bad_alloc, the small pictures with it."""
    before = total_memory()
    monkeypatch.setattr(runtime, "address_room", lambda: 3 * 2**20)
    assert total_memory() == 3 * 2**20
    monkeypatch.undo()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    mapped = pages * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (mapped + 100 * 2**20, -1))
    assert total_memory() <= 100 * 2**20 + 50 * 2**20
    monkeypatch.undo()
    assert total_memory() == before


MAPPED = """
import ctypes
import numpy as np
import torch
from denselab.engine.spec import Architecture, ModelSpec, Preprocessing
from denselab.engine.torch_engine import TorchEngine
from denselab.labels import LabelEntry, LabelSpace
from denselab.runtime import keep_freed_memory, large_blocks_apart

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "a o s hblks hblkhd u f uo fo k".split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info

sizes = iter(range(8 * 2**20, 2**30, 8 * 2**20))  # each larger than what the one before it left behind

def is_mapped():
    before = mallinfo().hblkhd
    block = np.empty(next(sizes), np.uint8)
    return mallinfo().hblkhd - before > 2**22

class Noting(torch.nn.Module):
    def forward(self, images):
        found.append(is_mapped())
        return images

found = [is_mapped()]
with large_blocks_apart():
    pass
found += [is_mapped(), keep_freed_memory(), is_mapped()]
with large_blocks_apart():
    found.append(is_mapped())
found.append(is_mapped())
space = LabelSpace(tuple(LabelEntry(i, str(i), (i, 0, 0)) for i in range(3)))
spec = ModelSpec(Architecture("noting", 3), space, Preprocessing((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
engine = TorchEngine(spec, Noting().eval(), torch.device("cpu"))
for _ in range(2):
    engine.logits(np.zeros((1, 8, 8, 3), np.uint8))
print(found)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_the_maps_of_a_first_run_lie_apart_and_others_are_kept() -> None:
    """What oneDNN keeps of a first run lay between its maps: windows of 768x768 took 720 MB of heap in place of 480."""
    done = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    without, kept, runs = [True, True], [True, False, True, False], [True, False]
    assert done.stdout.strip() == str(without + kept + runs)
