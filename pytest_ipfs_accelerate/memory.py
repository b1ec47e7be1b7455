"""How much memory this process holds, and held at most over a time; ``None`` where the system does not say."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def _status(key: str) -> int | None:
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) * 1024  # "kB", which is KiB: proc_pid_status(5)
    return None


def resident() -> int | None:
    """Bytes of memory that are resident now."""
    return _status("VmRSS")


def restart_peak() -> bool:
    """Begin to count the peak of resident memory anew; whether the system can (proc_pid_clear_refs(5))."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak() -> int | None:
    """Bytes of resident memory at the peak, since the last restart of it or since the process began."""
    if (found := _status("VmHWM")) is not None:
        return found
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # getrusage(2): bytes there, KiB elsewhere
