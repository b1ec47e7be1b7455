"""Only the axes along which the forms of a task differ take any size in its program."""

from __future__ import annotations

from typing import Any

import torch
from cases import recipe, task_on
from torch.export import Dim
from transformers.exporters import exporter_dynamo

from pytest_ipfs_accelerate.bench import forms_of
from pytest_ipfs_accelerate.hardware.export_shapes import only_varying, varying_axes


def test_the_axes_of_a_task_that_vary() -> None:
    found = {}
    for model, name in (("vit", "image-classification"), ("bert", "fill-mask"), ("llava", "image-text-to-text")):
        task = task_on(recipe(model, name), name)
        encoded = task.encode(list(task.samples()))
        found[model] = varying_axes(encoded, [form.encoded for form in forms_of(task).values()])
    assert found["vit"] == {"pixel_values": (0,)}
    assert found["bert"]["input_ids"] == found["bert"]["attention_mask"] == (0, 1)
    assert found["llava"]["pixel_values"] == (0,)
    assert found["llava"]["input_ids"] == (0, 1)


def test_an_input_of_another_rank_or_none_varies_along_every_axis() -> None:
    traced = {"tokens": torch.zeros(2, 3)}
    assert varying_axes(traced, [traced]) == {"tokens": ()}
    assert varying_axes(traced, [traced, {"tokens": torch.zeros(2)}]) == {"tokens": (0, 1)}
    assert varying_axes(traced, [traced, {}]) == {"tokens": (0, 1)}


def marks(arguments: dict[str, Any]) -> Any:
    return exporter_dynamo.get_auto_dynamic_shapes(arguments)


def test_an_argument_that_is_an_input_is_marked_by_its_axes() -> None:
    inputs = {"pixels": torch.zeros(2, 3, 8, 8), "tokens": torch.zeros(2, 5)}
    every = {name: dict.fromkeys(range(tensor.dim()), Dim.AUTO) for name, tensor in inputs.items()}
    with only_varying(inputs, {"pixels": (0,), "tokens": (0, 1)}):
        assert marks(inputs) == {**every, "pixels": {0: Dim.AUTO}}
        # What has the name of an input and is not it, a step of one token, and what is none.
        step = {"tokens": torch.zeros(2, 1), "hidden": [torch.zeros(2, 3)]}
        assert marks(step) == {"tokens": every["tokens"], "hidden": [every["tokens"]]}
    assert marks(inputs) == every


def test_a_picture_under_another_name_is_marked_by_its_axes() -> None:
    """The tower of florence2 calls the pixels ``hidden_states``: with every axis marked it was traced for half an hour."""
    inputs = {"pixels": torch.randn(2, 3, 8, 8), "mask": torch.ones(2, 3, 8, 8, dtype=torch.long)}
    every = dict.fromkeys(range(4), Dim.AUTO)
    with only_varying(inputs, {"pixels": (0,), "mask": (0,)}):
        assert marks({"hidden": inputs["pixels"].clone()}) == {"hidden": {0: Dim.AUTO}}
        # Other numbers of the same shape, and ones, which a mask of something else may be, too.
        assert marks({"hidden": inputs["pixels"] + 1}) == {"hidden": every}
        assert marks({"hidden": inputs["mask"].clone()}) == {"hidden": every}
