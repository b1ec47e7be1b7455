"""The tables of ``--ipfs-bench``: what each case takes, and what became of it since a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..baseline import ABSENT, Baseline
from ..matrix import Case
from ..speed import Change, Numbers, Speed, Tokens, Trend
from ..verdict import Verdict
from ..words import plural
from .terminal import table

SHOWN = 5
"""Node ids that a line names; the others are counted."""

HEAD = ["case", "batch", "median ms", "±", "p95 ms", "inputs/s", "prefill ms", "decode tok/s"]
HEAD_OF_CASE = ["around ms", "peak MB", "load s", "compile s", "first s"]
"""Columns that hold for a case, whatever the batch."""


def speed_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A row for each case and batch size, the columns that nobody needs left out; below it what was not timed and why, and
    what disturbs the numbers."""
    timed = [(verdict, verdict.numbers) for verdict in verdicts if verdict.numbers is not None]
    rows = [[*HEAD, *HEAD_OF_CASE]]
    for verdict, numbers in timed:
        own = _of_case(numbers, kept="export" in verdict.evidence.get("reused", ()))
        for speed in numbers.speeds:
            rows.append([*_of_batch(verdict, speed), *own])
            own = [""] * len(HEAD_OF_CASE)
    lines = table(_without_empty(rows)) if len(rows) > 1 else ["nothing was timed"]
    untimed = Counter(reason for _, numbers in timed for reason in numbers.untimed.values())
    lines += [f"not timed, {plural(count, 'time')}: {reason}" for reason, count in untimed.items()]
    speeds = [speed for _, numbers in timed for speed in numbers.speeds]
    if loose := sum(not speed.latency.settled for speed in speeds):
        lines.append(
            f"{loose} of {plural(len(speeds), 'median')} did not settle in the time given: ± is what the noise leaves of "
            "them (--ipfs-bench-seconds)"
        )
    lines += busy_lines([numbers for _, numbers in timed if numbers.busy])
    lines += workers_lines(max((numbers.workers for _, numbers in timed), default=1))
    return lines


def workers_lines(workers: int) -> list[str]:
    """What disturbs the numbers where several workers of xdist ran at once."""
    if workers < 2:
        return []
    return [f"timed by {workers} workers at once, which disturb each other: numbers to keep come from a run without -n"]


def busy_lines(busy: Sequence[Numbers]) -> list[str]:
    """That others took the machine away, and how much of it."""
    if not busy:
        return []
    waited = max(numbers.waited or 0.0 for numbers in busy)
    others = [numbers.others for numbers in busy if numbers.others is not None]
    used = f"; other processes used up to {max(others):.1f} cores" if others else ""
    return [
        f"the machine was busy while {plural(len(busy), 'case')} ran: threads waited for a core, up to {waited:.2f} s in a "
        f"second{used}: these medians are of the machine as much as of the model"
    ]


def _of_batch(verdict: Verdict, speed: Speed) -> list[str]:
    latency, tokens = speed.latency, speed.tokens
    return [
        _name(verdict),
        str(speed.batch),
        milliseconds(latency.median),
        f"{latency.noise:.1%}",
        milliseconds(latency.p95),
        f"{speed.throughput:,.0f}" if speed.throughput >= 10 else f"{speed.throughput:.2f}",
        milliseconds(tokens.prefill.median) if tokens else "",
        _rate(tokens),
    ]


def _of_case(numbers: Numbers, *, kept: bool) -> list[str]:
    """``kept`` says that the program was there already, so that its export is not part of the time to compile."""
    compiled = [seconds for seconds in (numbers.export_s, numbers.lower_s) if seconds is not None]
    around = [part for part in (numbers.processing_ms, numbers.decoding_ms) if part is not None]
    memory = numbers.device_peak_bytes or numbers.host_peak_bytes
    return [
        milliseconds(sum(around)) if around else "",
        f"{memory / 1e6:,.0f}" if memory else "",
        _seconds(numbers.load_s),
        ("kept + " if kept and numbers.export_s is None else "") + _seconds(sum(compiled)) if compiled else "",
        _seconds(numbers.first_call_s),
    ]


