"""How far rounding alone takes a case: torch's own computation of it in another precision, on the CPU.

One bound for all models is too wide for most of them and too narrow for some: of the same tiny checkpoints, bert departs from
fp32 by 1e-3 in fp16 and t5 by 1.8e-2, on torch's CPU, with no hardware in between; and fp32, the reference itself, departs from
fp64 by 5e-7 for bert and by 1.2e-5 for a perceiver. Where a result is over its bound, torch computes the case in the same
precision, or in fp64 where that is fp32, and the result may depart from the reference three times as far as that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .bench import Form
from .handlers import Handler
from .hardware.one_precision import OnePrecision
from .hardware.torch_device import Cpu
from .matrix import Case
from .parity import Tolerance, faults_of
from .results import HandlerResult
from .tasks.base import Task
from .verdict import Comparison

WITNESSES: Mapping[str, str] = {"fp32": "fp64", "fp16": "fp16", "bf16": "bf16"}
"""In which precision torch says what rounding does to a result, by the precision of the result."""

TIMES = 3.0
"""How many times torch's own departure another implementation may depart: it rounds in another order, and at other places. As
much as a calibrated bound may lie above what was measured."""

MOST: Mapping[str, float] = {"fp64": 1e-4, "fp16": 5e-2, "bf16": 1e-1}
"""The widest bound, relative L2, by the precision of the witness, however far rounding takes torch: beyond it a comparison
would say nothing."""


EXPLAINED = "torch itself departs as far"
"""What the reason of a failure says where rounding explains it: rows of the ledger ask for it."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far torch departs from its own fp32 in a precision: the largest relative L2 of an output that does not pass by its
    absolute bound; whether all of them do (``small``), or why torch does not compute it."""

    precision: str
    relative_l2: float = 0.0
    refused: str = ""
    small: bool = False

    def evidence(self) -> dict[str, Any]:
        name = f"torch in {self.precision} on the CPU"
        if self.refused:
            return {name: f"cannot: {self.refused}"}
        return {f"{name} departs by": "less than the absolute bound" if self.small else self.relative_l2}


def in_words(rounding: Rounding, wrong: Sequence[Comparison]) -> str:
    """What a witness says of comparisons that failed. Where torch itself departs farther than any bound allows, and nothing
    departs more than some times as far, it is the precision that fails, and not the hardware."""
    errors = [each.relative_l2 for each in wrong if each.relative_l2 is not None]
    beyond = rounding.relative_l2 > MOST[rounding.precision]
    if beyond and all(error <= TIMES * rounding.relative_l2 for error in errors):
        return f"{EXPLAINED} in {rounding.precision} on the CPU, by {rounding.relative_l2:.2e}"
    ((name, found),) = rounding.evidence().items()
    return f"{name} {found:.2e}" if isinstance(found, float) else f"{name} {found}"


def rounding_of(
    case: Case,
    task: Task,
    forms: Mapping[str, Form],
    precision: str,
    hold: Callable[[str, HandlerResult], list[Comparison]],
) -> Rounding:
    """How far torch departs on these forms; ``hold`` holds a result against the reference of its form."""
    found: list[Comparison] = []
    try:
        endpoint = Cpu(precision=precision).lower(task.checkpoint, None)
        if getattr(endpoint.model, "_can_set_experts_implementation", lambda: False)():
            # The kernel for groups of experts takes no fp64.
            endpoint.model.set_experts_implementation("batched_mm")
        handler = Handler(case, task, endpoint)
        for name, form in forms.items():
            with OnePrecision(endpoint.model.dtype):
                result = handler.handle(form.natural, form.encoded)
            if faults := faults_of(result.outputs):
                return Rounding(precision, refused=faults[0])
            found += hold(name, result)
    except (RuntimeError, TypeError, ValueError) as error:
        # A kernel that torch has not in this precision.
        return Rounding(precision, refused=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
    numbers = [each for each in found if each.relative_l2]
    errors = [each.relative_l2 for each in numbers if each.relative_l2 is not None and not _small(each)]
    return Rounding(precision, max(errors, default=0.0), small=bool(numbers) and not errors)


def _small(comparison: Comparison) -> bool:
    """Whether an output is right by its absolute bound: its relative error says nothing then."""
    size, bound = comparison.max_abs, comparison.absolute_bound
    return size is not None and bound is not None and size <= bound


def allowing_for(rounding: Rounding, tolerance: Tolerance) -> Tolerance:
    """A tolerance that lets through what torch's own rounding explains."""
    bound = min(TIMES * rounding.relative_l2, MOST[rounding.precision])
    if bound <= tolerance.relative_l2:
        return tolerance
    return replace(
        tolerance, relative_l2=bound, source=f"{TIMES:g} times torch's own departure in {rounding.precision}"
    )
