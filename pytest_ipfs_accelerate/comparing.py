"""Two results of the same form held against each other."""

from __future__ import annotations

from .bench import Form
from .parity import Tolerance, compare_decoded, compare_outputs
from .results import HandlerResult
from .tasks.base import Task
from .ties import compare_tied_rows, excused
from .verdict import Comparison


def raw_comparisons(
    task: Task, form: Form, expected: HandlerResult, actual: HandlerResult, tolerance: Tolerance, against: str
) -> list[Comparison]:
    """The raw outputs of two results of the same form: row by row, and those that belong to no row."""
    sides = (expected.outputs, actual.outputs)
    rows = [task.rows(outputs, form.encoded) for outputs in sides]
    loose = [{key: outputs[key] for key in task.unassigned(outputs, form.encoded)} for outputs in sides]
    return [
        *compare_tied_rows(rows[0], rows[1], tolerance, against),
        *compare_outputs(loose[0], loose[1], tolerance, against),
    ]


def against_reference(
    name: str, task: Task, form: Form, expected: HandlerResult, actual: HandlerResult, tolerance: Tolerance
) -> list[Comparison]:
    """One form of the samples: raw outputs row by row, those that belong to no row, and the decoded answers."""
    against = f"reference, {name}"
    raw = raw_comparisons(task, form, expected, actual, tolerance, against)
    decoded = compare_decoded(expected.decoded, actual.decoded, tolerance, against, task.differences)
    return [*raw, excused(decoded, raw, tolerance)]