def _name(verdict: Verdict) -> str:
    case = Case(verdict.model, verdict.task, verdict.hardware)
    return f"{case.model}::{case.leaf}"


def _rate(tokens: Tokens | None) -> str:
    return f"{tokens.decode_rate:,.0f}" if tokens and tokens.decode_rate else ""


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.2f}" if seconds is not None else ""


def milliseconds(number: float) -> str:
    """Three figures, without an exponent."""
    digits = 3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:,.{digits}f}"


def _without_empty(rows: list[list[str]]) -> list[list[str]]:
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    return [[row[column] for column in kept] for row in rows]


def change_lines(verdicts: Sequence[Verdict], baseline: Baseline, threshold: float) -> list[str]:
    """A row for each case and batch size that the baseline has, and in words what it has not, what cannot be compared, and
    what the noise hides."""
    changes = [(_name(verdict), change) for verdict in verdicts for change in verdict.changes]
    rows = [["case", "batch", "before ms", "now ms", "ratio", "interval before", "interval now", ""]]
    rows += [_change_row(name, change) for name, change in changes if change.ratio is not None]
    lines = table(rows) if len(rows) > 1 else ["nothing could be compared"]
    for note in dict.fromkeys(change.note for _, change in changes if change.trend is Trend.INCOMPARABLE):
        lines += _named(f"not comparable ({note})", dict.fromkeys(n for n, c in changes if c.note == note))
    lines += _named("not in the baseline", dict.fromkeys(_new(n, c) for n, c in changes if c.trend is Trend.NEW))
    for note in dict.fromkeys(change.note for _, change in changes if change.trend is Trend.BUSY):
        what = f"not told, since the machine was {note}"
        lines += _named(what, dict.fromkeys(n for n, c in changes if c.trend is Trend.BUSY and c.note == note))
    ran = {Case(verdict.model, verdict.task, verdict.hardware).nodeid for verdict in verdicts if verdict.changes}
    lines += _named("in the baseline and not timed now", (nodeid for nodeid in baseline.rows if nodeid not in ran))
    if hidden := sum(_noise(change) > threshold for _, change in changes):
        lines.append(
            f"the noise of {plural(hidden, 'median')} is larger than {threshold:.0%}: such a change could not be seen "
            "there; --ipfs-bench-seconds gives them more time"
        )
    lines += [f"versions: {line}" for line in _versions(verdicts, baseline)]
    return lines


def _new(name: str, change: Change) -> str:
    return name if change.note == ABSENT else f"{name} (batch of {change.batch})"


def _change_row(name: str, change: Change) -> list[str]:
    assert change.before is not None
    before, now = change.before, change.now
    return [
        name,
        str(change.batch),
        milliseconds(before.median),
        milliseconds(now.median),
        f"{change.ratio:.2f}×",
        f"{milliseconds(before.low)} – {milliseconds(before.high)}",
        f"{milliseconds(now.low)} – {milliseconds(now.high)}",
        str(change.trend),
    ]


def _noise(change: Change) -> float:
    return max(timing.noise for timing in (change.now, change.before) if timing is not None)


def _named(what: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"{what}: {', '.join(found[:SHOWN])}{more}"]


def _versions(verdicts: Iterable[Verdict], baseline: Baseline) -> list[str]:
    """Libraries whose version is not that of the baseline: what may have made the difference."""
    found: dict[str, None] = {}
    for verdict in verdicts:
        row = baseline.rows.get(Case(verdict.model, verdict.task, verdict.hardware).nodeid)
        before = row.versions if row is not None and verdict.changes else dict(verdict.versions)
        for name, version in verdict.versions.items():
            if before.get(name) != version:
                found[f"{name} {before.get(name, 'none')}, now {version}"] = None
    return list(found)
