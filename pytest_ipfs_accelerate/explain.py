"""Where a hardware first departs from the reference: which call of which component, and which operator or layer in it.

The same inputs go through the hardware and through somebody who is trusted, and the values between the inputs and the
outputs are held against each other in the order in which they are computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .hardware.base import Endpoint
from .hardware.intermediate import Call, Step, Values
from .parity import Tolerance
from .words import plural

JUMP = 2.0
"""An operator departs where its output is off by more than the bound, and by more than this many times what its worst input
is off: errors within the bound that add up until they cross it are nobody's own."""

MASKED = -6e4
"""Below this a number says that something is masked, whatever it is: fp16 ends there, and -3.4e38 beside numbers of order one
would be all that a norm sees."""

CANNOT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What an executor that lacks an operator, or one of its types, raises; RuntimeError is that of every native library and holds
NotImplementedError."""


@dataclass(frozen=True, slots=True)
class Error:
    """How far two values are apart, and whether that is within the tolerance."""

    relative: float
    ok: bool


def error_of(expected: Tensor, actual: Tensor, tolerance: Tolerance) -> Error:
    """As parity has it, but for numbers that are masked on both sides or the same: those are left out."""
    if expected.shape != actual.shape:
        return Error(math.inf, ok=False)
    expected, actual = expected.double(), actual.double()
    masked = (expected <= MASKED) & (actual <= MASKED)
    same = masked | (expected == actual) | (expected.isnan() & actual.isnan())
    difference = (actual - expected).masked_fill(same, 0.0)
    distance = float(difference.norm())
    norm = float(expected.masked_fill(masked | ~expected.isfinite(), 0.0).norm())
    if distance == 0:
        return Error(0.0, ok=True)
    relative = distance / norm if norm and math.isfinite(distance) else math.inf
    return Error(relative, ok=relative <= tolerance.relative_l2 or float(difference.abs().max()) <= tolerance.max_abs)


def explanation(
    endpoint: Endpoint, reference: Callable[[], Endpoint], run: Callable[[Endpoint], object], tolerance: Tolerance
) -> dict[str, Any]:
    """:func:`first_departure`, with the seconds that it took; or in words why there is none. Never raises: the case has its
    verdict already, and no failure of its explanation is to take that one's place."""
    started = time.perf_counter()
    try:
        found = first_departure(endpoint, reference(), run, tolerance)
    except Exception as error:
        found = {"text": f"explanation failed: {type(error).__name__}: {_first_line(error)}"}
    return found | {"seconds": round(time.perf_counter() - started, 4)}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def first_departure(
    endpoint: Endpoint, reference: Endpoint, run: Callable[[Endpoint], object], tolerance: Tolerance
) -> dict[str, Any]:
    """What ``verdict.evidence["first departure"]`` holds: where what ``run`` makes ``endpoint`` compute first departs, and in
    ``text`` the same in a sentence. Builtin values only.

    Raises:
        NotImplementedError: the hardware lets nobody look inside.
        Exception: whatever the hardware raises when some of its values are read out.
    """
    largest, calls, missing = 0.0, 0, set()
    for call in endpoint.parts(reference, run):
        calls += 1
        missing |= call.expected.keys() - call.found.keys()
        errors = errors_of(call.expected, call.found, tolerance)
        largest = max([largest, *(error.relative for error in errors.values())])
        if any(not error.ok for error in errors.values()):
            return {"component": call.component, "call": call.number, **in_call(call, tolerance)}
    lacking = f"; the hardware gives no {', '.join(sorted(missing))}" if missing else ""
    return {
        "calls compared": calls,
        "relative l2": _number(largest),
        "bound": tolerance.relative_l2,
        "text": f"none inside: what {plural(calls, 'call')} of the model's parts gave agrees with torch on the same inputs "
        f"(relative L2 at most {largest:.2e}, bound {tolerance.relative_l2:.0e}); the departure arises around them or "
        f"after them{lacking}",
    }


def errors_of(expected: Values, actual: Values, tolerance: Tolerance) -> dict[str, Error]:
    """The error of every value that both sides have."""
    return {name: error_of(expected[name], actual[name], tolerance) for name in expected if name in actual}


def in_call(call: Call, tolerance: Tolerance) -> dict[str, Any]:
    """The first step of a call that departs."""
    where = f"in call {call.number} of {call.component}"
    steps, cannot = call.steps(), {}
    departing = {}
    for name, witness in call.witnesses().items():
        try:
            values = witness()
        except CANNOT as error:
            cannot[name] = f"{type(error).__name__}: {_first_line(error)}"
            continue
        worst = max(
            errors_of(call.expected, values, tolerance).values(), key=lambda error: (not error.ok, error.relative)
        )
        if worst.ok:
            found = judged(call, steps, values, tolerance, where)
            return {"judged by": name, **({"cannot judge": cannot} if cannot else {}), **found}
        departing[name] = worst.relative
        last = values
    if not departing:
        why = "; ".join(f"{name}: {reason}" for name, reason in cannot.items())
        return {
            "cannot judge": cannot,
            "text": f"{where}; nobody else can run it, so no {call.unit} can be named ({why})",
        }
    return {**({"cannot judge": cannot} if cannot else {}), **at_export(call, departing, last, tolerance, where)}


