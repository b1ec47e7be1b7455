"""Attention within windows that a model cuts out of a text, with a few tokens that see all and are seen by all, for the time of
a trace: every token attends to all, and a mask keeps the windows apart. More work for a text of many windows, and the same
numbers."""

from __future__ import annotations

import math
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from .export_registry import replaces


def attended(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Attention of (batch, heads, tokens, width) to the tokens that are seen (batch, 1, tokens or 1, tokens), as (batch,
    tokens, heads × width); ``query`` is scaled."""
    scores = query @ key.transpose(-1, -2)
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
    return (weights @ value).transpose(1, 2).flatten(2)


@replaces(
    "longformer.modeling_longformer.LongformerSelfAttention.forward", "led.modeling_led.LEDEncoderSelfAttention.forward"
)
def windows_and_global_tokens_by_a_mask(original: Any) -> Any:
    """The windows are views with overlapping strides, and the tokens that see all are gathered by ``nonzero``, of which there
    are as many as the data says."""

    @wraps(original)
    def forward(
        self: Any,
        hidden_states: Tensor,
        attention_mask: Tensor,
        is_index_masked: Tensor,
        is_index_global_attn: Tensor,
        is_global_attn: Any = None,
        output_attentions: bool = False,
    ) -> Any:
        if output_attentions:
            return original(
                self, hidden_states, attention_mask, is_index_masked, is_index_global_attn, is_global_attn, True
            )

        def heads(projection: Any, scale: float = 1.0) -> Tensor:
            batch, length, _ = hidden_states.shape
            projected: Tensor = projection(hidden_states) / scale
            return projected.view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)

        scale = math.sqrt(self.head_dim)
        place = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        near = (place[:, None] - place[None, :]).abs() <= self.one_sided_attn_window_size
        seen = (near & (attention_mask == 0)[:, None]) | is_index_global_attn[:, None]
        local = attended(heads(self.query, scale), heads(self.key), heads(self.value), seen[:, None])
        local = torch.where(is_index_masked[..., None], 0.0, local)
        everything = attended(
            heads(self.query_global, scale),
            heads(self.key_global),
            heads(self.value_global),
            ~is_index_masked[:, None, None],
        )
        return (torch.where(is_index_global_attn[..., None], everything, local),)

    return forward


@replaces("longformer.modeling_longformer._get_question_end_index")
def first_separator(original: Any) -> Any:
    """The separators are counted by ``nonzero``, which must find three times as many as there are texts. A question ends with
    the first one."""

    def question_end(input_ids: Tensor, sep_token_id: int) -> Tensor:
        return (input_ids == sep_token_id).long().argmax(dim=1)

    return question_end


@replaces("canine.modeling_canine.CanineAttention.forward")
def windows_kept_apart_by_a_mask(original: Any) -> Any:
    """Characters attend within windows that a loop over the length cuts out, which makes the length a constant."""

    @wraps(original)
    def forward(self: Any, hidden_states: Tensor, attention_mask: Tensor, output_attentions: bool = False) -> Any:
        width = self.attend_from_chunk_width
        others = (self.attend_from_chunk_stride, self.attend_to_chunk_width, self.attend_to_chunk_stride)
        by_rule = self.always_attend_to_first_position or self.first_position_attends_to_all or {*others} != {width}
        if not self.local or by_rule or output_attentions:
            return original(self, hidden_states, attention_mask, output_attentions)
        place, least = torch.arange(hidden_states.shape[1], device=hidden_states.device) // width, -1e38
        # What is masked weighs more than what is in another window: where all of a window is masked, all of it is seen.
        masked = (1.0 - attention_mask.float()) * least
        mask = torch.where(place[:, None] == place[None, :], masked, 3 * least)
        context, *_ = self.self(hidden_states, hidden_states, mask[:, None])
        return (self.output(context, hidden_states),)

    return forward
