"""Memory of this process: the machine's, or its control group's where that is less."""

import resource
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
