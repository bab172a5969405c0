"""Runs the command line in a forked child: with limits, with faults, killed at will; and what became of it."""

import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

POLL = 0.01  # seconds
PATIENCE = 10  # seconds by the clock for each second of processor time that is allowed: the machine may be busy
TICKS = os.sysconf("SC_CLK_TCK")
FAULT_WORDS = ("a fault of ours", "Traceback (most recent call last)")


@dataclass(frozen=True)
class Check:
    """One thing that was tried. name: what. held: whether it held. told: what came, where it did not."""

    name: str
    held: bool
    told: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a command. code: exit code, -N for signal N. used: processor seconds. peak: MB at most."""

    code: int
    seconds: float
    used: float
    peak: float
    out: str
    err: str
    late: bool

    @property
    def in_words(self) -> bool:
        """Whether it ended by itself, and not by an error that no part of DenseLab expected."""
        return not self.late and self.code not in (1, -signal.SIGSEGV, -signal.SIGABRT) and not self.is_fault

    @property
    def is_fault(self) -> bool:
        """Whether a message speaks of a fault of ours."""
        return any(word in self.err for word in FAULT_WORDS)

    def __str__(self) -> str:
        last = self.err.strip().splitlines()[-1][:300] if self.err.strip() else ""
        late = ", stopped for taking too long" if self.late else ""
        return f"exit {self.code}{late}, {self.seconds:.1f} s, {self.peak:.0f} MB: {last}"


def run(
    what: Sequence[object] | Callable[[], int],
    *,
    seconds: float = 60.0,
    room: int | None = None,
    before: Callable[[], None] | None = None,
    stop: tuple[float, int] | None = None,
    while_running: Callable[[int], None] | None = None,
) -> Outcome:
    """`denselab WORDS`, or a function, in a child.

    what: the words; or a function, whose result is the exit code
    seconds: of processor time, after which it is killed and counts as late; or PATIENCE times as many by the clock
    room: bytes of address space that it may take beyond what this process has
    before: called in the child first; faults are put in place here
    stop: (seconds, signal) to send it; the seconds count as above
    while_running: called again and again with its process id
    """
    function = what if callable(what) else partial(_command, what)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        began, pid = time.monotonic(), os.fork()
        if pid == 0:
            _be_child(function, out.fileno(), err.fileno(), room, before)
        status, usage, late = _watch(pid, seconds, stop, while_running)
        out.seek(0)
        err.seek(0)
        text = (out.read().decode(errors="replace"), err.read().decode(errors="replace"))
        code = os.waitstatus_to_exitcode(status)
        used = usage.ru_utime + usage.ru_stime
        return Outcome(code, time.monotonic() - began, used, usage.ru_maxrss / 1024, *text, late)


def _command(words: Sequence[object]) -> int:
    from denselab.cli.main import main

    sys.argv = ["denselab", *map(str, words)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _be_child(
    function: Callable[[], int], out: int, err: int, room: int | None, before: Callable[[], None] | None
) -> None:
    code = 1
    try:
        os.setpgid(0, 0)  # a group of its own, in the same session: whoever pauses this process can pause the child
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        if room is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if before:
            before()
        code = function()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(
    pid: int,
    seconds: float,
    stop: tuple[float, int] | None,
    while_running: Callable[[int], None] | None,
) -> tuple[int, resource.struct_rusage, bool]:
    late, sent = False, False
    waited, looked = 0.0, time.monotonic()
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage, late
        now = time.monotonic()
        waited, looked = waited + min(now - looked, 1.0), now  # while this process is paused, nobody waits
        if stop and not sent and _is_due(pid, waited, stop[0]):
            os.kill(pid, stop[1])
            sent = True
        if not late and _is_due(pid, waited, seconds):
            os.killpg(pid, signal.SIGKILL)
            late = True
        if while_running and not late:
            while_running(pid)
        time.sleep(POLL)


def _is_due(pid: int, waited: float, seconds: float) -> bool:
    return processor_seconds(pid) > seconds or waited > PATIENCE * seconds


def processor_seconds(pid: int) -> float:
    """Processor time of a child and of those of its own children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS  # utime, stime, cutime, cstime (proc(5))


def start(words: Sequence[object]) -> int:
    """`denselab WORDS` in a child that is not waited for; returns its process id. Its output is dropped."""
    pid = os.fork()
    if pid == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        _be_child(lambda: _command(words), nowhere, nowhere, None, None)
    return pid


def own_peak() -> float:
    """MB of memory that this process, from which the children are made, has needed at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
