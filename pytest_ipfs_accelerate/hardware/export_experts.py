"""Mixtures of experts that loop over the experts that are hit, for the time of a trace.

Most such models take ``experts_implementation="batched_mm"``, with which a program is exported. These classes have no such
choice: their loop has as many steps as the data says (``nonzero``), and each step as many tokens. Here every expert sees every
token, and a token adds to its output what its router weighs it with: 0 for an expert that it was not sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, reduce, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.exporters.exporter_onnx import use_experts_implementation

from .export_registry import replaces

Expert = Callable[[Tensor], Tensor]


@contextmanager
def batched_experts(model: nn.Module) -> Iterator[None]:
    """The experts of a model and of every model in it as one product for each token, ``batched_mm``: grouped ones slice their
    tokens by sizes that depend on data, which the HTP and Core ML do not take. (The exporter asks the outermost class alone,
    and that of a decision has no experts in its own module, modeling_jev.py.)"""
    with ExitStack() as stack:
        # Inner ones first, and put back last: what an outer one puts back may be other than they had.
        for part in reversed(list(model.modules())):
            if isinstance(part, PreTrainedModel):
                stack.enter_context(use_experts_implementation(part, "batched_mm"))
        yield


def weighed(hidden: Tensor, experts: Sequence[Expert], weights: Tensor) -> Tensor:
    """The sum of what ``experts`` make of ``hidden`` (tokens, width), each by its column of ``weights`` (tokens, experts)."""
    pairs = zip(experts, weights.unbind(-1), strict=True)
    return reduce(torch.add, [(expert(hidden) * weight[:, None]).to(hidden.dtype) for expert, weight in pairs])


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


@replaces("step3p7.modeling_step3p7.Step3p7Experts.forward")
def step_experts(original: Any) -> Any:
    def forward(self: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        def expert(number: int) -> Expert:
            return lambda hidden: F.linear(
                self._apply_gate(F.linear(hidden, self.gate_up_proj[number])), self.down_proj[number]
            )

        weights = by_expert(top_k_index, top_k_weights, self.num_experts)
        return weighed(hidden_states, [expert(number) for number in range(self.num_experts)], weights)

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


@replaces("jetmoe.modeling_jetmoe.JetMoeParallelExperts.forward")
def jetmoe_experts(original: Any) -> Any:
    """Its tokens come sorted by their experts, and are split by how many each has (``expert_size``, a list)."""

    def forward(self: Any, inputs: Tensor, expert_size: Sequence[int]) -> Tensor:
        sizes = torch.stack([torch.full((), size, device=inputs.device) for size in expert_size])
        before = torch.arange(inputs.shape[0], device=inputs.device)[:, None] >= sizes.cumsum(0)
        weights = F.one_hot(before.sum(-1), self.num_experts).to(inputs.dtype)
        return weighed(inputs, [partial(F.linear, weight=weight) for weight in self.weight], weights)

    return forward


@replaces("higgs_audio_v2.modeling_higgs_audio_v2.HiggsAudioV2DecoderLayer.forward")
def words_and_sounds_together(original: Any) -> Any:
    """Words go through one network and sounds through another, each gathered with a mask: of a text without a sound that is a
    tensor of no rows, in which ONNX Runtime finds no index. Every token goes through both, and a mask chooses."""

    @wraps(original)
    def forward(
        self: Any, hidden_states: Tensor, *args: Any, audio_token_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if audio_token_mask is None:
            return original(self, hidden_states, *args, **kwargs)
        sound = audio_token_mask[..., None]
        normed = torch.where(sound, self.audio_input_layernorm(hidden_states), self.input_layernorm(hidden_states))
        attended, _ = self.self_attn(normed, *args, **kwargs)
        hidden = hidden_states + attended
        words = self.mlp(self.post_attention_layernorm(hidden))
        return hidden + torch.where(sound, self.audio_mlp(self.audio_post_attention_layernorm(hidden)), words)

    return forward


@replaces("higgs_audio_v2.modeling_higgs_audio_v2.HiggsAudioV2Model.forward")
def frames_that_count_first(original: Any) -> Any:
    """The frames of sound that a mask keeps are gathered, of which there may be none, and put where the text has their token.
    They are sorted to the front instead: no more of them are read than the text has tokens for."""

    @wraps(original)
    def forward(
        self: Any,
        input_ids: Tensor | None = None,
        audio_input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        audio_input_ids_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if input_ids is not None and audio_input_ids is not None and audio_input_ids_mask is not None:
            first = torch.argsort((~audio_input_ids_mask.bool()).flatten().long(), stable=True)
            audio_input_ids = audio_input_ids.flatten(0, 1)[first][None]
            audio_input_ids_mask = None
        return original(self, input_ids, audio_input_ids, attention_mask, audio_input_ids_mask, **kwargs)

    return forward
