"""Every verdict of a run, gathered where the reports arrive: in the only process, or in the controller of xdist."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ..matrix import Case
from ..verdict import Outcome, Stage, Verdict
from .carry import is_case, verdict_of

TALLY = pytest.StashKey["Tally"]()


@dataclass
class Tally:
    """``planned`` cases by node id, the ``verdicts`` that came, and the ``deselected`` node ids; ``stopped`` says why the run
    ended early, if it did."""

    planned: dict[str, Case] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    deselected: set[str] = field(default_factory=set)
    stopped: str = ""

    def add(self, report: pytest.TestReport) -> None:
        """Take the verdict of a report. A case that failed without one (its worker died, a fixture of the user's raised)
        still ends in one."""
        if not is_case(report.nodeid):
            return
        verdict = verdict_of(report)
        if verdict is None and report.failed and report.nodeid not in self.verdicts:
            verdict = self._lost(report)
        if verdict is not None:
            self.verdicts[report.nodeid] = verdict

    def _lost(self, report: pytest.TestReport) -> Verdict:
        case = self.planned.get(report.nodeid) or case_of(report.nodeid)
        died = report.when not in ("setup", "call", "teardown")
        return Verdict(
            **case._asdict(),
            outcome=Outcome.CRASHED if died else Outcome.FAILED,
            stage=Stage.SELECT,
            reason=_message(report) if died else f"{report.when}: {_message(report)}",
            detail=report.longreprtext,
        )

    def in_order(self) -> list[Verdict]:
        """The verdicts in the order of the plan: from the workers of xdist they come in any."""
        order = [*(nodeid for nodeid in self.planned if nodeid in self.verdicts), *self.verdicts]
        return [self.verdicts[nodeid] for nodeid in dict.fromkeys(order)]

    @property
    def not_run(self) -> dict[str, str]:
        """Why each planned case has no verdict, by node id."""
        unreached = f"not reached: {self.stopped}" if self.stopped else "not reached"
        return {
            nodeid: "deselected" if nodeid in self.deselected else unreached
            for nodeid in self.planned
            if nodeid not in self.verdicts
        }


def case_of(nodeid: str) -> Case:
    """The case that a node id names."""
    path, _, leaf = nodeid.partition("::")
    task, _, hardware = leaf.rpartition("-")
    return Case(path.partition("/")[2], task, hardware)


def _message(report: pytest.TestReport) -> str:
    """The message of the exception where there is one, else the last line of what the report says."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = [line.strip() for line in report.longreprtext.splitlines() if line.strip()]
    return crash.message if crash else (lines or ["no reason was given"])[-1]
