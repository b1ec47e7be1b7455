"""The ledger of known failures: which cases fail, at which stage, with what, and why.

It is strict. A case that passes against it is ``fixed``, which fails the run until its row goes; one that fails at another
stage or with another exception than the row says has failed; so has one whose row is expired. ``known_failures.json`` is a file
of its own, beside the registry, because the two change for different reasons: the registry with transformers, the ledger with
every run; and because a user's own ledger is laid over ours in the same form.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .matrix import Case
from .registry.rows import convert, read_json
from .verdict import Outcome, Stage, Verdict

SCHEMA = 1
FILE = "known_failures.json"
FAILURES = (Outcome.FAILED, Outcome.CRASHED, Outcome.TIMED_OUT)
BEFORE_HARDWARE = (Stage.BUILD, Stage.PROCESS, Stage.REFERENCE)
"""Stages that are torch's on the CPU, whatever the hardware: what fails there fails on each."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One known failure. ``stage`` and ``exception`` are those of the verdict (``Fault`` for a check of ours, ``crashed`` and
    ``timed-out`` where there is none); ``message`` must stand in its reason. ``reason`` says why in one sentence. The row
    holds in the ``precision`` named, and in any where none is; ``versions`` bounds the libraries that it holds for, by name;
    ``expires`` is the last day that it holds."""

    stage: Stage
    exception: str
    reason: str
    message: str = ""
    link: str = ""
    precision: str = ""
    versions: dict[str, str] = {}
    expires: datetime.date | None = None


class LedgerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ledger file: entries (:class:`Entry`) by case, ``bert::fill-mask-cpu``, with ``*`` wildcards."""

    failures: dict[str, dict[str, Any]]
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry and where it stands."""

    pattern: str
    entry: Entry
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def covers(self, case: Case) -> bool:
        return fnmatchcase(key_of(case), self.pattern)

    @property
    def is_exact(self) -> bool:
        return not any(mark in self.pattern for mark in "*?[")


def key_of(case: Case) -> str:
    """The key of a case in a ledger, ``bert::fill-mask-cpu``."""
    return f"{case.model}::{case.leaf}"


class Ledger:
    """The rows of a run: our own, with those of a user laid over them. The row of a case is the first that covers it: exact
    ones before wildcards, a user's before ours."""

    def __init__(self, rows: tuple[Row, ...] = ()) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: not row.is_exact))

    def row(self, case: Case, versions: Mapping[str, str], precision: str = "") -> Row | None:
        """The row that holds for a case in a precision, under the installed ``versions`` of libraries."""
        return next((row for row in self.rows if row.covers(case) and _holds(row, versions, precision)), None)

    def _row_of_model(self, case: Case, verdict: Verdict, versions: Mapping[str, str]) -> Row | None:
        """The row of the case on the CPU, where the model itself fails as it says before a hardware is asked."""
        row = self.row(case._replace(hardware="cpu"), versions) if verdict.stage in BEFORE_HARDWARE else None
        return row if row is not None and same_failure(row.entry, verdict) else None

    def judge(self, verdict: Verdict, versions: Mapping[str, str], today: datetime.date) -> Verdict:
        """``verdict`` as the ledger sees it."""
        case = Case(verdict.model, verdict.task, verdict.hardware)
        if verdict.outcome is not Outcome.PASSED and verdict.outcome not in FAILURES:
            return verdict
        row = self.row(case, versions, verdict.precision) or self._row_of_model(case, verdict, versions)
        if row is None:
            return verdict
        evidence = {**verdict.evidence, "ledger": {"row": row.place, "failed": verdict.reason}}
        if verdict.outcome is Outcome.PASSED:
            remedy = "delete it" if row.is_exact else "narrow or delete it"
            reason = f"it passed, and {row.place} says that {row.pattern!r} fails: {remedy}"
            return replace(verdict, outcome=Outcome.FIXED, reason=reason)
        if row.entry.expires is not None and today > row.entry.expires:
            reason = f"{verdict.reason} ({row.place} knew this until {row.entry.expires}: look again, then renew or delete it)"
            return replace(verdict, reason=reason)
        if not same_failure(row.entry, verdict):
            known = f"{row.entry.exception} at {row.entry.stage}" + (
                f", {row.entry.message!r}" if row.entry.message else ""
            )
            return replace(verdict, reason=f"{verdict.reason} ({row.place} knows another failure: {known})")
        link = f" ({row.entry.link})" if row.entry.link else ""
        return replace(verdict, outcome=Outcome.KNOWN, reason=f"{row.entry.reason}{link}", evidence=evidence)


