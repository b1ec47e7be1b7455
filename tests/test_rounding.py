"""A case may depart three times as far as rounding takes torch itself, and no farther."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import job

from pytest_ipfs_accelerate import runner
from pytest_ipfs_accelerate.comparing import against_reference
from pytest_ipfs_accelerate.hardware.one_precision import OnePrecision
from pytest_ipfs_accelerate.parity import BY_PRECISION, TOLERANCES
from pytest_ipfs_accelerate.rounding import EXPLAINED, MOST, Rounding, allowing_for, in_words
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import Comparison, Outcome, Stage, Verdict

DEPARTS = "torch in fp16 on the CPU departs by"


def run(model: str, task: str, fault: str, precision: str = "") -> Verdict:
    return run_case(replace(job(model, task, "cpu", fault), precision=precision), lambda stage: None)


def test_what_torch_rounds_is_no_fault() -> None:
    verdict = run("t5", "feature-extraction", "sabotage:HalfElsewhere")
    assert verdict.outcome is Outcome.PASSED
    departs = verdict.evidence["rounding"][DEPARTS]
    assert departs > BY_PRECISION["fp16"].relative_l2
    assert {comparison.bound for comparison in verdict.comparisons if comparison.bound} == {
        min(3 * departs, MOST["fp16"])
    }


def test_a_fault_is_larger() -> None:
    verdict = run("bert", "feature-extraction", "sabotage:ScaledHalf")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    departs = verdict.evidence["rounding"][DEPARTS]
    assert departs < 2e-3
    assert "bound 5e-03" in verdict.reason
    assert verdict.reason.endswith(f"; {DEPARTS} {departs:.2e}")


def test_fp32_is_held_against_fp64() -> None:
    """The logits of this head are small differences of large numbers: by the kernels of the CPU 5e-6 to 1.2e-5 is lost in the
    reference itself."""
    task = "image-classification:PerceiverForImageClassificationConvProcessing"
    verdict = run("perceiver", task, "sabotage:Jittered")
    assert verdict.outcome is Outcome.PASSED
    departs = verdict.evidence["rounding"]["torch in fp64 on the CPU departs by"]
    assert 3.7e-6 < departs < 5e-5
    verdict = run("bert", "feature-extraction", "sabotage:Jittered")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert verdict.evidence["rounding"]["torch in fp64 on the CPU departs by"] < 2e-6


def test_torch_on_the_cpu_is_no_witness_for_itself() -> None:
    target = "pytest_ipfs_accelerate.hardware.torch_device:Cpu"
    verdict = run("t5", "feature-extraction", target, precision="fp16")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert "rounding" not in verdict.evidence


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_that_mixes_precisions_has_a_witness(dtype: torch.dtype) -> None:
    """dab-detr's products are of positions in fp32 and of weights, fastspeech2_conformer_with_hifigan's convolutions of a sound
    in fp32, and what is written to keeps its own."""
    weight, positions, kept = torch.ones(4, 4, dtype=dtype), torch.ones(2, 4), torch.zeros(2, 4)
    with pytest.raises(RuntimeError, match="dtype"):
        positions @ weight
    with pytest.raises(RuntimeError, match="dtype"):
        kept[torch.tensor([0])] = weight[:1]
    with OnePrecision(dtype):
        product = positions @ weight
        convolved = F.conv1d(torch.ones(1, 4, 2), weight[:, :, None], weight[0])
        kept[torch.tensor([0])] = weight[:1]
        with pytest.raises(RuntimeError, match="shape"):
            positions @ weight[:3]
        assert (positions + weight[:1]).dtype is torch.promote_types(torch.float32, dtype)  # torch's own rule
    assert product.dtype is convolved.dtype is dtype
    assert convolved.tolist() == [[[5] * 2] * 4]
    assert product.tolist() == [[4] * 4] * 2
    assert kept.tolist() == [[1] * 4, [0] * 4]
    assert kept.dtype is torch.float32


def test_nothing_is_asked_of_what_agrees() -> None:
    verdict = run("bert", "feature-extraction", "sabotage:HalfElsewhere")
    assert verdict.outcome is Outcome.PASSED
    assert "rounding" not in verdict.evidence


@pytest.mark.parametrize(
    ("rounding", "bound"),
    [(Rounding("fp16", 1e-2), 3e-2), (Rounding("fp16", 0.3), MOST["fp16"]), (Rounding("fp16", 1e-3), 1e-2)],
)
def test_a_bound_grows_to_its_limit_and_never_shrinks(rounding: Rounding, bound: float) -> None:
    tolerance = allowing_for(rounding, TOLERANCES["qualcomm", "fp16"])
    assert tolerance.relative_l2 == bound
    assert tolerance.ties


def test_what_torch_cannot_compute_widens_nothing() -> None:
    rounding = Rounding("fp16", refused="RuntimeError: no such kernel")
    assert allowing_for(rounding, BY_PRECISION["fp16"]) == BY_PRECISION["fp16"]
    assert rounding.evidence() == {"torch in fp16 on the CPU": "cannot: RuntimeError: no such kernel"}
    assert in_words(rounding, []) == "torch in fp16 on the CPU cannot: RuntimeError: no such kernel"


def wrong(*errors: float | None) -> list[Comparison]:
    return [Comparison(output="y", against="reference, unpadded", ok=False, relative_l2=error) for error in errors]


@pytest.mark.parametrize(
    ("departs", "errors", "explained"),
    [
        (0.3, (0.3, None, 0.89), True),
        (0.3, (0.3, 0.91), False),  # more than rounding does
        (0.04, (0.06,), False),  # a wider bound would have let it through: it is more than three times as far
        (0.0, (1e3,), False),
    ],
)
def test_a_failure_is_explained_where_torch_departs_as_far(
    departs: float, errors: tuple[float | None, ...], explained: bool
) -> None:
    words = in_words(Rounding("fp16", departs), wrong(*errors))
    assert words == (f"{EXPLAINED} in fp16 on the CPU, by {departs:.2e}" if explained else f"{DEPARTS} {departs:.2e}")


def test_what_torch_computes_beyond_fp16_widens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pytest_ipfs_accelerate.rounding.faults_of", lambda outputs: ["y holds 1 non-finite of 4 numbers"]
    )
    verdict = run("t5", "feature-extraction", "sabotage:HalfElsewhere")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert verdict.reason.endswith("; torch in fp16 on the CPU cannot: y holds 1 non-finite of 4 numbers")


def test_what_follows_another_token_is_no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The witness is compared up to its first choice of another token, in fp32, too; the case itself is compared whole."""
    ties: list[bool] = []

    def recorded(*arguments: Any) -> Any:
        ties.append(arguments[-1].ties)
        return against_reference(*arguments)

    monkeypatch.setattr(runner, "against_reference", recorded)
    run("bert", "feature-extraction", "sabotage:Jittered")
    forms = 4  # unpadded, altered, padded, other: the batch is reached by the witness alone
    assert ties == [False] * forms + [True] * (forms + 1) + [False] * forms


def test_a_case_that_agrees_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def recorded(name: str, *arguments: Any) -> Any:
        names.append(name)
        return against_reference(name, *arguments)

    monkeypatch.setattr(runner, "against_reference", recorded)
    assert run("bert", "feature-extraction", "sabotage:HalfElsewhere").outcome is Outcome.PASSED
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("error", [5e-7, 0.0])
def test_what_is_right_by_its_absolute_bound_has_no_relative_error(
    monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    """As of gpt2's two logits of a text: that torch departs from them by nothing is a number that nobody found."""

    def near(*arguments: Any) -> list[Comparison]:
        held = against_reference(*arguments)
        if not arguments[-1].ties:
            return [replace(each, ok=False, relative_l2=2e-5, max_abs=2e-6) for each in held]
        return [replace(each, relative_l2=10 * error, max_abs=error, absolute_bound=1e-6) for each in held]

    monkeypatch.setattr(runner, "against_reference", near)
    verdict = run("bert", "feature-extraction", "sabotage:Jittered")
    departs = "less than the absolute bound" if error else "0.00e+00"
    assert verdict.reason.endswith(f"; torch in fp64 on the CPU departs by {departs}")
