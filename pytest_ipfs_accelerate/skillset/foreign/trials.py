"""Calls of a handler and what they show: it repeats, it looks at its input, it answers as the reference does."""

from __future__ import annotations

import contextlib
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...bench import SENSITIVITY
from ...parity import Tolerance, faults_of, relative_l2, tolerance_of
from ...verdict import Comparison
from ..findings import Check, Finding
from .agreement import Held, common, hold, same_answer
from .answers import Answer, Kind, read
from .claims import Claim, claims_of
from .expected import Expected
from .naturals import Call
from .opening import settled
from .ran import Ran, seeing
from .swallowed import Seen, watching

TURNS = range(1, 7)
"""Numbers of the further inputs that are tried."""

SEEDS = (0, 1)
"""Of torch, numpy and random, for the first call and for its repetition."""


@dataclass
class Trial:
    """One way of calling a handler, and all that came of it."""

    how: str
    ran: Ran = field(default_factory=Ran)
    answers: dict[str, Answer] = field(default_factory=dict)
    given: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    swallowed: list[Seen] = field(default_factory=list)
    agrees: dict[str, str] = field(default_factory=dict)
    precision: str = ""

    @property
    def rank(self) -> tuple[bool, int]:
        """How much worse it is than another one: no answer at all is the worst."""
        return not self.comparisons, len(self.findings)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(not finding.note for finding in self.findings)


class Raised(Exception):
    """The user's handler let an exception out."""


class Caller:
    """Calls a user's handler, and sees what computes and what is swallowed meanwhile."""

    def __init__(self, handler: Callable[..., Any], directory: Path, file: str, line: int) -> None:
        self.handler = handler
        self.directory = directory
        self.file = file
        self.line = line

    def finding(self, check: Check, says: str, file: str = "", line: int = 0, *, note: bool = False) -> Finding:
        return Finding(check=check, says=says, file=file or self.file, line=line or self.line, note=note)

    def attempt(self, call: Call) -> Any:
        """What a call gives, or the exception that it lets out, which is no fault here."""
        seed_all(SEEDS[0])
        try:
            return settled(call(self.handler))
        except Exception as error:
            return error

    def call(self, trial: Trial, call: Call, seed: int, name: str) -> Answer:
        """One answer, under a name in the trial.

        Raises:
            Raised: none, and a finding says why.
        """
        seed_all(seed)
        with watching(self.directory) as watch, seeing() as ran:
            try:
                value = settled(call(self.handler))
            except Exception as error:
                value = error
        trial.ran.add(ran)
        raised = value if isinstance(value, Exception) else None
        trial.swallowed += watch.swallowed(raised)
        if raised is not None:
            file, line = place_of(raised, watch.owns)
            says = f"its handler raises {type(raised).__name__}: {raised} for {call.how}"
            trial.findings.append(self.finding(Check.PARITY, says, file, line))
            raise Raised from raised
        trial.claims += claims_of(value)
        answer = read(value)
        if wrong := _no_answer(answer):
            trial.findings.append(self.finding(Check.PARITY, f"{wrong} for {call.how}"))
            raise Raised
        trial.answers[name], trial.given[name] = answer, ran.given
        return answer


def _no_answer(answer: Answer) -> str:
    if answer.raw is None:
        return "its handler gives None"
    if answer.error:
        return f"its handler says that it failed, {answer.error},"
    if not answer.parts:
        return f"its handler gives {answer.form}, in which nothing can be held against a reference,"
    return ""


def seed_all(seed: int) -> None:
    """Seed everything that a handler may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def place_of(error: BaseException, owns: Callable[[str], bool]) -> tuple[str, int]:
    """File and line of the innermost of the user's frames that an exception came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if owns(frame.filename)]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)


def make_calls(caller: Caller, first: Call, other: Call) -> Trial:
    """Call a handler with the first of two inputs under two seeds, and with the second. Where it gives no answer a finding says
    why, and no further call is made."""
    trial = Trial(first.how)
    with contextlib.suppress(Raised):
        for name, call, seed in (("first", first, SEEDS[0]), ("again", first, SEEDS[1]), ("other", other, SEEDS[0])):
            caller.call(trial, call, seed, name)
    return trial


def compare_answers(
    caller: Caller,
    trial: Trial,
    expected: Sequence[Expected],
    hardware: str,
    more: Callable[[int], tuple[Call, Expected]],
) -> None:
    """Hold the answers of a trial against each other and against the reference. ``more`` gives further inputs by number, for an
    answer so coarse that two inputs may rightly have the same."""
    trial.precision = precision_of(hardware, trial.ran)
    tolerance = tolerance_of(hardware, trial.precision)
    if trial.answers.keys() < {"first", "again", "other"}:
        return
    first, again, other = (trial.answers[name] for name in ("first", "again", "other"))
    if not same_answer(first, again, tolerance.relative_l2):
        says = f"the same input gives another answer under another seed: {_differ(first, again)}"
        trial.findings.append(caller.finding(Check.REPEATS, says))
    agree = [
        hold_answer(caller, trial, answer, side, tolerance, name)
        for name, answer, side in (("first", first, expected[0]), ("other", other, expected[1]))
    ]
    if same_answer(first, other, SENSITIVITY):
        if all(agree):
            with contextlib.suppress(Raised):
                _look_further(caller, trial, first, tolerance, more)
        else:
            says = "another input gives the same answer: it does not look at its input"
            trial.findings.insert(0, caller.finding(Check.SENSITIVITY, says))


