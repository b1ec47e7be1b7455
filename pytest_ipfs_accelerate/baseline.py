"""Numbers that were saved, and what became of them: the files of ``--ipfs-bench-save`` and ``--ipfs-bench-compare``.

Two medians are compared where everything else is the same: the machine, the checkpoint, the precision, the device, the threads
and the shapes of the inputs. They differ where their confidence intervals do not meet and their ratio is beyond the threshold;
either alone is noise or of no importance. Where others took the machine away meanwhile, nothing is said of a change.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .machine import Machine, this_machine
from .matrix import Case
from .registry.rows import convert, read_json
from .speed import Change, Numbers, Speed, Timing, Trend
from .verdict import Outcome, Verdict
from .words import nearest

SCHEMA = 1
KIND = "pytest-ipfs-accelerate baseline"
ABSENT = "the case is not there"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case: its numbers, and what they were measured under. ``checkpoint`` is the digest of its weights, ``saved`` the
    day."""

    numbers: Numbers
    precision: str
    device: str
    checkpoint: str
    versions: dict[str, str]
    saved: datetime.date


class BaselineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A baseline: rows (:class:`Row`) by node id, all of one machine."""

    kind: str
    schema: int
    machine: dict[str, Any]
    cases: dict[str, dict[str, Any]]


class Baseline:
    """The rows of a file, by node id."""

    def __init__(self, path: Path, machine: Machine, rows: Mapping[str, Row]) -> None:
        self.path = path
        self.machine = machine
        self.rows = rows

    def hold(self, verdict: Verdict, threshold: float) -> Verdict:
        """``verdict`` with what became of its numbers; one that passed and is slower at some batch size has failed."""
        if verdict.numbers is None:
            return verdict
        changes = tuple(self.change(verdict, speed, threshold) for speed in verdict.numbers.speeds)
        verdict = replace(verdict, changes=changes)
        slower = [each for each in changes if each.trend is Trend.SLOWER]
        if not slower or verdict.outcome is not Outcome.PASSED:
            return verdict
        reason = f"slower than {self.path} by more than {threshold:.0%}: {'; '.join(map(in_words, slower))}"
        return replace(verdict, outcome=Outcome.FAILED, exception="Slower", reason=reason)

    def change(self, verdict: Verdict, speed: Speed, threshold: float) -> Change:
        """What became of the latency at one batch size."""
        row = self.rows.get(Case(verdict.model, verdict.task, verdict.hardware).nodeid)
        before = next((each for each in row.numbers.speeds if each.batch == speed.batch), None) if row else None
        if row is None or before is None:
            note = ABSENT if row is None else f"no batch of {speed.batch} there"
            return Change(batch=speed.batch, trend=Trend.NEW, now=speed.latency, note=note)
        if unequal := differences(row, before, verdict, speed):
            return Change(
                batch=speed.batch,
                trend=Trend.INCOMPARABLE,
                now=speed.latency,
                before=before.latency,
                note="; ".join(unequal),
            )
        found, busy = trend(before.latency, speed.latency, threshold), busy_when(row, verdict)
        told = not busy or found in (Trend.SAME, Trend.NOISE)
        return Change(
            batch=speed.batch,
            trend=found if told else Trend.BUSY,
            now=speed.latency,
            before=before.latency,
            ratio=speed.latency.median / before.latency.median,
            note="" if told else f"busy {busy}",
        )


def trend(before: Timing, now: Timing, threshold: float) -> Trend:
    """What became of a median: another one only where the intervals do not meet and the ratio is beyond ``threshold`` (0.1
    for 10 %)."""
    ratio = now.median / before.median
    if 1 / (1 + threshold) <= ratio <= 1 + threshold:
        wide = max(before.noise, now.noise) > threshold
        return Trend.NOISE if wide else Trend.SAME
    if now.low <= before.high and before.low <= now.high:
        return Trend.NOISE
    return Trend.SLOWER if ratio > 1 else Trend.FASTER


def differences(row: Row, before: Speed, verdict: Verdict, now: Speed) -> list[str]:
    """What of the circumstances is not as it was, so that two numbers cannot be compared."""
    assert verdict.numbers is not None
    pairs = {
        "precision": (row.precision, verdict.precision),
        "device": (row.device, verdict.device),
        "threads": (row.numbers.threads, verdict.numbers.threads),
        "workers": (row.numbers.workers, verdict.numbers.workers),
    }
    found = [f"{name} {was}, now {now}" for name, (was, now) in pairs.items() if was != now]
    if row.checkpoint != checkpoint_of(verdict):
        found.append("another checkpoint")
    if dict(before.inputs) != dict(now.inputs):
        found.append("inputs of another shape")
    return found


def busy_when(row: Row, verdict: Verdict) -> str:
    """When others took the machine away from one of two measurements, so that nobody can say what moved a median."""
    now = verdict.numbers is not None and verdict.numbers.busy
    return " and ".join(when for when, busy in (("then", row.numbers.busy), ("now", now)) if busy)


def in_words(change: Change) -> str:
    """``12.1 ms, was 9.8 ms (1.23×, batch of 4)``."""
    assert change.before is not None
    return (
        f"{change.now.median:.3g} ms [{change.now.low:.3g}, {change.now.high:.3g}], was {change.before.median:.3g} ms "
        f"[{change.before.low:.3g}, {change.before.high:.3g}]: {change.ratio:.2f}×, batch of {change.batch}"
    )


def checkpoint_of(verdict: Verdict) -> str:
    """The digest of the weights that a case ran on."""
    return str(verdict.evidence.get("checkpoint", {}).get("weights sha256", ""))


def row_of(verdict: Verdict, today: datetime.date) -> Row:
    """What a baseline keeps of a case that was timed."""
    assert verdict.numbers is not None
    return Row(
        numbers=verdict.numbers,
        precision=verdict.precision,
        device=verdict.device,
        checkpoint=checkpoint_of(verdict),
        versions=dict(verdict.versions),
        saved=today,
    )


def read_baseline(path: Path, source: str) -> Baseline:
    """The baseline of a file.

    Raises:
        pytest.UsageError: it cannot be read, is none, or is of another machine; names the file, and the line where there is
            one.
    """
    raw = read_json(path, source)
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise pytest.UsageError(
            f"{source}: {path}:1: no baseline: 'kind' is not {KIND!r}; --ipfs-bench-save writes one"
        )
    lines = path.read_text("utf-8").splitlines()
    if raw.get("schema") != SCHEMA:
        place = f"{path}:{_line_of('schema', lines)}"
        raise pytest.UsageError(
            f"{source}: {place}: schema {raw.get('schema')!r} is not the one that is read here, {SCHEMA}"
        )
    file = convert(raw, BaselineFile, f"{source}: {path}:1", "")
    rows = {}
    for nodeid, row in file.cases.items():
        place = f"{source}: {path}:{_line_of(nodeid, lines)}"
        rows[nodeid] = convert(row, Row, place, f"cases.{nodeid}")
        _check(rows[nodeid], place)
    return Baseline(path, _machine(file, f"{source}: {path}:{_line_of('machine', lines)}"), rows)


def _check(row: Row, place: str) -> None:
    """Numbers that no clock gives are nobody's baseline."""
    for speed in row.numbers.speeds:
        timing = speed.latency
        if not 0 < timing.low <= timing.median <= timing.high < float("inf"):
            raise pytest.UsageError(
                f"{place}: the median {timing.median:g} ms does not lie in its interval {timing.low:g} to {timing.high:g}"
            )


