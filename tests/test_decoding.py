"""Generation decodes from a cache, its parts are timed apart, and a short prompt is padded on its left: seen, not assumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import job, recipe, task_on

from pytest_ipfs_accelerate.bench import Fault, Form, forms_of
from pytest_ipfs_accelerate.decoding import padding_of
from pytest_ipfs_accelerate.hardware.steps import watched
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

GPT2 = ("gpt2", "text-generation")


def run(model: str, task: str, hardware: str, target: str | None = None) -> Verdict:
    return run_case(job(model, task, hardware, target), lambda stage: None)


class Clock:
    """A clock that moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Decoder(torch.nn.Module):
    """A forward of half a second for each position that it reads."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, input_ids: torch.Tensor, past_key_values: Any = None) -> torch.Tensor:
        self.clock.now += 0.5 * input_ids.shape[1]
        return input_ids


TOKENS = torch.ones(2, 4, dtype=torch.long)


def test_prefill_and_decode_are_timed_apart() -> None:
    clock = Clock()
    decoder = Decoder(clock)
    with watched(decoder, clock=clock) as watch:
        clock.now += 1  # an encoder
        decoder(input_ids=TOKENS)
        for _ in range(3):
            clock.now += 0.25  # the loop
            decoder(TOKENS[:, :1], past_key_values=object())
    found = watch.generation({"tokens": TOKENS})
    assert (found.prefill, found.decode) == (3.0, 2.25)
    evidence = found.evidence()
    assert evidence["tokens per second"] == round(2 * 3 / 2.25, 1)
    assert (evidence["decode steps"], evidence["decode input lengths"], evidence["prompt length"]) == (3, [1], 4)
    assert evidence["decodes from the cache"] is True
    assert evidence["cache"] == "object"
    assert "note" not in evidence
    assert "steps" not in evidence
    decoder(TOKENS)
    assert len(found.steps) == 4, "nothing is watched after it"


def test_the_device_is_waited_for() -> None:
    clock = Clock()

    def settle() -> None:
        clock.now += 10

    decoder = Decoder(clock)
    with watched(decoder, settle, clock) as watch:
        decoder(TOKENS)
    step = watch.generation({"tokens": TOKENS[:, :1]}).steps[0]
    assert (step.began, step.ended) == (10.0, 22.0)


def test_a_model_that_reads_the_whole_text_again_is_said_to() -> None:
    clock = Clock()
    decoder = Decoder(clock)
    with watched(decoder, clock=clock) as watch:
        for length in (4, 5, 6):
            decoder(torch.ones(1, length, dtype=torch.long))
    evidence = watch.generation({"tokens": TOKENS[:1, :3]}).evidence()
    assert evidence["decodes from the cache"] is False
    assert evidence["note"] == "no cache is read: every step computes the whole text again"
    assert evidence["decode input lengths"] == [5, 6]


def test_forwards_that_are_none_of_the_tokens_are_counted() -> None:
    decoder = Decoder(Clock())
    with watched(decoder, clock=decoder.clock) as watch:
        decoder(TOKENS)
    evidence = watch.generation({"tokens": TOKENS}).evidence()
    assert evidence["steps"] == "0 forwards after the first for 4 new tokens"
    with watched(decoder, clock=decoder.clock) as watch:
        pass
    assert "no forward that could be watched" in watch.generation({"tokens": TOKENS}).evidence()["note"]


@pytest.mark.parametrize(
    ("model", "task", "hardware", "cache"),
    [
        (*GPT2, "cpu", "DynamicCache"),
        (*GPT2, "onnxruntime", "DynamicCache"),
        ("whisper", "automatic-speech-recognition", "cpu", "EncoderDecoderCache of DynamicCache"),
        ("llava", "image-text-to-text", "cpu", "DynamicCache"),
        ("blip-2", "image-text-to-text", "cpu", "DynamicCache"),  # its language model generates, not it
    ],
)
def test_every_generation_says_how_it_decoded(model: str, task: str, hardware: str, cache: str) -> None:
    verdict = run(model, task, hardware)
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    found = verdict.evidence["generation"]
    assert found["decode steps"] == found["new tokens"] - 1 > 0
    assert found["decode input lengths"] == [1]
    assert (found["cache"], found["batch"]) == (cache, 2)
    assert found["positions in the cache"] >= found["prompt length"]
    assert found["prefill, s"] > 0
    assert found["decode, s"] > 0
    assert verdict.evidence["reference"]["generation"]["decodes from the cache"] is True


def test_a_model_without_a_cache_passes_and_says_so() -> None:
    verdict = run("openai-gpt", "text-generation", "cpu")
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence["generation"]["decodes from the cache"] is False
    assert "every step computes the whole text again" in verdict.evidence["generation"]["note"]


def test_a_hardware_that_leaves_the_cache_aside_fails_though_its_tokens_are_right() -> None:
    verdict = run(*GPT2, "cpu", "sabotage:Cacheless")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.RUN)
    assert "decodes without the cache that the reference has" in verdict.reason


# Left padding


def test_the_short_prompt_of_a_batch_is_padded_on_its_left() -> None:
    for model, task in (GPT2, ("llava", "image-text-to-text"), ("janus", "any-to-any")):
        found = task_on(recipe(model, task), task)
        forms = forms_of(found)
        padded = padding_of(found, forms)
        assert padded["padded"] > 0
        assert padded["batch"] > 0
        mask = forms["batch"].encoded["attention_mask"]
        assert mask[0, 0] == 0
        assert mask[:, -1].all()


def test_a_prompt_padded_on_its_right_is_refused() -> None:
    task = task_on(recipe(*GPT2), GPT2[1])
    forms = forms_of(task)
    turned = {name: tensor.flip(-1) for name, tensor in forms["batch"].encoded.items()}
    with pytest.raises(Fault, match="the batch sample is padded on its right"):
        padding_of(task, forms | {"batch": Form(forms["batch"].natural, turned)})


def test_a_registry_row_that_pads_on_the_right_fails_before_it_runs() -> None:
    row = recipe("llava", "image-text-to-text")
    assert row.processor is not None
    tokenizer = row.processor["parts"]["tokenizer"]
    options = {**tokenizer.get("options", {}), "padding_side": "right"}
    parts = {**row.processor["parts"], "tokenizer": {**tokenizer, "options": options}}
    case = job("llava", "image-text-to-text", "cpu")
    verdict = run_case(
        replace(case, recipe=replace(row, processor={**row.processor, "parts": parts})), lambda stage: None
    )
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.PROCESS, "Fault")


def test_an_encoder_may_be_padded_on_its_right() -> None:
    task = task_on(recipe("t5", "text2text-generation"), "text2text-generation")
    assert padding_of(task, forms_of(task)) == {}


@pytest.mark.parametrize(
    ("fault", "stage", "form"),
    [("MasklessGeneration", Stage.PARITY, "padded"), ("MasklessBatch", Stage.BATCH, "batch")],
)
def test_a_hardware_that_attends_to_left_padding_fails(fault: str, stage: Stage, form: str) -> None:
    """Where it does so for one prompt, its padded form tells; where it does for a batch alone, the batch does."""
    verdict = run(*GPT2, "cpu", f"sabotage:{fault}")
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert all(form in each.against for each in verdict.comparisons if not each.ok)
    assert verdict.evidence["left padding, positions"]["batch"] > 0
