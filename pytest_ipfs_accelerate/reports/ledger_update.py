"""``--ipfs-update-ledger``: a ledger file rewritten from a run, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ..ledger import FAILURES, Entry, Row, dump_ledger, exception_of, key_of, read_ledger
from ..matrix import Case
from ..verdict import OWN, Outcome, Verdict


def updated(
    rows: Iterable[Row], verdicts: Iterable[Verdict], cases: Iterable[Case]
) -> tuple[dict[str, Entry], list[str]]:
    """The rows of a ledger after a run, and the difference, a line each.

    A case that failed gets a row, or the row of its failure; a case that was fixed loses it. A wildcard that covers a fixed
    case is replaced by the cases that still fail, provided that the run reached every one of ``cases`` that it covers: a row
    that the run did not reach is never touched.
    """
    kept = {row.pattern: row.entry for row in rows}
    reached = {key_of(Case(v.model, v.task, v.hardware)): v for v in verdicts if v.outcome is not Outcome.UNAVAILABLE}
    lines: list[str] = []
    for row in rows:
        lines += _without_fixed(row, kept, reached, cases)
    for key, verdict in reached.items():
        if verdict.outcome not in FAILURES:
            continue
        if key in kept and kept[key].precision not in ("", verdict.precision):
            lines.append(
                f"! {key}: failed in {verdict.precision or 'no precision'}, and its row is of {kept[key].precision}"
            )
            continue
        asked = verdict.evidence.get("asked", {}).get("precision", OWN)
        entry = Entry(
            stage=verdict.stage,
            exception=exception_of(verdict),
            reason=f"unexplained: {_plain(verdict.reason)}",
            precision="" if asked == OWN else verdict.precision,
        )
        if key not in kept:
            lines.append(f"+ {key}: {entry.exception} at {entry.stage}")
            kept[key] = entry
        else:
            lines.append(f"~ {key}: {entry.exception} at {entry.stage}, was {kept[key].exception} at {kept[key].stage}")
            kept[key] = msgspec.structs.replace(entry, link=kept[key].link)
    return kept, lines


def _without_fixed(
    row: Row, kept: dict[str, Entry], reached: Mapping[str, Verdict], cases: Iterable[Case]
) -> list[str]:
    covered = [key_of(case) for case in cases if row.covers(case)]
    fixed = [key for key in covered if key in reached and reached[key].outcome is Outcome.FIXED]
    if not fixed:
        return []
    missing = [key for key in covered if key not in reached]
    if missing:
        return [f"! {row.pattern}: {len(fixed)} fixed, but {len(missing)} of its cases did not run: left as it is"]
    del kept[row.pattern]
    still = [key for key in covered if reached[key].outcome is Outcome.KNOWN]
    kept |= dict.fromkeys(still, row.entry)
    return [f"- {row.pattern}: fixed" + (f"; {len(still)} of its cases fail still" if still else "")]


def _plain(reason: str) -> str:
    """A reason without what the ledger added to it, at a length that fits a line."""
    text = reason.partition(" (known_failures.json")[0].splitlines()[0]
    return text if len(text) <= 200 else text[:197] + "…"


def update_ledger(path: Path, verdicts: Iterable[Verdict], cases: Iterable[Case]) -> list[str]:
    """Rewrite the ledger at ``path``, which is made where it does not exist; the difference, a line each."""
    rows = read_ledger(path, "--ipfs-ledger") if path.exists() else ()
    failures, lines = updated(rows, list(verdicts), list(cases))
    if lines:
        path.write_text(dump_ledger(failures), "utf-8")
    return lines
