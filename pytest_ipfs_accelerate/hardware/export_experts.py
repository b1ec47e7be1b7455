"""Mixtures of experts that loop over the experts that are hit, for the time of a trace.

Most such models take ``experts_implementation="batched_mm"``, with which a program is exported. These classes have no such
choice: their loop has as many steps as the data says (``nonzero``), and each step as many tokens. Here every expert sees every
token, and a token adds to its output what its router weighs it with: 0 for an expert that it was not sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .export_registry import replaces

Expert = Callable[[Tensor], Tensor]


def weighed(hidden: Tensor, experts: Sequence[Expert], weights: Tensor) -> Tensor:
    """The sum of what ``experts`` make of ``hidden`` (tokens, width), each by its column of ``weights`` (tokens, experts)."""
    found = torch.zeros_like(hidden)
    for expert, weight in zip(experts, weights.unbind(-1), strict=True):
        found = found + (expert(hidden) * weight[:, None]).to(hidden.dtype)
    return found


def by_expert(index: Tensor, weights: Tensor, experts: int) -> Tensor:
    """The weight of each expert for each token: (tokens, experts), from those that a token chose (``index``, tokens × choices)
    and how it weighs them."""
    chosen = index[..., None] == torch.arange(experts, device=index.device)
    return (chosen.to(weights.dtype) * weights[..., None]).sum(1)


def numbered(experts: Any) -> list[Expert]:
    """The experts of a dictionary of modules that may hold others, too."""
    return [experts[f"expert_{number}"] for number in range(experts.num_experts)]


@replaces("switch_transformers.modeling_switch_transformers.SwitchTransformersTop1Router.forward")
def router_without_a_cast(original: Any) -> Any:
    """The router assigns its own classifier anew, cast to its precision; parameters cannot be swapped while they are traced."""

    def forward(self: Any, hidden_states: Tensor) -> Any:
        self.input_dtype = hidden_states.dtype
        weight, bias = self.classifier.weight, self.classifier.bias
        bias = None if bias is None else bias.to(self.dtype)
        logits = F.linear(hidden_states.to(self.dtype), weight.to(self.dtype), bias)
        probabilities = F.softmax(logits, dim=-1, dtype=self.dtype).to(self.input_dtype)
        chosen = F.one_hot(torch.argmax(probabilities, dim=-1), num_classes=self.num_experts)
        within = torch.cumsum(chosen, dim=-2) <= self.expert_capacity
        return chosen * within, torch.max(probabilities, dim=-1).values.unsqueeze(-1), logits

    return forward


@replaces("switch_transformers.modeling_switch_transformers.SwitchTransformersExperts.forward")
def switch_experts(original: Any) -> Any:
    def forward(self: Any, hidden_states: Tensor, selected_experts: Tensor, routing_weights: Tensor) -> Tensor:
        return weighed(hidden_states, numbered(self), selected_experts[:, 0] * routing_weights)

    return forward


@replaces("nllb_moe.modeling_nllb_moe.NllbMoeExperts.forward")
def nllb_experts(original: Any) -> Any:
    """Its router gives a mask (tokens, experts) of 0 and 1, which the model reads as the numbers of experts
    (``modeling_nllb_moe.py``, ``one_hot(router_mask)``). What it computes is computed here, too."""

    def forward(self: Any, hidden_states: Tensor, router_mask: Tensor, router_probs: Tensor) -> Tensor:
        weights = by_expert(router_mask, router_probs, self.num_experts)
        return weighed(hidden_states, numbered(self), weights * (1 - self.moe_token_dropout))

    return forward


@replaces("dbrx.modeling_dbrx.DbrxExperts.forward")
def dbrx_experts(original: Any) -> Any:
    def forward(self: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        shape = (-1, self.ffn_hidden_size, self.hidden_size)
        w1, v1, w2 = (weight.view(shape).unbind(0) for weight in (self.mlp.w1, self.mlp.v1, self.mlp.w2))

        def expert(number: int) -> Expert:
            return lambda hidden: self.mlp(hidden, w1[number], v1[number], w2[number])

        experts = [expert(number) for number in range(self.num_experts)]
        flat = hidden_states.reshape(-1, self.hidden_size)
        found = weighed(flat, experts, by_expert(top_k_index, top_k_weights, self.num_experts))
        return found.view(hidden_states.shape[0], -1, self.hidden_size)

    return forward


@replaces("longcat_flash.modeling_longcat_flash.LongcatFlashExperts.forward")
def longcat_experts(original: Any) -> Any:
    """The last experts are none: a token that is sent to one of them stays as it is."""

    def forward(self: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        def expert(number: int) -> Expert:
            if number >= self.num_routed_experts:
                return lambda hidden: hidden

            def computed(hidden: Tensor) -> Tensor:
                gate, up = F.linear(hidden, self.gate_up_proj[number]).chunk(2, dim=-1)
                return F.linear(self.act_fn(gate) * up, self.down_proj[number])

            return computed

        experts = [expert(number) for number in range(self.total_experts)]
        return weighed(hidden_states, experts, by_expert(top_k_index, top_k_weights, self.total_experts))

    return forward