def exception_of(verdict: Verdict) -> str:
    """What a ledger calls the way in which a case ended."""
    return verdict.exception or verdict.outcome.value


def same_failure(entry: Entry, verdict: Verdict) -> bool:
    return verdict.stage is entry.stage and exception_of(verdict) == entry.exception and entry.message in verdict.reason


def _holds(row: Row, versions: Mapping[str, str], precision: str) -> bool:
    return row.entry.precision in ("", precision) and all(
        name in versions and SpecifierSet(bound).contains(versions[name], prereleases=True)
        for name, bound in row.entry.versions.items()
    )


def _is_specifier(bound: str) -> bool:
    try:
        SpecifierSet(bound)
    except InvalidSpecifier:
        return False
    return True


def read_ledger(path: Path, option: str) -> tuple[Row, ...]:
    """The rows of a ledger file.

    Raises:
        pytest.UsageError: it cannot be read, or a row is not valid; names the option, the file, the line and the key.
    """
    raw = read_json(path, option)
    file = convert(raw, LedgerFile, f"{option}: {path}", "")
    if file.schema != SCHEMA:
        raise pytest.UsageError(
            f"{option}: {path}: schema: {file.schema} is not the schema that is read here, {SCHEMA}"
        )
    lines = path.read_text("utf-8").splitlines()
    rows = []
    for pattern, raw_entry in file.failures.items():
        line = _line_of(pattern, lines)
        place = f"{option}: {path}:{line}"
        row = Row(
            pattern=pattern, entry=convert(raw_entry, Entry, place, f"failures.{pattern}"), file=path.name, line=line
        )
        for name, bound in row.entry.versions.items():
            if not _is_specifier(bound):
                raise pytest.UsageError(f"{place}: {pattern}: versions: {name}: {bound!r} is no version specifier")
        if "::" not in pattern:
            raise pytest.UsageError(f"{place}: {pattern!r} is not model::task-hardware, with * wildcards")
        rows.append(row)
    return tuple(rows)


def _line_of(pattern: str, lines: list[str]) -> int:
    key = f"{msgspec.json.encode(pattern).decode()}:"
    return next((number for number, line in enumerate(lines, start=1) if key in line), 1)


def shipped_ledger() -> Path:
    """``known_failures.json``: inside the installed package, or at the top of the repository."""
    package = Path(__file__).parent
    installed = package / FILE
    return installed if installed.exists() else package.parent / FILE


@cache
def _shipped() -> tuple[Row, ...]:
    return read_ledger(shipped_ledger(), FILE)


def load_ledger(file: Path | None = None) -> Ledger:
    """Our ledger, with a user's file laid over it."""
    own = read_ledger(file, "--ipfs-ledger") if file is not None else ()
    if file is not None and file.resolve() == shipped_ledger().resolve():
        return Ledger(own)
    return Ledger((*own, *_shipped()))


def dump_ledger(failures: Mapping[str, Entry]) -> str:
    """The text of a ledger file: rows in the order of their keys."""
    rows: dict[str, Any] = {key: msgspec.to_builtins(failures[key]) for key in sorted(failures)}
    return msgspec.json.format(msgspec.json.encode({"schema": SCHEMA, "failures": rows}), indent=2).decode() + "\n"
