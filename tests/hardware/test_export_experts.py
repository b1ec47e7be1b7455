"""Experts that loop over those that are hit: the replacement computes the same, and is still needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traces import Inputs, original_of, same, takes_another

from pytest_ipfs_accelerate.hardware import export_experts  # noqa: F401 (its replacements are registered by its import)
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES

WIDTH, EXPERTS = 6, 3


def module(name: str, kind: str, **config: Any) -> nn.Module:
    """A module of a model type, with its configuration's usual values but for these, and weights that are drawn."""
    modeling = import_module(f"transformers.models.{name}.modeling_{name}")
    configuration = import_module(f"transformers.models.{name}.configuration_{name}")
    settings = next(vars(configuration)[key] for key in configuration.__all__)(**config)
    found: nn.Module = getattr(modeling, kind)(settings, *([WIDTH] if name == "nllb_moe" else []))
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


def switch_router() -> nn.Module:
    return module(
        "switch_transformers", "SwitchTransformersTop1Router", d_model=WIDTH, num_experts=EXPERTS, expert_capacity=2
    )


def switch() -> nn.Module:
    return module("switch_transformers", "SwitchTransformersExperts", d_model=WIDTH, d_ff=WIDTH, num_experts=EXPERTS)


def nllb() -> nn.Module:
    return module("nllb_moe", "NllbMoeExperts", d_model=WIDTH, num_experts=EXPERTS, moe_token_dropout=0.2)


def dbrx() -> nn.Module:
    modeling = import_module("transformers.models.dbrx.modeling_dbrx")
    configuration = import_module("transformers.models.dbrx.configuration_dbrx")
    config = configuration.DbrxFFNConfig(hidden_size=WIDTH, ffn_hidden_size=4, moe_num_experts=EXPERTS)
    found: nn.Module = modeling.DbrxExperts(config)
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


def longcat() -> nn.Module:
    return module(
        "longcat_flash",
        "LongcatFlashExperts",
        hidden_size=WIDTH,
        expert_ffn_hidden_size=4,
        n_routed_experts=EXPERTS - 1,
        zero_expert_num=1,
    )


def chosen(batch: int, length: int) -> tuple[Tensor, ...]:
    tokens = batch * length
    index = torch.stack([torch.randperm(EXPERTS)[:2] for _ in range(tokens)])
    return torch.randn(tokens, WIDTH), index, torch.rand(tokens, 2)


def one_hot(batch: int, length: int) -> tuple[Tensor, ...]:
    """What the router of switch_transformers gives: no expert at all for a token beyond the capacity."""
    hidden, index, weights = chosen(batch, length)
    mask = nn.functional.one_hot(index[:, :1], EXPERTS)
    mask[0] = 0
    return hidden, mask, weights[:, :1]


def masked(batch: int, length: int) -> tuple[Tensor, ...]:
    hidden, index, _ = chosen(batch, length)
    mask = nn.functional.one_hot(index, EXPERTS).sum(1)
    return hidden, mask, torch.rand(mask.shape) * mask


CASES: dict[str, tuple[str, Callable[[], nn.Module], Inputs]] = {
    "router": (
        "switch_transformers.modeling_switch_transformers.SwitchTransformersTop1Router.forward",
        switch_router,
        lambda batch, length: (torch.randn(batch, length, WIDTH),),
    ),
    "switch": (
        "switch_transformers.modeling_switch_transformers.SwitchTransformersExperts.forward",
        switch,
        one_hot,
    ),
    "nllb": ("nllb_moe.modeling_nllb_moe.NllbMoeExperts.forward", nllb, masked),
    "dbrx": (
        "dbrx.modeling_dbrx.DbrxExperts.forward",
        dbrx,
        lambda batch, length: (chosen(batch, length)[0].view(batch, length, WIDTH), *chosen(batch, length)[1:]),
    ),
    "longcat": ("longcat_flash.modeling_longcat_flash.LongcatFlashExperts.forward", longcat, chosen),
}


class Bound(nn.Module):
    """A call of a module whose parameters are the trace's, as those of a model are."""

    def __init__(self, function: Any, made: nn.Module) -> None:
        super().__init__()
        self.function, self.made = function, made

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self.made, *inputs)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, nn.Module, Inputs]:
    """What is replaced, what replaces it, a module to run them on, and inputs."""
    torch.manual_seed(7)
    path, make, inputs = CASES[request.param]
    original = original_of(path)
    return original, PATCHES[path](original), make(), inputs


@torch.no_grad()
def test_every_expert_sees_every_token_and_the_sum_is_the_same(case: tuple[Any, Any, nn.Module, Inputs]) -> None:
    original, replaced, made, inputs = case
    for batch, length in ((1, 5), (3, 17)):
        given = inputs(batch, length)
        found = replaced(made, *given)
        assert same(found, original(made, *given))
        assert not same(found, original(made, given[0] + 1, *given[1:]))


@torch.no_grad()
def test_a_replacement_is_needed(case: tuple[Any, Any, nn.Module, Inputs]) -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    original, replaced, made, inputs = case
    assert takes_another(Bound(replaced, made), inputs)
    assert not takes_another(Bound(original, made), inputs)
