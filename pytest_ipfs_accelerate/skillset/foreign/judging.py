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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that is known of a case: the findings with the stage of each, which of them are exceptions that were ``caught``
    while it ran, and what the class says of itself; ``of_missing`` is what it says where the checkpoint does not exist, and
    ``answered`` whether there was an answer to hold against the reference."""

    findings: Sequence[tuple[Stage, Finding]]
    caught: Sequence[Finding] = ()
    claims: Sequence[Claim] = ()
    of_missing: Sequence[Claim] = ()
    answered: bool = False


def judge(found: Found, source: SkillSource) -> Judgement:
    """The end of a case."""
    wrong = [finding for _, finding in found.findings if not finding.note]
    own = [finding for finding in wrong if finding.check in NOT_REAL - {Check.MISSING_CHECKPOINT}]
    missing = [finding for finding in wrong if finding.check is Check.MISSING_CHECKPOINT]
    mock, real = _first(found.claims, Says.MOCK), _first(found.claims, Says.REAL)
    lied = (real if own and mock is None else None) or (_first(found.of_missing, Says.REAL) if missing else None)
    findings = _ordered(found, _claim(mock, lied, source), explain=bool(own))
    failing = [finding for finding in findings if not finding.note]
    real_run = Implementation.REAL if found.answered and not own else None
    implementation = Implementation.MOCK if mock or _is_mock(own) else real_run
    if not failing:
        return Judgement(outcome=Outcome.PASSED, findings=tuple(findings), implementation=implementation)
    fake = lied is not None and mock is None
    return Judgement(
        outcome=Outcome.FAKE if fake else Outcome.FAILED,
        reason=_reason(failing, lied if fake else None),
        findings=tuple(findings),
        stage=next((stage for stage, finding in found.findings if not finding.note), None),
        implementation=implementation,
        exception="Fault",
    )


def _claim(mock: Claim | None, lied: Claim | None, source: SkillSource) -> Finding | None:
    """What is wrong with that which a class says of itself."""
    if mock is not None:
        says = f"says of itself that it is a mock ({mock.where}), and a mock is never a pass"
    elif lied is not None:
        says = f"says real ({lied.where}), and is not"
    else:
        return None
    return Finding(check=Check.CLAIM, says=says, file=source.file, line=source.line)


def _first(claims: Sequence[Claim], says: Says) -> Claim | None:
    return next((claim for claim in claims if claim.says is says), None)


def _is_mock(findings: Sequence[Finding]) -> bool:
    return any("unittest.mock" in finding.says or "nothing computed" in finding.says for finding in findings)


def _ordered(found: Found, claim: Finding | None, *, explain: bool) -> list[Finding]:
    """What was caught and not said first where it explains a failure, then as found; notes last."""
    explains = [replace(finding, note=False) for finding in found.caught] if explain else []
    rest = [finding for _, finding in found.findings if not (explain and finding in found.caught)]
    findings = dict.fromkeys([*explains, *rest, *([claim] if claim else [])])
    return sorted(findings, key=lambda finding: finding.note)


def _reason(failing: Sequence[Finding], lied: Claim | None) -> str:
    named = [finding for finding in failing if finding.check is not Check.CLAIM] or list(failing)
    count = plural(len(named), "finding")
    return f"{f'says real ({lied.where}), and is not: ' if lied else ''}{count}; first: {named[0]}"