def hold_answer(
    caller: Caller, trial: Trial, answer: Answer, expected: Expected, tolerance: Tolerance, name: str
) -> bool:
    """Hold an answer against the reference, and say what differs; whether nothing does."""
    held = hold(answer, expected, tolerance, f"reference, {name} sample")
    if not _all_right(held) and (own := expected.encoded_as(trial.given[name])) is not None:
        # It may word its prompt or pad its input in its own way.
        again = hold(answer, own, tolerance, f"reference, {name} sample")
        held = again if _all_right(again) else held
    trial.comparisons += [one.comparison for one in held]
    wrong = [one for one in held if not one.ok]
    if wrong:
        trial.agrees.clear()
    elif trial.clean:
        trial.agrees |= {one.part: one.what for one in held}
    if not held:
        says = f"nothing in its answer ({answer.form}) can be held against the reference"
        trial.findings.append(caller.finding(Check.PARITY, says))
    found = {(finding.check, finding.says.partition(":")[0]) for finding in trial.findings}
    for one in wrong:
        finding = caller.finding(
            Check.WIDTH if one.width else Check.PARITY, f"{_subject(one)}: {one.what}{_fault(one, answer)}"
        )
        # What is wrong with a part for one sample is wrong for another.
        if (finding.check, _subject(one)) not in found:
            trial.findings.append(finding)
    return _all_right(held)


def _all_right(held: Sequence[Held]) -> bool:
    return bool(held) and all(one.ok for one in held)


def _subject(held: Held) -> str:
    return held.part if held.part.startswith("the answer") else f"{held.part} of its answer"


def _fault(held: Held, answer: Answer) -> str:
    """What is wrong with numbers by themselves: not finite, or the same everywhere."""
    numbers = {str(part): part.value for part in answer.parts if part.kind is Kind.NUMBERS and str(part) == held.part}
    return "".join(f"; {fault}" for fault in faults_of(numbers))


def _look_further(
    caller: Caller,
    trial: Trial,
    first: Answer,
    tolerance: Tolerance,
    more: Callable[[int], tuple[Call, Expected]],
) -> None:
    """Find an input to which the reference gives another answer, and hold the handler's against it."""
    for call, expected in map(more, TURNS):
        if all(one.ok for one in hold(first, expected, tolerance, "")):
            continue
        answer = caller.call(trial, call, SEEDS[0], "further")
        if not hold_answer(caller, trial, answer, expected, tolerance, "further") and same_answer(
            first, answer, SENSITIVITY
        ):
            says = "another input gives the same answer, and the reference's is another: it does not look at its input"
            trial.findings.insert(0, caller.finding(Check.SENSITIVITY, says))
        return
    says = "the reference gives every input tried the same answer: whether it looks at its input is not known"
    trial.findings.append(Finding(check=Check.SENSITIVITY, says=says, note=True))


def _differ(first: Answer, again: Answer) -> str:
    for one, other in zip(first.parts, again.parts, strict=False):
        if one.kind is Kind.TEXT and one.value != other.value:
            at = max(0, common(one.value, other.value) - 10)
            return f"{one.value[at : at + 40]!r} and {other.value[at : at + 40]!r}"
        if one.kind is Kind.NUMBERS and one.value.shape == other.value.shape:
            return f"{first.form}, relative L2 {relative_l2(one.value.float(), other.value.float()):.2e} apart"
        if one.kind is not Kind.NUMBERS and one.value != other.value:
            return f"{one.value!r} and {other.value!r}"
    return first.form


def precision_of(hardware: str, ran: Ran) -> str:
    """The precision that an answer is judged in: the lowest of what ran. The HTP of Qualcomm computes floats in fp16."""
    found = ran.precisions[0]
    return "fp16" if hardware == "qualcomm" and found == "fp32" else found


def varied(value: Any, turn: int) -> Any:
    """A further input of the same kind, by its number: words in another order, pictures mirrored and inverted, sounds
    backwards."""
    if isinstance(value, str):
        words = value.split()
        return " ".join([*words[turn % len(words) :], *words[: turn % len(words)]]) if words else value
    if isinstance(value, Image.Image):
        changed = ImageOps.invert(value) if turn % 2 else value
        return changed.rotate(90 * (turn // 2))
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(np.roll(value[::-1], turn * len(value) // 7))
    if isinstance(value, dict):
        kept = ("candidate_labels", "sampling_rate", "choices")
        return {name: item if name in kept else varied(item, turn) for name, item in value.items()}
    if isinstance(value, list):
        return [varied(item, turn) for item in value]
    return value
