"""What the user sees at the end: model types by hardware, tasks passed of tasks run, and each reason once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..matrix import Case
from ..plan import Plan
from ..verdict import Implementation, Outcome, Verdict
from ..words import plural
from .tally import Tally

HEADS = 6
"""How many newly initialised heads are named."""

RAN = tuple(outcome for outcome in Outcome if outcome is not Outcome.UNAVAILABLE)


def table(rows: list[list[str]]) -> list[str]:
    """Rows of cells as aligned lines, the first one the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def matrix_lines(tally: Tally) -> list[str]:
    """The matrix: a row a model type, a column a hardware, ``passed/run`` in each cell, ``-`` where nothing ran, and how
    many are fake, where some are."""
    verdicts = tally.in_order()
    models = list(dict.fromkeys(verdict.model for verdict in verdicts))
    hardware = list(dict.fromkeys(verdict.hardware for verdict in verdicts))
    cells: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        cells.setdefault((verdict.model, verdict.hardware), []).append(verdict)
    rows = [["model", *hardware]]
    rows += [[model, *(_cell(cells.get((model, name), [])) for name in hardware)] for model in models]
    if len(models) > 1:
        rows.append(["total", *(_cell([v for v in verdicts if v.hardware == name]) for name in hardware)])
    return table(rows)


def _cell(verdicts: list[Verdict]) -> str:
    ran = [verdict for verdict in verdicts if verdict.outcome in RAN]
    if not ran:
        return "-"
    fake = sum(verdict.outcome is Outcome.FAKE for verdict in ran)
    passed = f"{sum(verdict.outcome is Outcome.PASSED for verdict in ran)}/{len(ran)}"
    return f"{passed} {fake} {Outcome.FAKE}" if fake else passed


def note_lines(tally: Tally) -> list[str]:
    """What a reader of the matrix must know: outcomes other than a pass, what was not real, and what did not run."""
    verdicts = tally.in_order()
    lines = []
    outcomes = Counter(v.outcome for v in verdicts if v.outcome not in (Outcome.PASSED, Outcome.UNAVAILABLE))
    lines += [f"{outcome}: {plural(count, 'case')}" for outcome, count in outcomes.items()]
    unreal = Counter(
        (v.hardware, v.implementation, v.device)
        for v in verdicts
        if v.outcome in RAN and v.implementation not in (None, Implementation.REAL)
    )
    lines += [
        f"{name}: {kind}, not the real device{f': {device}' if device else ''} ({plural(n, 'case')})"
        for (name, kind, device), n in unreal.items()
    ]
    lines += fallback_lines(verdicts)
    lines += head_lines(verdicts)
    reasons = Counter(v.reason for v in verdicts if v.outcome is Outcome.UNAVAILABLE)
    lines += [f"unavailable, {plural(count, 'case')}: {reason}" for reason, count in reasons.items()]
    missing = Counter(tally.not_run.values())
    lines += [f"{reason}: {plural(count, 'case')}" for reason, count in missing.items()]
    return lines


def fallback_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """By hardware: what of the cases ran elsewhere, where the user allowed it, under the words of the evidence."""
    found: dict[str, Counter[str]] = {}
    cases: Counter[str] = Counter()
    for verdict in verdicts:
        if counts := verdict.evidence.get("backend", {}).get("fallback"):
            found.setdefault(verdict.hardware, Counter()).update(counts)
            cases[verdict.hardware] += 1
    return [
        f"{name}: fallback allowed, in {plural(cases[name], 'case')}: "
        + ", ".join(f"{count} {what}" for what, count in counts.items())
        for name, counts in found.items()
    ]


def head_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """Which cases ran on weights that their real checkpoint lacks: what such a head answers is not what anybody trained."""
    found = [v for v in verdicts if v.evidence.get("checkpoint", {}).get("newly initialised")]
    if not found:
        return []
    heads = list(dict.fromkeys(f"{v.model}::{v.task}" for v in found))
    more = f" and {len(heads) - HEADS} more" if len(heads) > HEADS else ""
    return [
        f"{plural(len(found), 'case')} ran on newly initialised heads, which the checkpoint lacks: "
        f"{', '.join(heads[:HEADS])}{more}"
    ]


def header_lines(plan: Plan, cases: Mapping[str, list[Case]]) -> list[str]:
    """What pytest prints above the run."""
    count = sum(map(len, cases.values()))
    hardware = list(dict.fromkeys(case.hardware for some in cases.values() for case in some))
    where = f" on {', '.join(hardware)}" if hardware else ": the options leave nothing"
    return [
        f"ipfs: {plural(count, 'case')} of {plural(len(cases), 'model type')}{where}",
        *checkpoint_lines(plan, cases),
        *absent_lines(plan),
        *other_lines(plan),
    ]


def checkpoint_lines(plan: Plan, cases: Iterable[str]) -> list[str]:
    """Which real checkpoints the model types of a run were given."""
    rest = {"cache": "those in the local Hugging Face cache", "hub": "the Hub"}.get(plan.settings.weights, "")
    given = [f"{model} from {plan.checkpoints[model].place}" for model in cases if model in plan.checkpoints]
    named = [*given, *([f"{'the others ' if given else ''}from {rest}"] if rest else [])]
    return [f"ipfs: real checkpoints: {', '.join(named)}"] if named else []


def other_lines(plan: Plan) -> list[str]:
    """What another transformers than the pinned one changes."""
    lines = []
    if proposed := plan.registry.proposed:
        lines.append(f"ipfs: {next(iter(proposed.values()))}: {len(proposed)} proposed on the spot")
    if plan.lacking:
        models = dict.fromkeys(model for model, _ in plan.lacking)
        lines.append(
            f"ipfs: this transformers lacks {plural(len(plan.lacking), 'row')} of {plural(len(models), 'model type')}"
        )
    return lines


def absent_lines(plan: Plan) -> list[str]:
    """The members of named sets that there is no row or class for, so that they do not vanish."""
    what = "class of the skillset" if plan.skillset else "row in the registry"
    return [f"ipfs: @{name} also names {', '.join(models)}: no {what}" for name, models in plan.absent.items()]


def skill_lines(plan: Plan) -> list[str]:
    """What the search for skill classes could not take in, and the classes that no model type has the name of."""
    if plan.skillset is None:
        return []
    faults = filter(None, map(plan.skillset.fault, plan.skillset.skills))
    return [f"ipfs: {line}" for line in (*plan.skillset.warnings, *faults)]


def listing(plan: Plan) -> Iterable[str]:
    """The selected cases as a table, for ``--ipfs-list``: nothing is run or imported."""
    skillset = plan.skillset
    columns = ["model", "category", "hardware", "available here", "implementation", "tasks"]
    rows = [[*columns, "class"] if skillset else columns]
    for model, cases in plan.selected.items():
        for name in dict.fromkeys(case.hardware for case in cases):
            tasks = [case.task for case in cases if case.hardware == name]
            reason = plan.unavailable(next(case for case in cases if case.hardware == name))
            found = plan.availability(name)
            here = f"no: {reason.removeprefix(f'{name}: ')}" if reason else f"yes: {found.device}"
            kind = "-" if reason else found.implementation.value
            row = [model, plan.category(model) or "-", name, here, kind, ", ".join(tasks)]
            rows.append([*row, skillset.place(model)] if skillset else row)
    yield from table(rows)
    count = sum(map(len, plan.selected.values()))
    yield ""
    yield f"{plural(count, 'case')} of {plural(len(plan.selected), 'model type')}"
    yield from absent_lines(plan)
    yield from skill_lines(plan)
