"""What the check of a skill class finds: one sentence each, with the place in the user's code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FINDINGS = "findings"
"""Where the evidence of a verdict holds what the check of a skill class found."""


class Check(StrEnum):
    """What a finding is about. Whoever reads a report filters by these words."""

    IMPORT = "import"
    """The module or class does not load, by import or the way a worker loads it."""
    INTERFACE = "interface"
    """A method, an arity, the five-tuple or a callable is not as the interface has it."""
    WIRING = "wiring"
    """A call inside the class passes its arguments wrongly, or names what does not exist."""
    ENDPOINT = "endpoint"
    """The endpoint holds no parameters, or is a mock."""
    REPEATS = "repeats"
    """The output is another one under another seed."""
    SENSITIVITY = "sensitivity"
    """The output does not change with the input."""
    WIDTH = "width"
    """The output is not as wide as the config says."""
    PARITY = "parity"
    """The output is not what the reference gives."""
    MISSING_CHECKPOINT = "missing checkpoint"
    """A checkpoint that does not exist gives an answer that is not called an error."""
    CLAIM = "claim"
    """What it says of itself (attributes, keys, prefixes) is not what was found."""
    PLACE = "place"
    """It did not run on the hardware it names."""
    BATCH = "batch"
    """In a list of two an input has another answer than alone."""
    FILES = "files"
    """It wrote into its own package, or changed the checkpoint that it was given."""
    SWALLOWED = "swallowed"
    """It caught an exception and went on as if nothing had happened."""
    SELF_TEST = "self test"
    """Its ``__test__`` cannot fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. ``says`` is a sentence for a person; ``file`` and ``line`` are where, if there is a where.
    ``note`` marks what a reader should know and what fails nothing."""

    check: Check
    says: str
    file: str = ""
    line: int = 0
    note: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file else ""
        return f"{where}[{self.check}] {self.says}"


def as_evidence(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as builtin values, for the evidence of a verdict."""
    return [asdict(finding) | {"check": finding.check.value} for finding in findings]
