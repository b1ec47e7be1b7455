"""A handler that was right twice, looked at longer: with an input that it has not seen, two in a list, the first ones again,
and with what its runtime puts out changed on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...parity import Tolerance, tolerance_of
from ..findings import Check
from .agreement import hold, same_answer
from .answers import Kind, read
from .expected import Expected
from .naturals import Call
from .pairs import check_pair
from .tampering import tampering
from .trials import SEEDS, TURNS, Caller, Raised, Trial, hold_answer

RUNTIMES = ("openvino", "onnxruntime", "qualcomm")
"""Hardware whose answers come through OpenVINO or ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A handler in the way that it is called best: the calls with the two samples, what the reference says to them, and
    ``further``, which makes a call with another natural input."""

    name: str
    caller: Caller
    trial: Trial
    calls: Sequence[Call]
    expected: Sequence[Expected]
    further: Callable[[int], tuple[Call, Expected]]


def look_longer(handled: Handled, hardware: str) -> str:
    """Call a handler more often and add what that shows to its trial; how two inputs in a list ended, in words."""
    caller, trial, calls = handled.caller, handled.trial, handled.calls
    tolerance = tolerance_of(hardware, trial.precision)
    with contextlib.suppress(Raised):
        _look_at_a_third(handled, tolerance)
        pair = check_pair(caller, trial, calls, handled.expected, tolerance)
        for name, call in zip(("first", "other"), calls, strict=True):
            before = trial.answers[name]
            again = caller.call(trial, call, SEEDS[0], f"{name}, later")
            if not same_answer(before, again, tolerance.relative_l2):
                says = "the same input has another answer after a few calls with others"
                trial.findings.append(caller.finding(Check.REPEATS, says))
                break
        return pair
    return ""


def _look_at_a_third(handled: Handled, tolerance: Tolerance) -> None:
    caller, trial = handled.caller, handled.trial
    if tolerance.ties and any(part.kind is Kind.TEXT for part in trial.answers["first"].parts):
        return  # in this precision a text may turn where two tokens tie
    call, expected = handled.further(TURNS[-1])
    answer = caller.call(trial, call, SEEDS[0], "third")
    hold_answer(caller, trial, answer, expected, tolerance, "third")


def look_at_its_runtime(handled: Handled, hardware: str) -> str:
    """Whether the answer to an input not seen before stays right while all that the runtime puts out is changed; in words, how
    that ended."""
    if hardware not in RUNTIMES:
        return ""
    caller, trial = handled.caller, handled.trial
    tolerance = tolerance_of(hardware, trial.precision)
    call, expected = handled.further(TURNS[-2])
    with tampering() as tampered:
        value = caller.attempt(call)
    if isinstance(value, Exception):
        return f"raises {type(value).__name__}"
    if tampered.unseen or not tampered.outputs:
        return "not known: what it puts out cannot be changed here"
    plain: Any = caller.attempt(call)
    if isinstance(plain, Exception):
        return "not known: it raises afterwards"
    # An answer that was kept from the first call is the same, but not right; one of a tie is right, but not the same.
    answer = read(value)
    held = hold(answer, expected, tolerance, "")
    if held and all(one.ok for one in held) and same_answer(answer, read(plain), tolerance.relative_l2):
        says = f"its answer stays right when all that {hardware} puts out is changed: it is computed elsewhere"
        trial.findings.append(caller.finding(Check.PLACE, says))
        return "stays right"
    return "another answer"
