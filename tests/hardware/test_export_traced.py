"""What a trace leaves behind in a model: nothing of itself."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import recipe, task_on
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import LlamaConfig, LlamaModel

from pytest_ipfs_accelerate.hardware.export import export_program
from pytest_ipfs_accelerate.hardware.export_patches import as_before, patched, without_loss


def test_the_loss_is_left_out_for_a_time() -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(return_loss=True))
    with without_loss(model):
        assert model.config.return_loss is False
    assert model.config.return_loss is True


def test_what_a_trace_sets_on_a_module_is_taken_back() -> None:
    model: Any = nn.Sequential(nn.Linear(2, 2))
    model[0].seen = 3
    with as_before(model), FakeTensorMode():
        model[0].seen = [torch.ones(2)]
        model[0].length = torch.ones(2)
        model[0].kept = 4
    assert (model[0].seen, hasattr(model[0], "length"), model[0].kept) == (3, False, 4)
    assert model(torch.ones(1, 2)).shape == (1, 2)


def test_hidden_states_are_collected_once_after_a_trace() -> None:
    """transformers says on a module that its hooks are there: who takes that back has them twice."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "vocab_size": 9}
    model = LlamaModel(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2))  # type: ignore[arg-type]
    for around in (as_before(model), nullcontext()):
        with around:
            assert len(model(torch.ones(1, 3, dtype=torch.long), output_hidden_states=True).hidden_states) == 3


def test_a_model_can_be_copied_after_its_trace() -> None:
    task = task_on(recipe("funnel", "feature-extraction"), "feature-extraction")
    export_program(task.checkpoint, task.encode(list(task.samples())), generates=False)
    copy.deepcopy(task.checkpoint.model)


class Table(nn.Module):
    @cached_property
    def codes(self) -> Tensor:
        return torch.arange(4.0)

    @cached_property
    def names(self) -> list[str]:
        return ["a"]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.codes * len(self.names)


@pytest.mark.filterwarnings("ignore:The tensor attribute self.codes")
@pytest.mark.parametrize("replaced", [True, False])
def test_a_model_keeps_no_tensor_of_a_trace(replaced: bool) -> None:
    table, x = Table(), torch.ones(4)
    with patched() if replaced else nullcontext():
        torch.export.export(table, (x,))
    if not replaced:  # the fault: then it can go
        assert isinstance(table.codes, FakeTensor)
        return
    assert vars(table)["names"] == ["a"]
    assert table(x).tolist() == [0, 1, 2, 3]
    assert type(vars(table)["codes"]) is Tensor
