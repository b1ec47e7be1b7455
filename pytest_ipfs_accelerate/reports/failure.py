"""The text of a case that failed: short, with the numbers, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..skillset.findings import FINDINGS, Check, Finding
from ..verdict import DEPARTURE, Comparison, Stage, Verdict

SHOWN = 6
"""Failing comparisons that are printed; the rest is counted and in the JSON file."""


def failure_text(verdict: Verdict, *, full: bool) -> str:
    """What pytest prints for a case that failed; ``full`` adds the traceback or output that the verdict holds."""
    lines = [f"{verdict.outcome} in stage {verdict.stage}: {verdict.model}, {verdict.task}, on {verdict.hardware}", ""]
    failing = [comparison for comparison in verdict.comparisons if not comparison.ok]
    # The reason ends with the first of them, for those who read one line; here they follow.
    found = verdict.evidence.get(FINDINGS, ())
    reason = verdict.reason.partition("; first: ")[0] if failing or found else verdict.reason
    lines += [f"    {line}" for line in reason.splitlines()]
    lines += _findings(found) or _comparisons(failing)
    lines += _departure(verdict)
    where = ", ".join(part for part in (verdict.device, verdict.precision, verdict.implementation or "") if part)
    if where:
        lines += ["", f"    ran on:    {where}"]
    if verdict.versions:
        lines.append("    versions:  " + ", ".join(f"{name} {number}" for name, number in verdict.versions.items()))
    if verdict.reproduce:
        lines.append(f"    again:     {verdict.reproduce}")
        if failing and not found and verdict.stage in (Stage.PARITY, Stage.BATCH) and DEPARTURE not in verdict.evidence:
            lines.append("               --ipfs-explain names the first operator that departs")
    if verdict.detail:
        lines += ["", verdict.detail.rstrip()] if full else ["    more:      -vv shows the traceback or output"]
    return "\n".join(lines)


def _findings(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything that was found out about a skill class of the user's, with its place; what explains the failure first."""
    findings = [Finding(**{**each, "check": Check(each["check"])}) for each in found]
    return ["", *(f"    {'note: ' if finding.note else ''}{finding}" for finding in findings)] if findings else []


def _departure(verdict: Verdict) -> Iterator[str]:
    """What ``--ipfs-explain`` found, and who said what is right."""
    if found := verdict.evidence.get(DEPARTURE):
        yield from ("", f"    departs:   {found['text']}")
        if "judged by" in found:
            yield f"               judged by {found['judged by']}, on the input {found['form']}"


def _comparisons(failing: list[Comparison]) -> list[str]:
    if not failing:
        return []
    lines = ["", *(f"    {comparison}" for comparison in failing[:SHOWN])]
    if len(failing) > SHOWN:
        lines.append(f"    and {len(failing) - SHOWN} more (--ipfs-json has them all)")
    return lines
