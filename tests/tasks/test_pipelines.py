"""What a handler answers is what the pipeline of transformers answers on the same checkpoint and input."""

from __future__ import annotations

from typing import Any

import pytest
import transformers
from cases import recipe, task_on

from pytest_ipfs_accelerate.handlers import Handler
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.processors import tokenizer_of
from pytest_ipfs_accelerate.parity import Tolerance, compare_decoded

EXACT = Tolerance(relative_l2=1e-6, max_abs=1e-6, source="the same model on the same device")


def parts_of(processor: Any) -> dict[str, Any]:
    """A processor as the keyword arguments that ``pipeline`` takes it by."""
    names = ("tokenizer", "image_processor", "feature_extractor")
    found = {name: getattr(processor, name) for name in names if hasattr(processor, name)}
    if found:
        return {"processor": processor, **found}
    if isinstance(processor, transformers.PreTrainedTokenizerBase):
        return {"tokenizer": processor}
    return {"image_processor": processor}


def ask(pipeline: Any, natural: Any, options: dict[str, Any]) -> Any:
    """The answer of a pipeline to a natural input of ours."""
    if isinstance(natural, dict) and "candidate_labels" in natural:
        medium = natural.get("image", natural.get("audio"))
        return pipeline(medium, candidate_labels=natural["candidate_labels"], **options)
    if isinstance(natural, dict) and "images" in natural:
        return pipeline(**natural, **options)
    # Pipelines take a sound's dict apart in place.
    return pipeline(dict(natural) if isinstance(natural, dict) else natural, **options)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("model", "name", "options"),
    [
        ("bert", "fill-mask", {}),
        ("bert", "feature-extraction", {}),
        ("bert", "text-classification", {}),
        ("bert", "token-classification", {}),
        ("bert", "text-generation", {"add_special_tokens": False}),
        ("vit", "image-classification", {}),
        ("vit", "image-feature-extraction", {}),
        ("whisper", "automatic-speech-recognition", {}),
        ("whisper", "audio-classification", {"top_k": 3}),
        ("llava", "image-text-to-text", {}),
        ("llava_next", "image-text-to-text", {}),
        ("llama", "text-generation", {"add_special_tokens": False}),
        ("llama", "text-classification", {}),
        ("qwen2", "token-classification", {}),
        ("wav2vec2", "automatic-speech-recognition", {}),
        ("wav2vec2", "audio-classification", {"top_k": 3}),
        ("detr", "object-detection", {"threshold": 0.2}),
        ("clip", "zero-shot-image-classification", {}),
        ("clip", "image-classification", {}),
        ("clap", "zero-shot-audio-classification", {}),
    ],
)
def test_handler_answers_as_the_pipeline(model: str, name: str, options: dict[str, Any], index: int) -> None:
    task = task_on(recipe(model, name), name)
    checkpoint = task.checkpoint
    natural = task.samples()[index]
    handler = Handler(Case(model, name, "cpu"), task, Cpu().lower(checkpoint, None))
    answer = handler(natural).decoded[0]
    pipeline = transformers.pipeline(name, model=checkpoint.model, device="cpu", **parts_of(checkpoint.processor))
    expected = ask(pipeline, natural, options)
    comparison = compare_decoded(plain(expected), plain(answer), EXACT, "pipeline")
    assert comparison.ok, comparison


def plain(answer: Any) -> Any:
    """An answer as builtin values: pipelines give numpy floats here, a batch axis of one or a text per field there."""
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items() if key != "input_text"}
    if isinstance(answer, list) and len(answer) == 1:
        return plain(answer[0])
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    return answer.item() if hasattr(answer, "item") else answer


def test_question_answering_gives_a_span_of_the_context() -> None:
    task = task_on(recipe("bert", "question-answering"), "question-answering")
    for natural in task.samples():
        answer = Handler(Case("bert", "question-answering", "cpu"), task, Cpu().lower(task.checkpoint, None))(
            natural
        ).decoded[0]
        assert answer["answer"] == natural["context"][answer["start"] : answer["end"]] != ""
        assert 0 < answer["score"] <= 1


def test_the_questions_tokens_are_never_the_answer() -> None:
    """The span is looked for in the context alone, also when the question's tokens score higher."""
    import torch

    task = task_on(recipe("bert", "question-answering"), "question-answering")
    natural = task.samples()[0]
    encoded = {name: tensor[0] for name, tensor in task.encode([natural]).items()}
    start = torch.zeros_like(encoded["input_ids"], dtype=torch.float32)
    start[1] = 50.0
    answer = task.decode({"start_logits": start, "end_logits": start}, encoded, natural)
    assert answer["answer"] == natural["context"][answer["start"] : answer["end"]]


@pytest.mark.parametrize(("logits", "is_next"), [([3.0, -3.0], True), ([-3.0, 3.0], False)])
def test_next_sentence_reads_the_class_as_transformers_does(logits: list[float], is_next: bool) -> None:
    import torch

    task = task_on(recipe("bert", "next-sentence-prediction"), "next-sentence-prediction")
    assert task.decode({"logits": torch.tensor(logits)}, {}, None)["is_next"] is is_next


def test_multiple_choice_names_the_choice() -> None:
    import torch

    task = task_on(recipe("bert", "multiple-choice"), "multiple-choice")
    natural = task.samples()[0]
    assert task.decode({"logits": torch.tensor([-1.0, 2.0])}, {}, natural)["choice"] == natural["choices"][1]
    with pytest.raises(ValueError, match="different numbers of choices"):
        task.encode([natural, {"prompt": "a", "choices": ["b", "c", "d"]}])


def test_several_masks_give_one_list_each() -> None:
    task = task_on(recipe("bert", "fill-mask"), "fill-mask")
    mask = tokenizer_of(task.processor).mask_token
    handler = Handler(Case("bert", "fill-mask", "cpu"), task, Cpu().lower(task.checkpoint, None))
    assert [len(proposals) for proposals in handler(f"the {mask} fox {mask} over").decoded[0]] == [5, 5]


def test_sounds_of_two_rates_are_refused() -> None:
    task = task_on(recipe("whisper", "audio-classification"), "audio-classification")
    first, second = task.samples()
    with pytest.raises(ValueError, match="sampling rates"):
        task.encode([first, {**second, "sampling_rate": 8_000}])
