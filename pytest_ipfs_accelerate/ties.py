"""What a reduced precision may choose otherwise: of scores that lie within its bound of each other, either.

In fp16 and bf16 two candidates of nearly the same score change places on every checkpoint. That is no fault; to choose one that
lies farther behind is. A generation is compared up to the first such choice, since what follows continues another text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from .parity import Tolerance, compare_rows
from .verdict import Comparison

TIE = 4.0
"""Scores tie when they lie within this many times the bound on a number of their size (root mean square): both may be off, and
one number by more than the whole on average."""

Row = Mapping[str, Tensor]


def compare_tied_rows(
    reference: Sequence[Row], other: Sequence[Row], tolerance: Tolerance, against: str
) -> list[Comparison]:
    """As :func:`~.parity.compare_rows`; where scores may tie, generated rows up to their first choice of another token."""
    if not tolerance.ties:
        return compare_rows(reference, other, tolerance, against)
    choices: list[Comparison] = []
    pairs = []
    for expected, actual in zip(reference, other, strict=True):
        step = parting(expected, actual)
        if step is not None:
            choices.append(choice(expected, actual, step, tolerance, against))
            expected, actual = up_to(expected, step), up_to(actual, step)
        pairs.append((expected, actual))
    return choices + compare_rows([pair[0] for pair in pairs], [pair[1] for pair in pairs], tolerance, against)


def parting(reference: Row, other: Row) -> int | None:
    """The first step at which two generations chose another token; ``None`` where they did not, or are none."""
    if not all({"tokens", "logits"} <= row.keys() for row in (reference, other)):
        return None
    if reference["tokens"].shape != other["tokens"].shape:
        return None
    apart = (reference["tokens"] != other["tokens"]).nonzero()
    return int(apart[0, 0]) if len(apart) else None


def choice(reference: Row, other: Row, step: int, tolerance: Tolerance, against: str) -> Comparison:
    """Whether the token chosen at ``step`` ties with the one of the reference, by the scores of the reference."""
    wanted, chosen = (int(row["tokens"][step]) for row in (reference, other))
    scores = reference["logits"][step].double()
    finite = scores[scores.isfinite()]
    room = TIE * tolerance.relative_l2 * float(finite.square().mean().sqrt())
    lead = float(scores[wanted] - scores[chosen])
    note = f"step {step}: {chosen} in the place of {wanted}, which leads by {lead:.2e}; up to {room:.2e} is a tie"
    return Comparison(against=against, output="tokens", ok=lead <= room, note=note)


def up_to(row: Row, step: int) -> dict[str, Tensor]:
    """A generated row up to ``step``: the scores from which that token was chosen, and the tokens before it."""
    return {**row, "tokens": row["tokens"][:step], "logits": row["logits"][: step + 1]}


def excused(decoded: Comparison, raw: Sequence[Comparison], tolerance: Tolerance) -> Comparison:
    """A decoded answer that differs while every raw number is within the bound is another choice of what ties."""
    if decoded.ok or not tolerance.ties or not all(comparison.ok for comparison in raw):
        return decoded
    return replace(decoded, ok=True, note=f"another choice of what ties: {decoded.note}")
