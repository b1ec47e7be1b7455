"""What the findings on a skill class come to: passed, failed, or fake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...specs import SkillSource
from ...verdict import Implementation, Outcome, Stage
from ...words import plural
from ..findings import Check, Finding
from .claims import Claim, Says

NOT_REAL = frozenset(
    (Check.ENDPOINT, Check.REPEATS, Check.SENSITIVITY, Check.WIDTH, Check.PARITY, Check.PLACE, Check.MISSING_CHECKPOINT)
)
"""Findings that say that the named hardware did not compute the right answer. A class may be real and have others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How a case ends. ``findings`` are all of them, what explains the failure first; ``stage`` is that of the first one."""

    outcome: Outcome
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    stage: Stage | None = None
    implementation: Implementation | None = None
    exception: str = ""
    detail: str = ""


def judge(
    found: Sequence[tuple[Stage, Finding]],
    claims: Sequence[Claim],
    claims_of_missing: Sequence[Claim],
    source: SkillSource,
) -> Judgement:
    """The end of a case, from what was found in which stage, what the class says of itself, and what it says of itself where
    the checkpoint does not exist."""
    wrong = [finding for _, finding in found if not finding.note]
    mock, real = _first(claims, Says.MOCK), _first(claims, Says.REAL)
    own = [finding for finding in wrong if finding.check in NOT_REAL - {Check.MISSING_CHECKPOINT}]
    missing = [finding for finding in wrong if finding.check is Check.MISSING_CHECKPOINT]
    if own:
        # What it caught and did not say is why.
        found = [
            (stage, replace(finding, note=False) if finding.check is Check.SWALLOWED else finding)
            for stage, finding in found
        ]
    lies = [*((real,) if own and real and not mock else ()), *_missing(missing, claims_of_missing)]
    lied = lies[0] if lies else None
    says = ""
    if mock is not None:
        says = f"says of itself that it is a mock ({mock.where}), and a mock is never a pass"
    elif lied is not None:
        says = f"says real ({lied.where}), and is not"
    claim = Finding(check=Check.CLAIM, says=says, file=source.file, line=source.line) if says else None
    ordered = _ordered(found, claim)
    failing = [finding for finding in ordered if not finding.note]
    implementation = Implementation.MOCK if mock or _is_mock(own) else None if own else Implementation.REAL
    if not failing:
        return Judgement(outcome=Outcome.PASSED, findings=tuple(ordered), implementation=implementation)
    fake = lied is not None and mock is None
    first = next(stage for stage, finding in found if not finding.note) if any(not f.note for _, f in found) else None
    return Judgement(
        outcome=Outcome.FAKE if fake else Outcome.FAILED,
        reason=_reason(failing, lied if fake else None),
        findings=tuple(ordered),
        stage=first,
        implementation=implementation,
        exception="Fault",
    )


def _first(claims: Sequence[Claim], says: Says) -> Claim | None:
    return next((claim for claim in claims if claim.says is says), None)


def _missing(missing: Sequence[Finding], claims: Sequence[Claim]) -> Sequence[Claim]:
    real = _first(claims, Says.REAL)
    return [real] if missing and real is not None else []


def _is_mock(findings: Sequence[Finding]) -> bool:
    return any("unittest.mock" in finding.says or "nothing computed" in finding.says for finding in findings)


def _ordered(found: Sequence[tuple[Stage, Finding]], claim: Finding | None) -> list[Finding]:
    """What was swallowed first where it explains a failure, then as found; notes last."""
    findings = list(dict.fromkeys([*(finding for _, finding in found), *([claim] if claim else [])]))
    return sorted(findings, key=lambda one: (one.note, one.check is not Check.SWALLOWED))


def _reason(failing: Sequence[Finding], lied: Claim | None) -> str:
    first = next((one for one in failing if one.check is not Check.CLAIM), failing[0])
    more = len(failing) - 1 - (lied is not None)
    reason = f"says real ({lied.where}), and is not: {first}" if lied else str(first)
    return f"{reason}; and {plural(more, 'more finding')}" if more else reason