def judged(call: Call, steps: Sequence[Step], trusted: Values, tolerance: Tolerance, where: str) -> dict[str, Any]:
    """The first step whose output departs from what is trusted though its inputs do not."""
    found = call.values([name for step in steps for name in step.writes if name in trusted])
    errors = errors_of(trusted, found, tolerance)
    compared = [step for step in steps if any(name in errors for name in step.writes)]
    jumps = [_Jump.of(step, errors) for step in compared]
    record: dict[str, Any] = {f"{call.unit}s compared": len(compared), "bound": tolerance.relative_l2}
    departed = [jump for jump in jumps if jump.departs]
    if departed:
        first, largest = departed[0], max(departed, key=lambda jump: jump.output)
        record |= described(first, trusted)
        numbers = f"relative L2 {first.output:.2e}, bound {tolerance.relative_l2:.0e}; its inputs {first.input:.0e}"
        text = f"{first}, {where}: {numbers}"
        if largest.output > JUMP * first.output:
            record["largest jump"] = described(largest, trusted)
            text += f" (the largest jump: {largest}, {largest.output:.2e})"
        return record | {"text": text}
    outputs = {name: error for name, error in errors.items() if name in call.expected}
    if all(error.ok for error in outputs.values()):
        return record | fused(call, compared, trusted, tolerance, where)
    largest = max(jumps, key=lambda jump: jump.output / max(jump.input, tolerance.relative_l2 / 100))
    record["largest jump"] = described(largest, trusted)
    return record | {
        "text": f"no {call.unit} {where} departs by itself: errors within the bound add up. The largest jump: {largest}, "
        f"relative L2 {largest.output:.2e}, its inputs {largest.input:.0e}"
    }


@dataclass(frozen=True, slots=True)
class _Jump:
    """The relative error of the worst output of a step and of its worst input."""

    step: Step
    output: float
    input: float
    departs: bool

    @classmethod
    def of(cls, step: Step, errors: Mapping[str, Error]) -> _Jump:
        writes = [errors[name] for name in step.writes if name in errors]
        reads = [errors[name] for name in step.reads if name in errors]
        output = max((error.relative for error in writes), default=0.0)
        before = max((error.relative for error in reads), default=0.0)
        beyond = any(not error.ok for error in writes) and all(error.ok for error in reads)
        return cls(step, output, before, departs=beyond and output > JUMP * before)

    def __str__(self) -> str:
        return named(self.step)


def named(step: Step) -> str:
    """A step in words."""
    if not step.name:
        return f"{step.operator}, the whole model"
    if step.name == step.module:
        return f"{step.operator} {step.name}"
    return f"{step.operator} {step.name}" + (f" ({step.module})" if step.module else "")


def described(jump: _Jump, values: Values) -> dict[str, Any]:
    """A step and its errors as builtin values."""
    return {
        **_names(jump.step),
        "inputs": _shapes(jump.step.reads, values),
        "outputs": _shapes(jump.step.writes, values),
        "relative l2": _number(jump.output),
        "relative l2 of the inputs": _number(jump.input),
    }


def _names(step: Step) -> dict[str, Any]:
    return {"operator": step.operator, "node": step.name, "module": step.module}


def _shapes(names: Iterable[str], values: Values) -> list[list[int]]:
    return [list(values[name].shape) for name in names if name in values]


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "not finite"


def fused(call: Call, steps: Sequence[Step], trusted: Values, tolerance: Tolerance, where: str) -> dict[str, Any]:
    """With every value read out the departure is gone, so it comes of steps that are computed as one: read out one value at a
    time, and halve what can be at fault. A value that departs has the fault before it; one that agrees has it behind it as
    long as the outputs depart; and where reading it out makes the outputs agree, it lies within what was computed as one."""
    if all(error.ok for error in errors_of(call.expected, call.values(()), tolerance).values()):
        return {"text": f"none {where}: made a second time, the call agrees with torch"}
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        step = steps[middle]
        names = [name for name in step.writes if name in trusted]
        errors = errors_of(trusted, call.values(names), tolerance)
        outputs = [error for name, error in errors.items() if name in call.expected and name not in names]
        if any(not errors[name].ok for name in names if name in errors):
            high = middle
        elif any(not error.ok for error in outputs):
            low = middle + 1
        else:
            return _names(step) | {
                "fused": True,
                "text": f"{named(step)}, {where}, fused with its neighbours: as soon as its output is read out, every "
                f"{call.unit} agrees",
            }
    if low == len(steps):
        return {"text": f"none {where}: every {call.unit} agrees; the departure arises after the graph"}
    return _names(steps[low]) | {
        "fused": True,
        "text": f"{named(steps[low])}, {where}, fused with its neighbours: it departs when its output alone is read out, and "
        "not when every value is",
    }


def at_export(
    call: Call, departing: Mapping[str, float], values: Values, tolerance: Tolerance, where: str
) -> dict[str, Any]:
    """The graph itself is not what torch computes: the first module of torch whose output no value of the graph holds though
    they hold its inputs."""
    who = " and by ".join(f"{name} ({error:.2e})" for name, error in departing.items())
    record: dict[str, Any] = {
        "export": True,
        "relative l2": {name: _number(error) for name, error in departing.items()},
        "bound": tolerance.relative_l2,
    }
    text = f"the exported graph departs from torch, before any hardware: {where}, run by {who}"
    steps, expected = call.layers()
    by_size: dict[int, list[Tensor]] = {}
    for value in values.values():
        by_size.setdefault(value.numel(), []).append(value.flatten())

    def held(name: str) -> bool:
        wanted = expected[name].flatten()
        return any(error_of(wanted, value, tolerance).ok for value in by_size.get(wanted.numel(), []))

    lost = [step for step in steps if step.writes and not all(map(held, step.writes)) and all(map(held, step.reads))]
    if lost:
        record |= _names(lost[0]) | {"outputs": _shapes(lost[0].writes, expected)}
        text += f"; the first module whose output it does not hold: {named(lost[0])}"
    return record | {"text": text}
