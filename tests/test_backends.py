"""Every task of the four models on both runtimes: whole, they pass; broken on their own side, they fail where it shows.

Each test exports its program once and uses it for all that it checks.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
import sabotage
import torch
from cases import SAMPLE, job, recipe, task_on

from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.skillset.classes import open_handler
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

RUNTIMES = {"onnxruntime": "OnnxRuntime", "openvino": "OpenVino"}


def run(model: str, task: str, hardware: str, fault: str) -> Verdict:
    return run_case(job(model, task, hardware, f"sabotage:{fault}{RUNTIMES[hardware]}"), lambda stage: None)


class Guarded(torch.Tensor):
    """A tensor on which nothing can be set, as ``device`` and ``shape`` cannot on any."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} was set on a tensor")


def guarded(tensors: Any) -> dict[str, Any]:
    return {name: tensor.as_subclass(Guarded) for name, tensor in tensors.items()}


class GuardedEndpoint:
    """An endpoint whose outputs are guarded, whatever it computes them on."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    def forward(self, inputs: Any) -> Any:
        return guarded(self._endpoint.forward(inputs))

    def generate(self, inputs: Any) -> Any:
        return guarded(self._endpoint.generate(inputs))


def test_the_guard_guards() -> None:
    with pytest.raises(AttributeError, match="set on a tensor"):
        guarded({"logits": torch.ones(2)})["logits"].implementation_type = "REAL"


def handle_guarded(model: str, task: str, hardware: str) -> None:
    handler = open_handler(job(model, task, hardware))
    handler.endpoint = GuardedEndpoint(handler.endpoint)  # type: ignore[assignment]
    natural = list(handler.task.samples())
    result = handler.handle(natural, guarded(handler.task.encode(natural)))
    assert len(result.decoded) == 2
    assert result.hardware == hardware


@pytest.mark.parametrize(("model", "task"), SAMPLE)
def test_no_handler_sets_anything_on_a_tensor_on_the_cpu(model: str, task: str) -> None:
    handle_guarded(model, task, "cpu")


@pytest.mark.parametrize(("model", "task"), SAMPLE)
def test_whole_backends_pass_and_broken_ones_fail(model: str, task: str) -> None:
    masked = task_on(recipe(model, task), task).padding_length is not None
    for hardware in RUNTIMES:
        whole = run_case(job(model, task, hardware), lambda stage: None)
        assert whole.outcome is Outcome.PASSED, whole
        scaled = run(model, task, hardware, "Scaled")
        assert (scaled.outcome, scaled.stage) == (Outcome.FAILED, Stage.PARITY), scaled.reason
        maskless = run(model, task, hardware, "Maskless")
        expected = (Outcome.FAILED, Stage.PARITY) if masked else (Outcome.PASSED, Stage.BATCH)
        assert (maskless.outcome, maskless.stage) == expected, maskless.reason
        handle_guarded(model, task, hardware)


@pytest.mark.parametrize(
    ("model", "task"), [("bert", "fill-mask"), ("vit", "image-classification"), ("llava", "pretraining")]
)
def test_each_fault_is_named_at_its_stage(model: str, task: str) -> None:
    faults = {
        "Constant": (Stage.RUN, "is constant"),
        "NotFinite": (Stage.RUN, "non-finite"),
        "Frozen": (Stage.PARITY, "altered"),
        "RowMixing": (Stage.BATCH, "of a batch of two departs"),
    }
    for hardware in RUNTIMES:
        for fault, (stage, words) in faults.items():
            verdict = run(model, task, hardware, fault)
            assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
            assert words in verdict.reason


def test_optimisations_that_change_the_answer_are_found() -> None:
    verdict = run_case(job("bert", "fill-mask", "onnxruntime", "sabotage:WrongTwin"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert "departs with optimisations off" in verdict.reason
    assert "logits (optimisations off, unpadded)" in verdict.reason


def test_the_case_after_one_that_ran_out_of_memory_starts_clean() -> None:
    verdict = run_case(job("bert", "fill-mask", "cuda", "sabotage:Greedy"), lambda stage: None)
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.RUN, "OutOfMemoryError")
    assert "Tried to allocate 80.00 GiB" in verdict.reason
    gc.collect()
    assert sabotage.Greedy.held is not None
    assert sabotage.Greedy.held() is None, "what the case held is gone"
    assert run_case(job("bert", "fill-mask", "cuda", "sabotage:OnCpu"), lambda stage: None).ok


@pytest.mark.parametrize(
    ("hardware", "fault", "words"),
    [
        ("onnxruntime", "FallenBackOnnxRuntime", "all of them belong on CUDAExecutionProvider"),
        ("onnxruntime", "HalvedOnnxRuntime", "fp32 was asked for; the graphs hold fp16"),
        ("openvino", "FallenBackOpenVino", "executed on ['CPU'], not on GPU"),
        ("openvino", "DeafToPrecisionOpenVino", "f16 was asked for; the hint reads back f32"),
        ("cuda", "FallenBackTorch", "asked for meta, found tensors on ['cpu']"),
        ("apple", "FallenBackTorch", "asked for meta, found tensors on ['cpu']"),
    ],
)
def test_another_device_or_precision_than_was_asked_for(hardware: str, fault: str, words: str) -> None:
    verdict = run_case(job("bert", "fill-mask", hardware, f"sabotage:{fault}"), lambda stage: None)
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.RUN, "NotOnHardware")
    assert words in verdict.reason


def test_the_twin_of_a_task_whose_outputs_are_no_rows_is_compared() -> None:
    verdict = run_case(job("jev", "decision", "onnxruntime"), lambda stage: None)
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    assert [c for c in verdict.comparisons if c.against == "optimisations off, unpadded"]