def _machine(file: BaselineFile, place: str) -> Machine:
    """The machine of a file.

    Raises:
        pytest.UsageError: it is not described, or is another one.
    """
    try:
        machine = msgspec.convert(file.machine, Machine)
    except msgspec.ValidationError as error:
        raise pytest.UsageError(f"{place}: machine: {error}{nearest('', Machine.__slots__)}") from None
    if unequal := machine.differences(this_machine()):
        raise pytest.UsageError(
            f"{place}: of another machine ({'; '.join(unequal)}): numbers of two machines are not comparable; save a "
            "baseline of this one with --ipfs-bench-save"
        )
    return machine


def _line_of(key: str, lines: list[str]) -> int:
    quoted = f"{msgspec.json.encode(key).decode()}:"
    return next((number for number, line in enumerate(lines, start=1) if quoted in line), 1)


def merged(existing: Baseline | None, verdicts: Iterable[Verdict], today: datetime.date) -> dict[str, Row]:
    """The rows of a file after a run: those of the cases that passed and were timed, in the place of older ones of the same
    case; what the run did not time stays."""
    rows = dict(existing.rows) if existing is not None else {}
    for verdict in verdicts:
        if verdict.numbers is not None and verdict.numbers.speeds and verdict.ok:
            rows[Case(verdict.model, verdict.task, verdict.hardware).nodeid] = row_of(verdict, today)
    return rows


def dump_baseline(rows: Mapping[str, Row]) -> bytes:
    """The text of a baseline file of this machine, rows in the order of their node ids."""
    file = {
        "kind": KIND,
        "schema": SCHEMA,
        "machine": this_machine(),
        "cases": {nodeid: rows[nodeid] for nodeid in sorted(rows)},
    }
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"
