"""Fault injection: what is broken on the backend's side must fail, at the stage where it shows, in every case."""

from __future__ import annotations

import pytest
from cases import SAMPLE, job, recipe, task_on

from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

RUNTIMES = {"onnxruntime": "OnnxRuntime", "openvino": "OpenVino"}
ALL = [pytest.param(model, task, id=f"{model}-{task}") for model, task in SAMPLE]
FEW = [("bert", "fill-mask"), ("vit", "image-classification"), ("whisper", "automatic-speech-recognition")]


def run(model: str, task: str, hardware: str, fault: str) -> Verdict:
    return run_case(job(model, task, hardware, f"sabotage:{fault}{RUNTIMES[hardware]}"), lambda stage: None)


@pytest.mark.parametrize(("model", "task"), ALL)
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


@pytest.mark.parametrize("hardware", RUNTIMES)
@pytest.mark.parametrize(("model", "task"), FEW)
@pytest.mark.parametrize(
    ("fault", "stage", "words"),
    [
        ("Constant", Stage.RUN, "is constant"),
        ("NotFinite", Stage.RUN, "non-finite"),
        ("Frozen", Stage.PARITY, "departs from the reference"),
        ("RowMixing", Stage.BATCH, "of a batch of two departs"),
    ],
)
def test_each_fault_is_named_at_its_stage(
    hardware: str, model: str, task: str, fault: str, stage: Stage, words: str
) -> None:
    verdict = run(model, task, hardware, fault)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert words in verdict.reason
