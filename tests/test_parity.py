from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_ipfs_accelerate.parity import (
    TOLERANCES,
    Tolerance,
    compare,
    compare_decoded,
    compare_outputs,
    faults_of,
    relative_l2,
    tolerance_of,
)

TOLERANCE = Tolerance(relative_l2=1e-5, max_abs=1e-6, source="a test")


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_relative_l2_is_the_scale_of_the_error(values: list[float], factor: float) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    if tensor.norm() > 1e-6:
        assert relative_l2(tensor, tensor * (1 + factor)) == pytest.approx(factor, rel=1e-6)


def test_zero_reference() -> None:
    zero = torch.zeros(3)
    assert relative_l2(zero, zero) == 0
    assert relative_l2(zero, torch.ones(3)) == float("inf")


@pytest.mark.parametrize("key", TOLERANCES, ids="-".join)
def test_two_percent_is_a_fault_in_every_precision_but_integers(key: tuple[str, str]) -> None:
    fault = {"a16w8": 1.05, "a8w8": 1.2, "int8": 1.2}.get(
        key[1], 1.02
    )  # integers of 8 and 16 bits see larger ones alone
    reference = torch.randn(64, generator=torch.Generator().manual_seed(0))
    comparison = compare("logits", reference, reference * fault, TOLERANCES[key], "reference")
    assert not comparison.ok
    assert TOLERANCES[key].source


LOWEST = torch.finfo(torch.float32).min


@pytest.mark.parametrize("mask", [LOWEST, -6e4, float("-inf")])
def test_a_mask_hides_no_fault(mask: float) -> None:
    """The lowest number of fp32 beside numbers of order one is all that a norm sees."""
    reference, other = torch.tensor([LOWEST, 1.0, -2.0, 0.5]), torch.tensor([mask, 1.0, -2.0, 0.5])
    right = compare("logits", reference, other, TOLERANCE, "reference")
    assert right.ok
    assert right.relative_l2 == 0
    wrong = compare("logits", reference, other * torch.tensor([1, 1.1, 1.1, 1.1]), TOLERANCE, "reference")
    assert not wrong.ok
    assert wrong.relative_l2 == pytest.approx(0.1, rel=1e-3)
    assert wrong.cosine == pytest.approx(1)


@pytest.mark.parametrize(("one", "two"), [(LOWEST, -3.0), (-3.0, LOWEST), (-7e4, -6e4), (-7e4, LOWEST), (LOWEST, -1e5)])
def test_a_mask_on_one_side_alone_is_a_difference(one: float, two: float) -> None:
    assert not compare("logits", torch.tensor([one, 1.0]), torch.tensor([two, 1.0]), TOLERANCE, "reference").ok


@pytest.mark.parametrize("mask", [LOWEST, -65504.0])
def test_a_mask_in_an_answer_hides_no_fault_either(mask: float) -> None:
    reference = [[1.0, 2.0, LOWEST, 3.0]]
    assert compare_decoded(reference, [[1.0, 2.0, mask, 3.0]], TOLERANCE, "reference").ok
    assert not compare_decoded(reference, [[9.0, -2.0, mask, 0.0]], TOLERANCE, "reference").ok
    assert not compare_decoded(reference, [[1.0, 2.0, -3.0, 3.0]], TOLERANCE, "reference").ok


def test_rounding_passes_and_its_numbers_are_kept() -> None:
    reference = torch.linspace(-4, 4, 64)
    comparison = compare("logits", reference, reference * (1 + 5e-7), TOLERANCE, "reference")
    assert comparison.ok
    assert comparison.relative_l2 == pytest.approx(5e-7, rel=0.3)
    assert comparison.bound == TOLERANCE.relative_l2
    assert comparison.cosine == pytest.approx(1)


@pytest.mark.parametrize(
    ("reference", "other", "words"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), "shape"),
        (torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4]), "1 of 3 differ"),
        (torch.ones(3), torch.tensor([1.0, float("nan"), 1.0]), "relative L2 is nan"),
        (torch.zeros(3), torch.ones(3), "relative L2 is inf"),
        (torch.ones(3), torch.ones(3, dtype=torch.long), "torch.int64, expected torch.float32"),
    ],
)
def test_what_cannot_be_the_same_is_not(reference: torch.Tensor, other: torch.Tensor, words: str) -> None:
    comparison = compare("logits", reference, other, TOLERANCE, "reference")
    assert not comparison.ok
    assert words in str(comparison)


def test_an_output_on_one_side_alone_is_a_difference() -> None:
    left, right = {"logits": torch.ones(2), "extra": torch.ones(2)}, {"logits": torch.ones(2), "other": torch.ones(2)}
    found = {comparison.output: comparison for comparison in compare_outputs(left, right, TOLERANCE, "reference")}
    assert found["logits"].ok
    assert (found["extra"].note, found["other"].note) == ("missing", "unexpected")
    assert not found["extra"].ok
    assert not found["other"].ok


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        ([{"label": "cat", "score": 0.5}], [{"label": "dog", "score": 0.5}]),
        ([{"label": "cat", "score": 0.5}], [{"label": "cat", "score": 0.51}]),
        ([{"label": "cat"}], [{"label": "cat", "score": 0.5}]),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]]),
        ([np.zeros((2, 2))], [np.ones((2, 2))]),
        (["a text"], ["a test"]),
        ([True], [False]),
    ],
)
def test_decoded_answers_that_differ(reference: list[object], other: list[object]) -> None:
    assert compare_decoded(reference, reference, TOLERANCE, "reference").ok
    comparison = compare_decoded(reference, other, TOLERANCE, "reference")
    assert not comparison.ok
    assert "answer" in comparison.note


def test_outputs_that_say_nothing() -> None:
    fine = torch.tensor([0.5, 1.0])
    assert faults_of({"logits": fine, "tokens": torch.zeros(4, dtype=torch.long)}) == []
    assert "constant" in faults_of({"logits": torch.full((4,), 0.25)})[0]
    assert "zero" in faults_of({"score": torch.zeros(1)})[0]
    assert "non-finite" in faults_of({"logits": torch.tensor([1.0, float("inf")])})[0]


def test_a_hardware_of_ones_own_has_the_tolerance_of_its_precision() -> None:
    assert tolerance_of("loopback", "fp32").relative_l2 == 1e-5
    with pytest.raises(KeyError):
        tolerance_of("loopback", "int3")
