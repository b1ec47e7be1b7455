"""``--ipfs-bench-save``: the numbers of a run into a baseline."""

from __future__ import annotations

import datetime

from ..baseline import Baseline, dump_baseline, merged, read_baseline
from ..settings import Settings
from ..words import plural
from .json_report import check_writable, write_whole
from .tally import Tally


class Saving:
    """The baseline that a run saves, if it saves one. A file that is there already keeps the cases that this run does not time;
    it must be a baseline of this machine, which is found out before the run. ``lines`` tell the user what was saved.

    Raises:
        pytest.UsageError: the file cannot be written, or what is there is no baseline of this machine.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = settings.bench_save if settings.bench else None
        self.existing: Baseline | None = None
        self.lines: list[str] = []
        if self.path is not None:
            source = settings.sources["bench-save"]
            check_writable(self.path, source)
            if self.path.exists():
                self.existing = read_baseline(self.path, source)

    def save(self, tally: Tally) -> None:
        """Write the file, whole or not at all; nothing where no case was timed."""
        if self.path is None:
            return
        verdicts = tally.in_order()
        timed = [verdict for verdict in verdicts if verdict.numbers is not None and verdict.numbers.speeds]
        left_out = sum(not verdict.ok for verdict in timed)
        if len(timed) == left_out:
            self.lines = [f"baseline {self.path}: no case that passed was timed, so nothing was written"]
        else:
            rows = merged(self.existing, verdicts, datetime.date.today())
            write_whole(self.path, dump_baseline(rows))
            self.lines = [f"baseline {self.path}: {plural(len(timed) - left_out, 'case')} saved, {len(rows)} in all"]
        if left_out:
            self.lines.append(f"not saved, since they failed: {plural(left_out, 'case')}")
