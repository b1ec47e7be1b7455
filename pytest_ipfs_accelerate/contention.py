"""Whether a machine was this process's own for a time: how long its threads waited for a core, and what others used. Contention
is no noise around a median: it moves the median itself, and threads that wait for each other by spinning a hundredfold."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds since some moment: of the clock, that threads of this process waited for a core while they were ready to run, and
    of cores that other processes used; ``None`` where the system does not say."""

    clock: float
    waited: float | None
    others: float | None


def sample() -> Sample:
    """The counts now."""
    return Sample(clock=time.perf_counter(), waited=_waited(), others=_others())


def between(before: Sample, after: Sample) -> tuple[float | None, float | None]:
    """By second between two samples: how long threads waited, and how many cores others used."""
    seconds = after.clock - before.clock
    return _rate(before.waited, after.waited, seconds), _rate(before.others, after.others, seconds)


def _rate(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or seconds <= 0:
        return None
    return round(max(0.0, after - before) / seconds, 4)


def _waited() -> float | None:
    """The second number of ``schedstat``: nanoseconds on a run queue (Documentation/scheduler/sched-stats of Linux)."""
    found = []
    with suppress(OSError):
        for task in TASKS.iterdir():
            with suppress(OSError, IndexError):  # a thread that has ended since
                found.append(int((task / "schedstat").read_text().split()[1]))
    return sum(found) / 1e9 if found else None


def _others() -> float | None:
    """What the cores that this process may use were busy with, less its own part (proc_stat(5): user, nice, system, idle,
    iowait, irq, softirq, steal)."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = 0
    try:
        for line in STAT.read_text().splitlines():
            name, *counts = line.split()
            if name in ours:
                numbers = [int(count) for count in counts[:8]]
                busy += sum(numbers) - numbers[3] - numbers[4]
    except (OSError, ValueError, IndexError):
        return None
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()
