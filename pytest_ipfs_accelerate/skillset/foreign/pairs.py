"""Two inputs in one list: each must have the answer that it has alone. A handler that takes no lists is not at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...parity import Tolerance, relative_l2
from ...results import HandlerResult
from ..findings import Check
from .agreement import hold
from .answers import Answer, Kind, Part, read
from .claims import attributes_of, claims_of
from .expected import Expected
from .naturals import Call
from .trials import Caller, Trial

TWO = 2


def check_pair(
    caller: Caller, trial: Trial, calls: Sequence[Call], expected: Sequence[Expected], tolerance: Tolerance
) -> str:
    """Call a handler with two inputs at once and hold each answer against what it is alone; in words, how that ended."""
    value = caller.attempt(together(*calls))
    if isinstance(value, Exception):
        return f"raises {type(value).__name__}"
    trial.claims += claims_of(value)
    answer = read(value)
    if answer.error:
        return f"says that it failed: {answer.error}"
    alone = [trial.answers[name] for name in ("first", "other")]
    rows = [read(row) for row in rows_of(value)]
    if len(rows) != TWO or not all(map(_comparable, rows, alone)):
        says = f"given a list of two inputs it gives {answer.form}, which is not two answers"
        trial.findings.append(caller.finding(Check.BATCH, says, note=True))
        return f"gives {answer.form}, which is not two answers"
    if tolerance.ties and any(part.kind is Kind.TEXT for part in alone[0].parts):
        return "not judged: in this precision a text may turn where two tokens tie"
    names = ("first", "second")
    wrong = [
        (name, row, one)
        for name, row, one, side in zip(names, rows, alone, expected, strict=True)
        if not _agrees(row, one, tolerance) and not _right(row, side, tolerance)
    ]
    if not wrong:
        return "each is what it is alone"
    says = f"in a list of two inputs the {' and the '.join(name for name, _, _ in wrong)} has another answer than alone"
    trial.findings.append(caller.finding(Check.BATCH, f"{says}: {_differ(*wrong[0][1:])}"))
    return "another answer than alone"


def together(first: Call, other: Call) -> Call:
    """One call with two inputs, from the calls with each: what differs in a list, and what is the same as it is."""
    listed = first.how.startswith("a list of")
    arguments = tuple(_both(*pair, listed=listed) for pair in zip(first.arguments, other.arguments, strict=True))
    keywords = {name: _both(first.keywords[name], other.keywords[name], listed=listed) for name in first.keywords}
    return Call(arguments, f"two of: {first.how}", keywords)


def _both(first: Any, other: Any, *, listed: bool) -> Any:
    if listed:
        return [*first, *other]
    # A sampling rate, or the labels to choose from.
    plain = isinstance(first, int | float) or (isinstance(first, list) and all(isinstance(one, str) for one in first))
    return first if plain and first == other else [first, other]


def rows_of(value: Any) -> list[Any]:
    """The two answers in what a handler gave for two inputs; empty where there are not two."""
    if isinstance(value, HandlerResult):
        value = value.decoded
    if isinstance(value, Tensor | np.ndarray):
        return [value[:1], value[1:]] if value.ndim and len(value) == TWO else []
    if isinstance(value, list | tuple):
        return list(value) if len(value) == TWO else []
    if not isinstance(value, Mapping):
        value = {name: one for name, one in attributes_of(value).items() if not name.startswith("_")}
    split = {name: rows_of(one) for name, one in value.items() if not isinstance(one, str)}
    if not any(split.values()):
        return []
    return [{name: split[name][row] if split.get(name) else one for name, one in value.items()} for row in range(TWO)]


def _comparable(row: Answer, alone: Answer) -> bool:
    """Whether two answers have the same kinds of parts, and numbers of as many axes."""
    return bool(row.parts) and [_form(part) for part in row.parts] == [_form(part) for part in alone.parts]


def _form(part: Part) -> tuple[Kind, int]:
    return part.kind, part.value.squeeze().dim() if part.kind is Kind.NUMBERS else 0


def _agrees(row: Answer, alone: Answer, tolerance: Tolerance) -> bool:
    return all(
        _distance(one, other) <= tolerance.relative_l2 for one, other in zip(row.parts, alone.parts, strict=True)
    )


def _right(row: Answer, expected: Expected, tolerance: Tolerance) -> bool:
    held = hold(row, expected, tolerance, "")
    return bool(held) and all(one.ok for one in held)


def _distance(row: Part, alone: Part) -> float:
    """How far a part is from what it is alone. Numbers for each position may have padding before or after them."""
    if row.kind is Kind.SCORE:
        return abs(float(row.value) - float(alone.value)) / 10
    if row.kind is not Kind.NUMBERS:
        return 0.0 if row.value == alone.value else float("inf")
    ours, own = row.value.squeeze(), alone.value.squeeze()
    if own.shape[1:] != ours.shape[1:] or own.dim() == 0 or len(own) > len(ours):
        return relative_l2(own, ours) if own.shape == ours.shape else float("inf")
    found: list[float] = [relative_l2(own, cut) for cut in (ours[: len(own)], ours[len(ours) - len(own) :])]
    return min(found)


def _differ(row: Answer, alone: Answer) -> str:
    far = [_distance(one, other) for one, other in zip(row.parts, alone.parts, strict=True)]
    part, other = row.parts[far.index(max(far))], alone.parts[far.index(max(far))]
    if part.kind is Kind.NUMBERS:
        return f"{part}, relative L2 {max(far):.2e} apart"
    return f"{part.value!r:.60}, and alone {other.value!r:.60}"
