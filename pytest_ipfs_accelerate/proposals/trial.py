"""Proposals tried on the CPU with every strict check, so that what is pinned is known to work."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, replace

import torch

from ..builtin import HARDWARE, TASKS
from ..matrix import Case
from ..runner import Enter, run_case, versions
from ..specs import Job, Recipe
from ..verdict import Outcome, Stage, Verdict
from .exceptions import exception_of
from .heads import Head, heads
from .propose import CUTS, candidates
from .shrink import Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is proposed for one head, and how the trial of it ended; without a recipe where none could be made at all."""

    head: Head
    recipe: Recipe | None
    verdict: Verdict


def propose(head: Head) -> Proposal:
    """The first recipe for a head that passes on the CPU, else the one that came furthest."""
    best: Proposal | None = None
    for cut in (Cut(only),) if (only := exception_of(head).get("divisor")) else CUTS:
        found = _propose(head, cut)
        if found.verdict.outcome is Outcome.PASSED:
            return found
        best = found if best is None else max(best, found, key=_reached)
        if found.verdict.exception == "Fault":
            break  # it ran: other widths change nothing about what it computes
    assert best is not None
    return best


def _reached(proposal: Proposal) -> tuple[bool, int, bool]:
    """How far a proposal came: a check that failed says more than an exception, and a later stage more than an earlier one."""
    return proposal.verdict.exception == "Fault", _stage(proposal), proposal.recipe is not None


def _propose(head: Head, cut: Cut) -> Proposal:
    best: Proposal | None = None
    broken: tuple[object, object] | None = None
    refused: Proposal | None = None
    try:
        for recipe in candidates(head, cut):
            if broken == (recipe.processor, recipe.inputs):
                continue  # an exception does not go away with other weights
            if refused is not None and recipe.processor is None:
                recipe = replace(recipe, inputs={**recipe.inputs, "why": _why_not(refused)})
            verdict = run_case(_job(head, recipe), lambda stage: None)
            found = Proposal(head=head, recipe=recipe, verdict=verdict)
            if verdict.outcome is Outcome.PASSED:
                return found
            if recipe.processor is not None:
                refused = found if refused is None else max(refused, found, key=_stage)
            broken = (recipe.processor, recipe.inputs) if verdict.detail else None
            best = found if best is None else max(best, found, key=_reached)
    except Exception as error:
        best = best or Proposal(head=head, recipe=None, verdict=_unproposed(head, error))
    assert best is not None
    return best


def _stage(proposal: Proposal) -> int:
    stage = proposal.verdict.stage
    return list(Stage).index(stage) if stage else 0


_NUMBERS = re.compile(r" \(.*|:? (relative L2|max abs|cosine) .*")


def _why_not(proposal: Proposal) -> str:
    """Why a head goes without the processor that came furthest: in one line that a row can hold, and without the numbers, which
    change with the weights."""
    assert proposal.recipe is not None
    assert proposal.recipe.processor is not None
    reason = _NUMBERS.sub("", proposal.verdict.reason.splitlines()[0])
    return f"{proposal.recipe.processor['class']}: {reason if len(reason) <= 120 else f'{reason[:117]}...'}"


def _job(head: Head, recipe: Recipe) -> Job:
    return Job(
        case=Case(head.model, head.key, "cpu"),
        recipe=recipe,
        hardware=HARDWARE["cpu"].target,
        task=TASKS[head.task].target,
        threads=torch.get_num_threads(),
    )


def _unproposed(head: Head, error: Exception) -> Verdict:
    lines = str(error).strip().splitlines()
    trace = "".join(traceback.format_exception(error))
    return Verdict(
        model=head.model,
        task=head.key,
        hardware="cpu",
        outcome=Outcome.FAILED,
        stage=Stage.BUILD,
        reason=f"no recipe: {type(error).__name__}: {lines[-1].strip() if lines else ''}",
        exception=type(error).__name__,
        detail=trace,
        versions=versions(),
    )


_LIBRARY = re.compile(r"requires the (\S+) library|pip install ([\w-]+)")


def missing_library(verdict: Verdict) -> str:
    """The library that a case fails for want of; empty where that is not why."""
    found = _LIBRARY.search(verdict.reason) or _LIBRARY.search(verdict.detail)
    is_import = verdict.exception in ("ImportError", "ModuleNotFoundError")
    return next(filter(None, found.groups())) if is_import and found else ""


def run_proposed(job: Job, enter: Enter) -> Verdict:
    """Run a case whose model type has no row in the registry: on the first recipe that the rules propose and that passes on the
    CPU. The verdict says so."""
    enter(Stage.BUILD)
    head = next(head for head in heads()[job.case.model] if head.key == job.case.task)
    proposal = propose(head)
    marked = {"proposed": job.recipe.proposed}
    if proposal.recipe is None or (proposal.verdict.outcome is not Outcome.PASSED and job.case.hardware == "cpu"):
        verdict = replace(proposal.verdict, hardware=job.case.hardware)
    else:
        recipe = replace(proposal.recipe, checkpoint=job.recipe.checkpoint)
        verdict = run_case(replace(job, recipe=recipe), enter)
    return replace(verdict, evidence={**verdict.evidence, **marked})
