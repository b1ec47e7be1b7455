"""In a reduced precision what ties may be chosen either way, and what lies behind may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import job

from pytest_ipfs_accelerate.parity import TOLERANCES, Tolerance
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.specs import Job
from pytest_ipfs_accelerate.ties import compare_tied_rows, excused
from pytest_ipfs_accelerate.verdict import Comparison, Outcome, Stage

BF16 = Tolerance(relative_l2=5e-2, max_abs=1e-2, source="a test", ties=True)


def generated(*scores: list[float]) -> dict[str, torch.Tensor]:
    logits = torch.tensor(scores)
    return {"tokens": logits.argmax(-1), "logits": logits}


FIRST, SECOND = [1.0, 0.98, -1.0], [0.0, 1.0, -1.0]


def test_a_tie_goes_either_way_and_ends_the_comparison() -> None:
    reference, other = generated(FIRST, SECOND), generated([0.98, 1.0, -1.0], [1.0, -1.0, 0.5])
    found = compare_tied_rows([reference], [other], BF16, "reference")
    assert [(comparison.output, comparison.ok) for comparison in found] == [
        ("tokens", True),
        ("tokens", True),
        ("logits", True),
    ]
    assert found[0].note == "step 0: 1 in the place of 0, which leads by 2.00e-02; up to 1.99e-01 is a tie"


def test_what_lies_behind_is_not_chosen() -> None:
    reference, other = generated(FIRST, SECOND), generated(FIRST, [1.0, 0.0, -1.0])
    found = compare_tied_rows([reference], [other], BF16, "reference")
    assert not found[0].ok
    assert found[0].note.startswith("step 1: 0 in the place of 1, which leads by 1.00e+00")
    assert not next(comparison for comparison in found if comparison.output == "logits").ok


def test_scores_that_are_wrong_fail_whatever_they_choose() -> None:
    reference, other = generated(FIRST, SECOND), generated([1.2, 1.18, -1.2], SECOND)
    assert not all(comparison.ok for comparison in compare_tied_rows([reference], [other], BF16, "reference"))


def test_in_full_precision_nothing_ties() -> None:
    reference, other = generated(FIRST), generated([0.98, 1.0, -1.0])
    found = compare_tied_rows([reference], [other], TOLERANCES["cpu", "fp32"], "reference")
    assert not any(comparison.ok for comparison in found)


@pytest.mark.parametrize(("raw", "ties", "ok"), [(True, True, True), (False, True, False), (True, False, False)])
def test_another_answer_needs_raw_numbers_that_agree(raw: bool, ties: bool, ok: bool) -> None:
    decoded = Comparison(against="reference", output="decoded", ok=False, note="'cat', expected 'dog'")
    numbers = Comparison(against="reference", output="logits", ok=raw)
    assert excused(decoded, [numbers], replace(BF16, ties=ties)).ok is ok


def reduced(precision: str, target: str = "") -> Job:
    return replace(job("bert", "text-generation", "cpu", target or None), precision=precision)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_case_in_a_reduced_precision(precision: str) -> None:
    verdict = run_case(reduced(precision), lambda stage: None)
    assert (verdict.outcome, verdict.precision) == (Outcome.PASSED, precision)
    assert max(comparison.relative_l2 or 0 for comparison in verdict.comparisons) > 1e-4


def test_a_fault_shows_in_a_reduced_precision() -> None:
    verdict = run_case(reduced("bf16", "sabotage:ScaledCpu"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)


def test_a_precision_that_was_not_used_is_found() -> None:
    verdict = run_case(reduced("bf16", "sabotage:DeafToPrecision"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.RUN)
    assert verdict.reason == "not on cpu: bf16 was asked for; it computed in fp32"
