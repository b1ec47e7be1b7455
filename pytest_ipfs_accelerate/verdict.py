"""What is said of one case: how far it got, how it ended, and the evidence.

This module stands on the ground floor: it knows nothing of pytest, torch or any runtime, so a verdict can travel from the
host process to the terminal, JUnit, xdist and JSON as plain builtin values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .speed import Change, Numbers

SCHEMA_VERSION = 1
"""Version of the JSON form of a verdict. It changes when a reader of the old form would misread the new one."""

OWN = "its own"
"""What a verdict says was asked for where nothing was: the precision, the device, that the hardware has."""

DEPARTURE = "first departure"
"""Where the evidence of a verdict holds what ``--ipfs-explain`` found."""


class Stage(StrEnum):
    """How far a case got. The order of the members is the order in which a case runs through them."""

    SELECT = "select"
    BUILD = "build"
    PROCESS = "process"
    REFERENCE = "reference"
    EXPORT = "export"
    LOWER = "lower"
    RUN = "run"
    PARITY = "parity"
    BATCH = "batch"
    MEASURE = "measure"


class Outcome(StrEnum):
    """How a case ended. Every selected case ends in exactly one of these."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    UNAVAILABLE = "unavailable"
    KNOWN = "known"
    FIXED = "fixed"
    FAKE = "fake"
    """A skill class of the user's says that it is real, and is not."""


class Implementation(StrEnum):
    """How real the run was. A mock is never a pass."""

    REAL = "real"
    SIMULATOR = "simulator"
    CONVERTED = "converted"
    MOCK = "mock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output held against what it should be.

    ``against`` says what was compared with what (``reference, unpadded``); ``output`` is the name of the raw output, or
    ``decoded``. The numbers are ``None`` where they have no meaning, as for a decoded text. ``bound`` is the largest
    ``relative_l2`` allowed, ``absolute_bound`` the largest ``max_abs`` that passes whatever the relative error is.
    """

    against: str
    output: str
    ok: bool
    relative_l2: float | None = None
    max_abs: float | None = None
    cosine: float | None = None
    bound: float | None = None
    absolute_bound: float | None = None
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.output} ({self.against})"
        if self.relative_l2 is not None:
            text += f": relative L2 {self.relative_l2:.2e}"
            if self.bound is not None:
                text += f", bound {self.bound:.0e}"
            if self.max_abs is not None:
                text += f"; max abs {self.max_abs:.2e}"
            if self.cosine is not None:
                text += f"; cosine {self.cosine:.6f}"
        return text + (f": {self.note}" if self.note else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The record of one case.

    ``stage`` is the stage that the case ended in: the last one for a pass, the failing one otherwise. ``reason`` is one
    short paragraph for a person; ``exception`` is the type of what was raised, ``Fault`` for a check of ours; ``detail`` is
    the traceback or other text that only ``-vv`` shows. ``seconds`` maps a
    stage to the wall-clock seconds spent in it; a stage whose work an earlier case of the same host had already done costs
    next to nothing, and ``evidence["reused"]`` names it. ``evidence`` and ``versions`` hold builtin values only. ``numbers`` is
    what ``--ipfs-bench`` measured, ``changes`` the same beside a baseline.
    """

    model: str
    task: str
    hardware: str
    outcome: Outcome
    stage: Stage
    reason: str = ""
    exception: str = ""
    detail: str = ""
    implementation: Implementation | None = None
    device: str = ""
    precision: str = ""
    comparisons: tuple[Comparison, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    reproduce: str = ""
    numbers: Numbers | None = None
    changes: tuple[Change, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the verdict lets a run succeed."""
        return self.outcome in (Outcome.PASSED, Outcome.KNOWN)


class CaseFailed(AssertionError):
    """A case whose verdict is not ok; the verdict says all."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict
