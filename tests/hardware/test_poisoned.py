"""What a component replaces is NaN for torch, and what torch computes with all the same is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import recipe, task_on
from torch import nn

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.generate import left_to_torch, poisoned
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint


def test_torch_computing_with_a_matrix_of_its_own_is_found() -> None:
    """A model that is exported in parts may look tokens up; what multiplies must be in a part."""
    task = task_on(recipe("llava", "pretraining"), "pretraining")
    model = task.checkpoint.model
    parts = {"language_model": "model.language_model", "image_encoder": "model.vision_tower", "lm_head": "lm_head"}
    whole = parts | {"multi_modal_projector": "model.multi_modal_projector"}
    table = "model.language_model.embed_tokens"
    skeleton = poisoned(model, whole)
    assert left_to_torch(skeleton) == ([], 0)
    tokens = torch.tensor([[7, 8]])
    assert torch.equal(skeleton.get_submodule(table)(tokens), model.get_submodule(table)(tokens))
    assert left_to_torch(skeleton) == ([f"{table}.weight"], 0)
    skeleton = poisoned(model, parts)
    skeleton.get_submodule("model.multi_modal_projector")(torch.zeros(1, 4, 64))
    with pytest.raises(NotOnHardware, match=r"torch computes with 2 matrices: model\.multi_modal_projector"):
        left_to_torch(skeleton)


class Tied(nn.Module):
    """One whose head multiplies by its table."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.table.weight


def test_beside_a_whole_prefill_a_table_is_looked_up_and_nothing_multiplied() -> None:
    model: Any = Tied()
    skeleton: Any = poisoned(model, {"prefill": ""})
    looked_up = skeleton.table(torch.tensor([1, 3]))
    assert torch.equal(looked_up, model.table(torch.tensor([1, 3])))
    assert skeleton.head(looked_up).isnan().all()
    assert left_to_torch(skeleton) == ([], 0)


def test_the_norm_of_a_table_is_looked_up_with_it() -> None:
    """inkling2's table of tokens holds a norm, and lies in the language model that is a part."""
    model = build_checkpoint(recipe("inkling2", "feature-extraction")).model
    table, tokens = "language_model.embed_tokens", torch.tensor([[7, 8]])
    skeleton = poisoned(model, {"language_model": "language_model", "image_encoder": "vision_tower"})
    assert skeleton.get_submodule(table).embed_norm.weight.isnan().all()
    assert torch.equal(skeleton.get_submodule(table)(tokens), model.get_submodule(table)(tokens))
    assert left_to_torch(skeleton) == ([f"{table}.weight", f"{table}.embed_norm.weight"], 0)


@pytest.mark.parametrize(
    ("name", "shape", "found"),
    [("queries", (1, 4, 8), 0), ("queries", (2, 4, 8), 1), ("queries", (4, 8), 1), ("weight", (1, 4, 3), 1)],
)
def test_a_learned_input_is_no_matrix(name: str, shape: tuple[int, ...], found: int) -> None:
    """Queries that each input of a batch gets are looked up; a matrix, or the kernel of a convolution, is multiplied by."""
    module = nn.Module()
    module.register_parameter(name, nn.Parameter(torch.ones(shape)))
    assert left_to_torch(module, allow_fallback=True) == ([name], found)


def test_a_matrix_that_nothing_calls_stays_nan() -> None:
    """Janus holds a tower that makes pictures, and no task that reads them calls it."""
    task = task_on(recipe("llava", "pretraining"), "pretraining")
    parts = {"language_model": "model.language_model", "image_encoder": "model.vision_tower", "lm_head": "lm_head"}
    skeleton = poisoned(task.checkpoint.model, parts)
    biases = ["model.multi_modal_projector.linear_1.bias", "model.multi_modal_projector.linear_2.bias"]
    assert left_to_torch(skeleton) == (biases, 0)
    with torch.no_grad():
        projected = skeleton.get_submodule("model.multi_modal_projector").linear_1.weight @ torch.ones(64)
    assert projected.isnan().all()
