"""One writer at a time: another process, a dead one, another machine, a file system without locks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from denselab import lock
from denselab.errors import ResourceError
from denselab.lock import LOCK, only_writer

HOLD = """
import sys, time
from pathlib import Path
from denselab.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that writes tmp_path/run."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, env=path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_living_writer_is_named_and_a_killed_one_leaves_nothing_to_clean_up(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(ResourceError, match=f"process {holder.pid} on {socket.gethostname()} since 2"),
        only_writer(tmp_path / "run"),
    ):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with only_writer(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run" / LOCK).exists()


def test_the_same_process_is_not_let_in_twice(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(ResourceError, match="is being written"), only_writer(tmp_path):
        pass
    with only_writer(tmp_path):
        pass


def test_an_empty_folder_that_it_made_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()
    with only_writer(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "x").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff" * 9000, b'{"pid": "x"}', b'{"pid": 4194305, "host": "%s"}']
)
def test_a_damaged_or_stale_lock_does_not_stop_anyone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content.replace(b"%s", socket.gethostname().encode()) or b"")
    if b'"x"' in content:
        (tmp_path / LOCK).write_text(json.dumps({"pid": "x", "host": socket.gethostname()}))
    with only_writer(tmp_path):
        pass


def test_a_lock_of_another_machine_holds_and_says_how_to_be_rid_of_it(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "2026-01-01 10:00:00"}))
    with (
        pytest.raises(ResourceError, match=r"process 7 on elsewhere since 2026-01-01.*remove .*\.lock"),
        only_writer(tmp_path),
    ):
        pass
    (tmp_path / LOCK).unlink()
    with only_writer(tmp_path):
        pass


def test_without_locks_of_the_system_the_process_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    host, start = socket.gethostname(), lock._start_of(os.getpid())
    for holder, free in (
        ({"pid": os.getpid(), "host": host, "started": start}, False),
        (
            {"pid": os.getpid(), "host": host, "started": (start or 0) - 5},
            start is not None,
        ),  # the number is another's now
        ({"pid": 4194305, "host": host, "started": 1}, True),
        ({"pid": 4194305, "host": "elsewhere"}, False),
    ):
        (tmp_path / LOCK).write_text(json.dumps(holder))
        if free:
            with only_writer(tmp_path):
                pass
        else:
            with pytest.raises(ResourceError, match="is being written"), only_writer(tmp_path):
                pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / LOCK).symlink_to("precious")
    with pytest.raises(ResourceError), only_writer(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_folder_that_vanishes_is_no_error_of_the_lock(tmp_path: Path) -> None:
    with only_writer(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "moved")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_locked_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk left the folders that were made for the run, and an open lock, so that this process was shut out."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(lock, "_sign", full)
        with pytest.raises(ResourceError, match="No space left"), only_writer(tmp_path / "a" / "b"):
            pass
        (tmp_path / "run").mkdir()
        with pytest.raises(ResourceError, match="No space left"), only_writer(tmp_path / "run"):
            pass
    with only_writer(tmp_path / "run"):
        pass
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    """`Path.exists` raises for it, which ended in a fault of ours."""
    too_long = pytest.raises(ResourceError, match=r"cannot write .*File name too long; choose another `out`")
    with too_long, only_writer(tmp_path / ("x" * 300)):
        pass


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are looked for in /proc")
def test_without_locks_of_the_system_a_folder_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows removes no open file: the lock stayed, and its process, which still ran, was let in only once."""
    monkeypatch.setattr(lock, "fcntl", None)
    close, unlink, open_handles = os.close, Path.unlink, set[int]()

    def closing(handle: int) -> None:
        close(handle)
        open_handles.discard(handle)

    def unlinking(path: Path) -> None:
        if open_handles:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        unlink(path)

    for _ in range(2):
        with only_writer(tmp_path):
            open_handles.update(int(name) for name in os.listdir("/proc/self/fd") if _is(int(name), tmp_path / LOCK))
            monkeypatch.setattr(os, "close", closing)
            monkeypatch.setattr(Path, "unlink", unlinking)
        monkeypatch.setattr(os, "close", close)
        monkeypatch.setattr(Path, "unlink", unlink)
    assert not (tmp_path / LOCK).exists()


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
