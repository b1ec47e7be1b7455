"""The collection tree: one virtual suite, one virtual module a model type, one item a case.

The modules are real :class:`pytest.Module` objects and the items real :class:`pytest.Function` objects, so that fixtures of
every scope, autouse ones among them, work on them as on anything else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from . import suite
from .matrix import ROOT, Case, mark_name
from .plan import SUITE_CASES, plan_of
from .verdict import CaseFailed, Outcome, Stage, Verdict

if TYPE_CHECKING:
    from .host import CaseHost


@cache
def _mark(name: str) -> pytest.Mark:
    mark: pytest.Mark = getattr(pytest.mark, name).mark
    return mark


def marks_of(case: Case, category: str) -> list[pytest.Mark]:
    """The marks of a case: ``ipfs``, hardware, category (if any), task, and ``ipfs_case(model, task, hardware)``."""
    names = ("ipfs", case.hardware, category, mark_name(case.task))
    return [
        *map(_mark, filter(None, names)),
        pytest.mark.ipfs_case(model=case.model, task=case.task, hardware=case.hardware).mark,
    ]


class VirtualPath(type(Path())):  # type: ignore[misc]
    """The path of a case. No file is there: who asks for its age (``--nf``) is told that of the project's directory."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(os.path.dirname(os.path.dirname(self)), follow_symlinks=follow_symlinks)


class CaseItem(pytest.Function):
    """One case."""

    case: Case

    def reportinfo(self) -> tuple[Path, int, str]:
        # The line must be a number: Node.warn asserts it.
        return self.path, 0, f"{self.parent.name}::{self.name}" if self.parent else self.name

    def setup(self) -> None:
        plan = plan_of(self.config)
        if self.case.hardware not in plan.require and (reason := plan.unavailable(self.case)):
            self.record(self._never_ran(Outcome.UNAVAILABLE, reason))
            pytest.skip(reason)
        super().setup()

    def _never_ran(self, outcome: Outcome, reason: str) -> Verdict:
        case = self.case
        return Verdict(
            **case._asdict(),
            outcome=outcome,
            stage=Stage.SELECT,
            reason=reason,
        )

    def record(self, verdict: Verdict) -> None:
        """Put the verdict where reports, JUnit files and xdist carry it."""
        from .reports.carry import properties_of, without_verdict

        # In the place of an earlier one: a plugin may run an item again.
        self.user_properties[:] = [*without_verdict(self.user_properties), *properties_of(verdict)]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from .reports.failure import failure_text

        if isinstance(excinfo.value, CaseFailed):
            full = self.config.getoption("verbose") >= 2 or self.config.getoption("fulltrace")
            return failure_text(excinfo.value.verdict, full=full)
        return super().repr_failure(excinfo)  # pytest.Function takes its style from the options

    def run_on(self, host: CaseHost) -> None:
        """Run the case and put its verdict on record.

        Raises:
            CaseFailed: the verdict is not ok.
        pytest.skip.Exception: the checkpoint is not here.
        pytest.xfail.Exception: the failure is known to the ledger.
        """
        plan = plan_of(self.config)
        if reason := plan.unavailable(self.case):
            # It was not skipped at setup, so this machine is required to have it.
            verdict = self._never_ran(Outcome.UNAVAILABLE, f"required by --ipfs-require: {reason}")
        elif reason := plan.undeclared(self.case):
            verdict = self._never_ran(Outcome.FAILED, reason)
        else:
            verdict = plan.judge(host.run(plan.job(self.case)))
        verdict = replace(verdict, reproduce=plan.reproduce(self.case))
        self.record(verdict)
        for warning in verdict.evidence.get("warnings", ()):
            warnings.warn(pytest.PytestWarning(f"{self.case.nodeid}: {warning}"), stacklevel=1)
        if verdict.outcome is Outcome.UNAVAILABLE and verdict.stage is not Stage.SELECT:
            # A checkpoint that is not here. What --ipfs-require names is hardware, which is.
            pytest.skip(verdict.reason)
        if verdict.outcome is Outcome.KNOWN:
            pytest.xfail(verdict.reason)
        if not verdict.ok:
            raise CaseFailed(verdict)


class ModelModule(pytest.Module):
    """A virtual module: fixtures of module scope live once a model type."""

    cases: list[Case]

    def _getobj(self) -> ModuleType:
        return suite

    def collect(self) -> Iterable[CaseItem]:
        parent, function = self.parent, self.obj.test_case
        assert isinstance(parent, Suite)
        category = plan_of(self.config).category(self.path.name)
        path = VirtualPath(self.path)
        for case in self.cases:
            item = CaseItem.from_parent(self, name=case.leaf, callobj=function, fixtureinfo=parent.fixtureinfo)
            # The same function under the same parents: one closure of fixtures serves every item.
            parent.fixtureinfo = parent.fixtureinfo or item._fixtureinfo
            item.case, item.path = case, path
            marks = marks_of(case, category)
            item.own_markers += marks
            item.keywords.update((mark.name, mark) for mark in marks)
            yield item


class Suite(pytest.Collector):
    """The root of the matrix; it has no file."""

    fixtureinfo: Any = None

    def collect(self) -> Iterable[ModelModule]:
        for model, cases in self.config.stash[SUITE_CASES].items():
            module = ModelModule.from_parent(self, name=model, path=self.path / model, nodeid=f"{ROOT}/{model}")
            module.cases = cases
            yield module


class ModuleCollection:
    """Collects the modules of the matrix before ``--lf`` does: once a file of the project has a test that failed last, it
    leaves out every module whose file it cannot find."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        if not isinstance(collector, ModelModule):
            return None
        runner = collector.config.pluginmanager.get_plugin("runner")
        assert runner is not None
        report: pytest.CollectReport = runner.pytest_make_collect_report(collector)
        return report


def suite_of(session: pytest.Session) -> Suite:
    """The collector of the matrix under a session."""
    suite_node: Suite = Suite.from_parent(session, name=ROOT, nodeid=ROOT, path=session.config.rootpath / ROOT)
    return suite_node
