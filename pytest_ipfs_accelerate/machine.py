"""The machine that numbers were measured on: enough to know whether two of them can be compared."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``cpu`` is the model of the processor, ``cores`` how many of them the system has, ``system`` what it runs."""

    cpu: str
    cores: int
    system: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.system}"

    def differences(self, other: Machine) -> list[str]:
        """What the two do not agree in."""
        mine, others = asdict(self), asdict(other)
        return [f"{name} {mine[name]!r}, here {others[name]!r}" for name in mine if mine[name] != others[name]]


@cache
def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        cpu=_cpu() or platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
    )


def _cpu() -> str:
    if sys.platform == "darwin":
        with suppress(OSError):
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    with suppress(OSError):
        # "model name" on x86; an ARM core is known by the numbers of its implementer and part.
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        fields = dict(re.findall(r"^(model name|CPU implementer|CPU part)\s*:\s*(.+)$", text, re.MULTILINE))
        return str(fields.get("model name") or " ".join(fields.values()))
    return ""
