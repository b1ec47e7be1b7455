"""A reference that is not worth comparing with fails before any hardware is asked."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from cases import job, recipe, task_on

from pytest_ipfs_accelerate import comparing, runner
from pytest_ipfs_accelerate.bench import Bench, Fault, Recent, checkpoint_key, forms_of, program_key, reference_of
from pytest_ipfs_accelerate.hardware.torch_device import Cpu, cast
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import load, open_task
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.tasks.base import Task
from pytest_ipfs_accelerate.verdict import Outcome, Stage

CASE = Case("bert", "fill-mask", "cpu")
CALLS = count()


def broken(change: Callable[[Any, dict[str, Any]], Any], model: str = "bert", name: str = "fill-mask") -> Task:
    """A task whose model's forward is changed."""
    task = task_on(recipe(model, name), name)
    forward = type(task.checkpoint.model).forward

    class Changed(type(task.checkpoint.model)):  # type: ignore[misc]
        def forward(self, **inputs: Any) -> Any:
            return change(lambda **given: forward(self, **given), inputs)

    Changed.forward.__wrapped__ = forward  # type: ignore[attr-defined]
    task.checkpoint.model.__class__ = Changed
    return task


def plus(amount: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, dict[str, Any]], Any]:
    def change(forward: Any, inputs: dict[str, Any]) -> Any:
        outputs = forward(**inputs)
        outputs["logits"] = amount(outputs["logits"])
        return outputs

    return change


def blind(*names: str) -> Callable[[Any, dict[str, Any]], Any]:
    """A model that does not look at some of its inputs."""
    return lambda forward, inputs: forward(**inputs | {name: torch.zeros_like(inputs[name]) for name in names})


def reference(task: Task, case: Case = CASE) -> Any:
    return reference_of(case, task, forms_of(task))


def test_a_whole_reference_says_how_it_responds() -> None:
    evidence = reference(task_on(recipe("bert", "fill-mask"), "fill-mask")).evidence
    assert evidence["sensitivity"]["input_ids"] > 0.1
    assert evidence["padding"] == "moves nothing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (plus(lambda logits: logits * torch.nan), "non-finite"),
        (plus(lambda logits: logits * 0 + 1), "constant"),
        (plus(lambda logits: logits + next(CALLS)), "other numbers"),
        (plus(lambda logits: logits + 0.01 * logits.shape[1]), "padding moves the reference"),
        (blind("input_ids"), "does not depend on input_ids"),
        (blind("attention_mask"), ""),
    ],
    ids=["nan", "constant", "state", "padding", "blind", "mask"],
)
def test_what_a_reference_may_not_do(change: Callable[[Any, dict[str, Any]], Any], words: str) -> None:
    if not words:
        # All zeros masks everything alike: padding is attended to as much as the text.
        change, words = (
            (lambda forward, inputs: forward(**inputs | {"attention_mask": None})),
            "padding moves the reference",
        )
    with pytest.raises(Fault, match=words):
        reference(broken(change))


def test_random_numbers_are_the_same_ones_each_time() -> None:
    noisy = broken(plus(lambda logits: logits + 1e-9 * torch.randn(())))
    before = torch.get_rng_state()
    assert reference(noisy).evidence["padding"] == "moves nothing"
    assert torch.equal(torch.get_rng_state(), before)  # and a user's own draws are left alone


def test_a_vision_language_model_that_ignores_its_picture_fails() -> None:
    task = broken(blind("pixel_values"), "llava", "pretraining")
    with pytest.raises(Fault, match="does not depend on pixel_values"):
        reference(task, Case("llava", "pretraining", "cpu"))


