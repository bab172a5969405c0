"""How busy other processes keep the cores of this one, from what Linux counts in /proc/stat."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
FIXED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # who sets one of these has chosen the number of threads
NICE, IDLE = 1, slice(3, 5)  # nice, and idle with iowait, of: user nice system idle iowait irq softirq steal
COUNTED = 8  # what follows, the time of guests, is in user and nice already


@dataclass(frozen=True)
class Reading:
    """At one moment, in seconds: the clock, the busy time of this process's cores, and its own processor time.

    The difference of two is what passed between them.
    """

    clock: float
    busy: float
    own: float

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(self.clock + other.clock, self.busy + other.busy, self.own + other.own)

    def __sub__(self, other: "Reading") -> "Reading":
        return Reading(self.clock - other.clock, self.busy - other.busy, self.own - other.own)


class Neighbours:
    """A meter of what others use of the cores that this process may run on."""

    def __init__(self) -> None:
        self._last = read_load()

    def busy(self) -> float | None:
        """Cores that others kept busy on average since the last call; None where the system does not tell."""
        before, now = self._last, read_load()
        self._last = now
        return None if before is None or now is None else busy_between(before, now)


def busy_between(before: Reading, now: Reading) -> float | None:
    """Cores that others kept busy on average between two readings; None if no time has passed."""
    seconds = now.clock - before.clock
    if seconds <= 0:
        return None
    return max(0.0, (now.busy - before.busy) - (now.own - before.own)) / seconds


def read_load() -> Reading | None:
    """The load now; None on systems without /proc/stat."""
    try:
        text = STAT.read_text()
        cores = os.sched_getaffinity(0)
        polite = os.getpriority(os.PRIO_PROCESS, 0) <= 0
        return Reading(time.monotonic(), busy_seconds(text, cores, polite), time.process_time())
    except (OSError, AttributeError, ValueError):
        return None


def load_now() -> Reading:
    """The load now; on systems without /proc/stat as if there were no neighbours."""
    own = time.process_time()
    return read_load() or Reading(time.monotonic(), own, own)


def busy_seconds(stat: str, cores: set[int], polite: bool = False) -> float:
    """Seconds that these cores have been busy since the machine started.

    stat: the text of /proc/stat; a line "cpu0 ..." holds the ticks of core 0 by kind.
    polite: leave out processes with a nice value, which give way to one without.
    """
    ticks = 0
    for line in stat.splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            counts = [int(value) for value in values[:COUNTED]]
            ticks += sum(counts) - sum(counts[IDLE]) - (counts[NICE] if polite else 0)
    return ticks / os.sysconf("SC_CLK_TCK")


_noticed: Neighbours | None = None


def share_cores() -> None:
    """Let what runs later in this process take fewer threads beside busy neighbours (engine.threads).

    The commands ask for it; a program that uses the library decides itself. Does nothing where OMP_NUM_THREADS or
    MKL_NUM_THREADS is set.
    """
    global _noticed
    if not any(os.environ.get(name) for name in FIXED):
        _noticed = Neighbours()


def noticed() -> Neighbours | None:
    """The meter that `share_cores` started; None if nobody asked for it."""
    return _noticed
