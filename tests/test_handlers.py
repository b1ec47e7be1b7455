from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from cases import recipe, task_on

from pytest_ipfs_accelerate.handlers import Handler
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.samples import picture
from pytest_ipfs_accelerate.results import HandlerResult
from pytest_ipfs_accelerate.verdict import Implementation


def handler(model: str = "bert", name: str = "fill-mask") -> Handler:
    task = task_on(recipe(model, name), name)
    return Handler(Case(model, name, "cpu"), task, Cpu().lower(task.checkpoint, None))


def test_a_result_is_frozen_and_says_where_it_was_computed() -> None:
    result = handler()("the quick brown [MASK] jumps")
    assert isinstance(result, HandlerResult)
    assert (result.model, result.task, result.hardware, result.device) == ("bert", "fill-mask", "cpu", "cpu")
    assert (result.precision, result.implementation) == ("fp32", Implementation.REAL)
    assert result.elapsed > 0
    assert result.evidence["parameters on"] == ["cpu"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.device = "cuda"  # type: ignore[misc]
    with pytest.raises(TypeError):
        result.outputs["logits"] = torch.zeros(1)  # type: ignore[index]


def test_a_list_is_a_batch_of_the_same_answers() -> None:
    run = handler()
    texts = ["the quick brown [MASK] jumps", "paris is the [MASK] of france and rome is the capital of italy"]
    together, alone = run(texts).decoded, [run(text).decoded[0] for text in texts]
    assert [[entry["token"] for entry in answer] for answer in together] == [
        [entry["token"] for entry in answer] for answer in alone
    ]


def test_a_picture_is_an_image_or_an_array() -> None:
    run = handler("vit", "image-classification")
    image = picture(5)
    assert run(image).decoded == run(np.asarray(image)).decoded
    assert run(image).decoded != run(picture(6)).decoded


def test_a_result_reads_like_the_answers_of_the_older_modules() -> None:
    result = handler("bert", "text-classification")("two birds sit on the fence")
    best = result.decoded[0][0]
    assert (result["label"], result["class"], result["score"]) == (best["label"], best["label"], best["score"])
    assert float(result) == best["score"]
    assert (result["implementation_type"], result["device"], result.get("nothing", 0)) == ("REAL", "cpu", 0)
    assert "label" in result
    assert "embedding" not in result
    assert list(result) == [result[0]] == [*result.decoded]
    with pytest.raises(KeyError, match="'lable'; did you mean 'label'"):
        result["lable"]


def test_several_answers_are_read_as_several() -> None:
    result = handler("bert", "text-classification")(["two birds", "a cat on the sofa"])
    assert len(result) == 2
    assert result["label"] == [answer[0]["label"] for answer in result]
    with pytest.raises(TypeError, match="2 answers is no one number"):
        float(result)


def test_what_is_read_of_a_result_is_a_copy() -> None:
    result = handler("bert", "feature-extraction")("two birds")
    kept = result.outputs["last_hidden_state"].clone()
    for copy in (torch.as_tensor(result), torch.tensor(result), result["last_hidden_state"], result.tensor):
        assert torch.equal(copy, kept)
        copy.zero_()
    array = np.asarray(result)
    assert np.array_equal(array, kept.numpy())
    array[...] = 0
    assert torch.equal(result.outputs["last_hidden_state"], kept)


def test_generated_text_is_read_as_text() -> None:
    result = handler("bert", "text-generation")("two birds")
    assert result["text"] == result["generated_text"] == result.decoded[0][0]["generated_text"]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_a_picture_of_any_mode_is_taken_in_rgb(mode: str) -> None:
    run = handler("vit", "image-classification")
    image = picture(5).convert(mode)
    assert run(image).decoded == run(image.convert("RGB")).decoded


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([], ValueError, "FillMask got a list without an input"),
        (None, TypeError, "FillMask takes a text, and got None"),
        (5, TypeError, "FillMask takes a text, and got int"),
        (["a [MASK]", 3], TypeError, "FillMask takes a text, and got int"),
    ],
)
def test_what_is_no_input_is_said_as_such(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        handler()(given)


def test_one_call_at_a_time() -> None:
    """A request of OpenVINO that two threads fill is busy, or mixes their inputs; and the seeds are those of the process."""
    run, inside, most = handler(), 0, 0

    def call(encoded: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        inside -= 1
        return plain(encoded)

    plain = run.endpoint.forward
    run.endpoint.forward = call  # type: ignore[method-assign]
    texts = [f"a [MASK] {word}" for word in ("dog", "cat", "house", "sea")]
    with ThreadPoolExecutor(4) as pool:
        together = [result.decoded for result in pool.map(run, texts)]
    assert most == 1
    assert together == [run(text).decoded for text in texts]
