from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from cases import SAMPLE, job, recipe, task_on

from pytest_ipfs_accelerate.handlers import Handler
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.samples import picture
from pytest_ipfs_accelerate.results import HandlerResult
from pytest_ipfs_accelerate.runner import open_handler
from pytest_ipfs_accelerate.verdict import Implementation


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


@pytest.mark.parametrize("hardware", ["cpu", "onnxruntime", "openvino"])
@pytest.mark.parametrize(("model", "name"), SAMPLE)
def test_no_handler_sets_anything_on_a_tensor(model: str, name: str, hardware: str) -> None:
    handler = open_handler(job(model, name, hardware))
    handler.endpoint = GuardedEndpoint(handler.endpoint)  # type: ignore[assignment]
    natural = list(handler.task.samples())
    plain = handler.task.encode(natural)
    result = handler.handle(natural, guarded(plain))
    assert len(result.decoded) == 2
    assert result.hardware == hardware


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