def test_the_verdict_of_such_a_case_names_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    task = broken(plus(lambda logits: logits * 0 + 1))
    bench = Bench()
    monkeypatch.setattr(bench, "checkpoint", lambda recipe: task.checkpoint)
    monkeypatch.setattr(runner, "shared_bench", lambda: bench)
    verdict = run_case(job("bert", "fill-mask", "onnxruntime"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.REFERENCE)
    assert "constant" in verdict.reason
    assert "export" not in verdict.seconds


def test_stages_are_announced_in_order_and_timed() -> None:
    entered: list[Stage] = []
    verdict = run_case(job("vit", "image-classification", "cpu"), entered.append)
    assert verdict.outcome is Outcome.PASSED
    assert entered == [stage for stage in Stage if stage not in (Stage.SELECT, Stage.EXPORT, Stage.MEASURE)]
    assert [*verdict.seconds] == entered
    assert {"torch", "transformers"} <= verdict.versions.keys()


def test_an_exception_in_a_stage_is_a_verdict_at_that_stage() -> None:
    broken_job = job("vit", "image-classification", "cpu", "pytest_ipfs_accelerate.hardware.torch_device:Nothing")
    verdict = run_case(broken_job, lambda stage: None)
    assert verdict.outcome is Outcome.FAILED
    assert "Nothing" in verdict.reason
    assert "Traceback" in verdict.detail


def test_forms_cover_padding_and_same_shape() -> None:
    task = task_on(recipe("bert", "question-answering"), "question-answering")
    forms = forms_of(task)
    assert [*forms] == ["unpadded", "altered", "padded", "other", "batch"]
    shape = {name: form.encoded["input_ids"].shape for name, form in forms.items()}
    assert shape["altered"] == shape["unpadded"] != shape["padded"]
    assert (forms["padded"].encoded["attention_mask"] == 0).any()
    assert (forms["unpadded"].encoded["attention_mask"] == 1).all()
    assert (forms["batch"].encoded["attention_mask"] == 0).any()
    assert not torch.equal(forms["altered"].encoded["input_ids"], forms["unpadded"].encoded["input_ids"])


def test_padding_that_shifts_is_said_with_its_reason() -> None:
    task = task_on(recipe("whisper", "text-generation"), "text-generation")
    evidence = reference(task, Case("whisper", "text-generation", "cpu")).evidence
    assert "counts positions from the first token" in evidence["padding"]


def test_shared_work_is_keyed_by_what_it_depends_on() -> None:
    first, second = recipe("llava", "image-text-to-text"), recipe("llava", "any-to-any")
    encoded = task_on(first, "image-text-to-text").encode([task_on(first, "image-text-to-text").samples()[0]])
    varying = dict.fromkeys(encoded, (0, 1))
    key = program_key(first, encoded, generates=True, varying=varying)
    assert program_key(second, encoded, generates=True, varying=varying) == key
    assert program_key(first, encoded, generates=False, varying=varying) != key
    fewer = {name: tensor for name, tensor in encoded.items() if name != "attention_mask"}
    assert program_key(first, fewer, generates=True, varying=varying) != key
    longer = {**encoded, "input_ids": encoded["input_ids"].repeat(1, 2)}
    assert program_key(first, longer, generates=True, varying=varying) == key
    larger = {**encoded, "pixel_values": encoded["pixel_values"].repeat(1, 1, 1, 2)}
    assert program_key(first, larger, generates=True, varying=varying) != key
    assert program_key(first, encoded, generates=True, varying={**varying, "input_ids": (0,)}) != key
    assert checkpoint_key(recipe("bert", "fill-mask")) != checkpoint_key(recipe("bert", "pretraining"))


def test_recent_keeps_few_and_says_what_was_there() -> None:
    recent: Recent[str] = Recent(2)
    assert (recent.get("a", lambda: "1"), recent.reused) == ("1", False)
    assert (recent.get("a", lambda: "2"), recent.reused) == ("1", True)
    recent.get("b", lambda: "3")
    recent.get("c", lambda: "4")
    assert (recent.get("a", lambda: "5"), recent.reused) == ("5", False)


def test_the_checkpoint_of_a_hardware_is_its_own() -> None:
    """What a hardware does to its model must not reach the reference."""
    task = task_on(recipe("vit", "image-classification"), "image-classification")
    before = copy.deepcopy(task.checkpoint.model.state_dict())
    endpoint = load("pytest_ipfs_accelerate.hardware.torch_device:Cpu")().lower(task.checkpoint, None)
    with torch.no_grad():
        for parameter in endpoint.model.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in task.checkpoint.model.state_dict().items())


def test_a_mock_is_never_a_pass() -> None:
    verdict = run_case(job("vit", "image-classification", "cpu", "sabotage:Mock"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.RUN)
    assert "a mock is never a pass" in verdict.reason


def test_nothing_compared_is_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "compare_tied_rows", lambda *arguments: [])
    verdict = run_case(job("vit", "image-classification", "cpu"), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert "no raw output to compare" in verdict.reason


@torch.no_grad()
def test_complex_numbers_stay_complex_in_the_reference() -> None:
    """llama4 keeps its rotations as complex numbers, of which ``Module.to(dtype)`` leaves the real part: every hardware that
    was right departed from a reference that was wrong."""
    asked = job("llama4", "image-feature-extraction", "cpu")
    task = open_task(asked, build_checkpoint(asked.recipe))
    encoded, model = task.encode(list(task.samples())), task.checkpoint.model
    plain = model(**encoded).last_hidden_state
    assert torch.equal(Cpu().lower(task.checkpoint, None).forward(encoded)["last_hidden_state"], plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cut = copy.deepcopy(model).to(torch.float32)(**encoded).last_hidden_state
    assert not torch.allclose(
        cut, plain, atol=1e-2
    )  # where this fails, torch keeps them: nothing has to be done about it
    half = cast(copy.deepcopy(model), torch.bfloat16)
    assert half.rotary_embedding.freqs_ci.dtype is torch.complex64
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
