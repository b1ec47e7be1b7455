"""Inputs of tensors alone: what a description makes, how it is padded, and what counts as content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import recipe

from pytest_ipfs_accelerate.bench import Fault, forms_of, reference_of
from pytest_ipfs_accelerate.builtin import TASKS
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import load
from pytest_ipfs_accelerate.tasks.tensors import Description, TensorsOnly

TEXT: dict[str, Any] = {
    "modality": "tensors",
    "why": "to try it",
    "sizes": {"S": [9, 6]},
    "pads": {"S": 3},
    "tensors": {"input_ids": {"tokens": ["S"], "below": 200}, "attention_mask": {"ones": ["S"]}},
}


def tensors_only(task: str = "fill-mask", **changes: Any) -> TensorsOnly:
    plain = recipe("bert", task)
    checkpoint = build_checkpoint(replace(plain, processor=None, inputs={**TEXT, **changes}))
    return TensorsOnly(load(TASKS[task].target), checkpoint)


def made(raw: dict[str, Any], seed: int = 0, **sizes: int) -> torch.Tensor:
    return Description("x", raw).make(sizes, seed)


def test_the_kinds() -> None:
    tokens = made({"tokens": ["S"], "below": 200, "place": [[490, 3], [491, 1]]}, S=9)
    assert tokens[2:6].tolist() == [490, 490, 490, 491]
    assert tokens.dtype is torch.int64
    assert ((tokens >= 5) & ((tokens < 200) | (tokens >= 490))).all()
    assert made({"tokens": [8], "below": 200, "at": [[-1, 2]]})[-1] == 2
    assert made({"normal": [3, 4], "shift": 100}).mean() > 90
    assert made({"zeros": ["S"], "set": [[2, 3, 1]]}, S=7).tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert made({"ones": [2], "dtype": "bool"}).dtype is torch.bool
    assert made({"count": ["S"]}, S=4).tolist() == [0, 1, 2, 3]
    boxes = made({"boxes": [5]})
    assert boxes.shape == (5, 4)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert made({"value": [[1, 4, 4]]}).tolist() == [[1, 4, 4]]


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    assert torch.equal(made({"normal": [9]}, 1), made({"normal": [9]}, 1))
    assert not torch.equal(made({"normal": [9]}, 1), made({"normal": [9]}, 2))


@pytest.mark.parametrize("raw", [{}, {"normal": [1], "ones": [1]}, {"sizes": [1]}])
def test_a_description_names_one_kind(raw: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the tensor x has"):
        Description("x", raw)


def test_a_batch_is_padded_to_its_longest() -> None:
    task = tensors_only()
    encoded = task.encode(list(task.samples()))
    assert encoded["input_ids"].shape == (2, 9)
    assert encoded["attention_mask"][1].tolist() == [1] * 6 + [0] * 3
    padded = task.encode([task.samples()[0]], 0)
    assert padded["attention_mask"].tolist() == [[1] * 9 + [0] * 3]


def test_what_generates_is_padded_on_the_left() -> None:
    task = tensors_only("text-generation")
    padded = task.encode([task.samples()[0]], 0)
    assert padded["attention_mask"].tolist() == [[0] * 3 + [1] * 9]


def test_a_row_has_no_padded_position_on_any_axis() -> None:
    task = tensors_only(prefix=4)
    encoded = task.encode([task.samples()[0]], 0)
    outputs = {"states": torch.ones(1, 12, 5), "map": torch.ones(1, 2, 12, 12), "whole": torch.ones(1, 16, 5)}
    row = task.rows(outputs, encoded)[0]
    assert {name: tuple(tensor.shape) for name, tensor in row.items()} == {
        "states": (9, 5),
        "map": (2, 9, 9),
        "whole": (13, 5),
    }


def test_only_content_varies_and_placeholders_stay() -> None:
    changes = {"tensors": {**TEXT["tensors"], "input_ids": {"tokens": ["S"], "below": 200, "place": [[210, 2]]}}}
    task = tensors_only(**changes)
    varied = task.variations(task.encode([task.samples()[0]]))
    assert list(varied) == ["input_ids"]
    before, after = task.samples()[0]["input_ids"], varied["input_ids"]["input_ids"][0]
    assert after[2:4].tolist() == [210, 210]
    assert not torch.equal(before, after)
    assert sorted(before.tolist()) == sorted(after.tolist())


def test_one_number_varies_too() -> None:
    step = Description("timestep", {"uniform": []})
    before = step.make({}, 0)[None]
    after = step.varied(before)
    assert after is not None
    assert not torch.equal(after, before)


def test_an_input_that_the_model_does_not_look_at_is_found() -> None:
    ignored = {**TEXT["tensors"], "token_type_ids": {"codes": ["S"], "below": 2}}
    task = tensors_only(tensors=ignored)
    task.checkpoint.model.bert.embeddings.token_type_embeddings.weight.data.zero_()
    with pytest.raises(Fault, match="does not depend on token_type_ids"):
        reference_of(Case("bert", "fill-mask", "cpu"), task, forms_of(task))


def test_a_mask_that_is_dropped_is_found() -> None:
    task = tensors_only()
    forward = task.checkpoint.model.forward
    task.checkpoint.model.forward = lambda input_ids, **rest: forward(input_ids)  # type: ignore[method-assign]
    with pytest.raises(Fault, match="padding moves the reference"):
        reference_of(Case("bert", "fill-mask", "cpu"), task, forms_of(task))
