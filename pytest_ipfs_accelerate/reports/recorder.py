"""Gathers the verdicts of a run and tells the user: header, matrix and JSON file."""

from __future__ import annotations

from typing import Any

import pytest

from ..plan import SUITE_CASES, plan_of
from ..settings import Settings
from ..store import Store
from ..verdict import Outcome
from ..words import plural
from .carry import is_case, verdict_of
from .json_report import check_writable, write_report
from .ledger_update import update_ledger
from .saving import Saving
from .speed_tables import change_lines, speed_lines, workers_lines
from .tally import Tally
from .terminal import header_lines, matrix_lines, note_lines

DESELECTED = "ipfs_deselected"
"""Key under which a worker of xdist tells the controller what it deselected."""


def record(config: pytest.Config) -> None:
    """Register what gathers the verdicts: the recorder, or in a worker of xdist the part that only a worker sees.

    Raises:
        pytest.UsageError: the file of ``--ipfs-json`` cannot be written.
    """
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(WorkerRecorder(config), "ipfs_recorder")
    elif not config.option.collectonly:
        config.pluginmanager.register(Recorder(config), "ipfs_recorder")


class Recorder:
    """The only process of a run, or the controller of xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.plan = plan_of(config)
        self.cases = config.stash.get(SUITE_CASES, {})
        self.tally = Tally({case.nodeid: case for cases in self.cases.values() for case in cases})
        if (path := self.plan.settings.json) is not None:
            check_writable(path, self.plan.settings.sources["json"])
        self.cleared = clear_cache(self.plan.settings) if self.plan.settings.cache_clear else ""
        self.ledger_lines: list[str] = []
        if self.plan.settings.update_ledger:
            if (path := self.plan.settings.ledger) is None:
                raise pytest.UsageError("--ipfs-update-ledger: which one? name it with --ipfs-ledger=FILE")
            check_writable(path, self.plan.settings.sources["ledger"])
        self.saving = Saving(self.plan.settings)
        self.baseline = self.plan.baseline
        assert self.plan.ledger is not None  # read now: a file that is not valid is an error before the run

    def pytest_report_header(self) -> list[str]:
        cleared = [self.cleared] if self.cleared else []
        workers = self.config.getoption("numprocesses", None)
        disturbed = workers_lines(workers) if self.plan.settings.bench and isinstance(workers, int) else []
        lines = [*cleared, *(f"ipfs: {line}" for line in disturbed)]
        return [*lines, *header_lines(self.plan, self.cases)] if SUITE_CASES in self.config.stash else lines

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.tally.deselected.update(item.nodeid for item in items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.tally.deselected.update(getattr(node, "workeroutput", {}).get(DESELECTED, ()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tally.add(report)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """A case that is fake fails under its own word. What has no verdict is pytest's affair."""
        if not report.failed or not is_case(report.nodeid) or (verdict := verdict_of(report)) is None:
            return None
        return ("failed", "F", "FAKE") if verdict.outcome is Outcome.FAKE else None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # Ctrl-C has no words; pytest's and xdist's own interruptions say why.
        self.tally.stopped = str(excinfo.value) or "interrupted"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if isinstance(session.shouldfail, str):  # -x and --maxfail
            self.tally.stopped = session.shouldfail
        if (path := self.plan.settings.json) is not None:
            write_report(path, self.tally, int(exitstatus))
        self.saving.save(self.tally)
        if self.plan.settings.update_ledger and (path := self.plan.settings.ledger) is not None:
            cases = [case for some in self.plan.cases(self.plan.models).values() for case in some]
            self.ledger_lines = update_ledger(path, self.tally.in_order(), cases)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.tally.verdicts:
            return
        terminalreporter.section("ipfs: tasks passed of tasks run")
        for line in [*matrix_lines(self.tally), "", *note_lines(self.tally)]:
            terminalreporter.line(line)
        if self.plan.settings.bench:
            self._numbers(terminalreporter)
        if (path := self.plan.settings.json) is not None:
            terminalreporter.line(f"every verdict: {path}")
        if self.plan.settings.update_ledger:
            changed = self.ledger_lines or ["nothing changed"]
            terminalreporter.line(f"ledger {self.plan.settings.ledger}:")
            for line in changed:
                terminalreporter.line(f"  {line}")

    def _numbers(self, terminalreporter: pytest.TerminalReporter) -> None:
        verdicts = self.tally.in_order()
        terminalreporter.section("ipfs: numbers")
        for line in [*speed_lines(verdicts), *self.saving.lines]:
            terminalreporter.line(line)
        if self.baseline is not None:
            threshold = self.plan.settings.bench_threshold
            terminalreporter.section(f"ipfs: against {self.baseline.path.name}")
            for line in change_lines(verdicts, self.baseline, threshold):
                terminalreporter.line(line)


def clear_cache(settings: Settings) -> str:
    """Empty the store of artifacts; what to tell the user.

    Raises:
        pytest.UsageError: the directory is none of ours.
    """
    try:
        files, size = Store(settings.cache_dir, settings.cache_size).clear()
    except OSError as error:
        raise pytest.UsageError(f"--ipfs-cache-clear: {error}") from None
    return f"ipfs: {plural(files, 'artifact')} of {size / 1e6:.0f} MB removed from {settings.cache_dir}"


class WorkerRecorder:
    """A worker of xdist: only it sees what is deselected."""

    def __init__(self, config: pytest.Config) -> None:
        self.output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.output.setdefault(DESELECTED, []).extend(item.nodeid for item in items)
