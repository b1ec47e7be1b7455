"""What a class does with a checkpoint that does not exist: it must raise, or say honestly that this is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...specs import SkillSource
from ..findings import Check, Finding
from .answers import read
from .claims import Claim, Says, claims_of
from .opening import Opened, place_of_handler, settled


@dataclass(frozen=True, slots=True)
class Missing:
    """How it ended: in words, what is wrong with that, and the labels that the answer bore."""

    ended: str
    findings: tuple[Finding, ...] = ()
    claims: tuple[Claim, ...] = ()


def check_missing(open_it: Callable[[], Opened], name: str, call: Callable[[Any], Any], source: SkillSource) -> Missing:
    """Open a class on a checkpoint that does not exist, and where that gives a handler, call it: the one of this name, where
    there are several."""
    try:
        opened = open_it()
    except Exception as error:
        return Missing(f"raises {type(error).__name__}")
    if not opened.handlers:
        return Missing("gives no handler")
    handler = opened.handlers.get(name) or next(iter(opened.handlers.values()))
    try:
        value = settled(call(handler))
    except Exception as error:
        return Missing(f"its handler raises {type(error).__name__}")
    claims = tuple(claims_of(value, "its answer"))
    answer = read(value)
    if value is None:
        return Missing("its handler gives None", (_finding("nothing that says so: None", handler, source),))
    if answer.error and not any(claim.says is Says.REAL for claim in claims):
        return Missing(f"says so: {answer.error}")
    real = next((claim.where for claim in claims if claim.says is Says.REAL), "")
    gives = f"{answer.form}{f', and says that it is real: {real}' if real else ', as if it were an answer'}"
    return Missing(f"gives {answer.form}", (_finding(gives, handler, source),), claims)


def _finding(gives: str, handler: Any, source: SkillSource) -> Finding:
    file, line = place_of_handler(handler, source)
    says = f"for a checkpoint that does not exist it gives {gives}"
    return Finding(check=Check.MISSING_CHECKPOINT, says=says, file=file, line=line)
