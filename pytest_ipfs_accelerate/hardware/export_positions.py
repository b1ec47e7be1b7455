"""Positions that follow what a model has seen so far, or how many inputs it was given, for the time of a trace."""

from __future__ import annotations

import math
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .export_registry import replaces


@replaces(
    "seamless_m4t.modeling_seamless_m4t.SeamlessM4TConformerRelPositionalEmbedding.forward",
    "wav2vec2_bert.modeling_wav2vec2_bert.Wav2Vec2BertRelPositionalEmbedding.forward",
    "wav2vec2_conformer.modeling_wav2vec2_conformer.Wav2Vec2ConformerRelPositionalEmbedding.forward",
)
def positions_of_this_length(original: Any) -> Any:
    """The table of relative positions grows with the longest sound so far (``self.pe = self.extend_pe(…)``), and a trace takes
    it for a constant: a program of seamless_m4t took no sound longer than the one that it was traced from. The positions of
    this length are computed."""

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        length = hidden_states.shape[1]
        place = torch.arange(length - 1, -length, -1, device=hidden_states.device).float()[:, None]
        step = torch.arange(0, self.d_model, 2, device=hidden_states.device).float()
        angle = place * torch.exp(step * -(math.log(10000.0) / self.d_model))
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None].to(hidden_states.dtype)

    return forward


@replaces("prophetnet.modeling_prophetnet.ProphetNetPositionalEmbeddings.forward")
def position_behind_the_past(original: Any) -> Any:
    """``int()`` makes a constant of the length of the past, which is where the next token stands."""

    @wraps(original)
    def forward(
        self: Any,
        inputs_shape: Any,
        device: Any,
        attention_mask: Any = None,
        past_key_values: Any = None,
        position_ids: Any = None,
    ) -> Any:
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        if past == 0 or position_ids is not None:
            return original(self, inputs_shape, device, attention_mask, past_key_values, position_ids)
        position_ids = torch.full((1, 1), self.padding_idx + inputs_shape[1] + past, dtype=torch.long, device=device)
        return self._forward(position_ids), position_ids

    return forward


@replaces(
    "tvp.modeling_tvp.TvpFramePadPrompter.forward",
    "tvp.modeling_tvp.TvpVisualInputEmbedding.add_2d_positional_embeddings",
)
def added_to_any_batch(original: Any) -> Any:
    """The frame that is put around each picture is repeated as a list of the batch, which a trace takes for its own, and the
    positions of the columns are viewed as a table for each picture, of which there is one (``modeling_tvp.py:242``): torch
    takes no second. What is added is what one picture of zeros becomes."""

    @wraps(original)
    def add(self: Any, pictures: Tensor, **kwargs: Any) -> Tensor:
        return pictures + original(self, torch.zeros_like(pictures[:1]), **kwargs)  # type: ignore[no-any-return]

    return add


@replaces("funnel.modeling_funnel.FunnelAttentionStructure.get_position_embeds")
def positions_that_are_pooled(original: Any) -> Any:
    """The positions are Python lists of a text's length, which a trace takes for its own. Of each list that is pooled three
    numbers are asked for: where it begins, where it ends, and how many there are. (A block pools what has more than two
    tokens, ``modeling_funnel.py:559``, and a program all that its trace did: four tokens are too few for three blocks.)"""

    @wraps(original)
    def embed(self: Any, length: int, dtype: torch.dtype, device: Any) -> Any:
        config = self.config
        if config.attention_type == "factorized":
            return original(self, length, dtype, device)
        frequency = torch.arange(0, config.d_model // 2, 1.0, device=device).to(dtype) / (config.d_model // 2)

        def between(begins: int, ends: int, stride: int) -> Tensor:
            place = torch.arange(begins, ends - 1, -stride, device=device).to(dtype)
            angle = place[:, None] * (1 / 10000**frequency)
            return torch.cat([angle.sin(), angle.cos()], dim=-1)

        first, last, count, embedded = 0, length - 1, length, []
        for block in range(config.num_blocks):
            stride, pooling = 2**block, None
            if block:
                was, (first, last, count) = (first, last), pooled(config, first, count, block)
                pooling = between(first - was[0] + count * stride, first - was[1], stride // 2)
            embedded.append([between(count * stride, first - last, stride), pooling])
        return embedded

    return embed


def pooled(config: Any, first: int, count: int, block: int) -> tuple[int, int, int]:
    """Where the positions of a funnel's block begin and end and how many there are, of those of the block before it, which
    stand ``2 ** (block - 1)`` apart behind a class token."""
    if not config.separate_cls:
        count = (count + 1) // 2
        return first, first + (count - 1) * 2**block, count
    count = (count - config.truncate_seq) // 2
    return 1 - 2**block, 1 + (count - 1) * 2**block, 1 + count


@replaces("reformer.modeling_reformer.AxialPositionEmbeddings.forward")
def positions_of_any_batch(original: Any) -> Any:
    """The positions of each text are selected in a loop over the batch, from rows that are cut at the last position. A position
    is embedded by its row and by its column."""

    @wraps(original)
    def forward(self: Any, position_ids: Tensor) -> Any:
        if self.training:
            return original(self, position_ids)
        width = self.axial_pos_shape[1]
        return torch.cat(
            [self.weights[0][:, 0][position_ids // width], self.weights[1][0][position_ids % width]], dim=-1
        )

    return forward


@replaces("speech_to_text.modeling_speech_to_text.Speech2TextSinusoidalPositionalEmbedding.forward")
def waves_of_every_position(original: Any) -> Any:
    """The table of positions is made anew for a sound that is longer than it, and a trace keeps the one that it has. The
    positions that are asked for are computed."""

    @wraps(original)
    def forward(self: Any, input_ids: Tensor, past_key_values_length: Any = 0) -> Tensor:
        place = self.create_position_ids_from_input_ids(input_ids, self.padding_idx, past_key_values_length)
        half = self.embedding_dim // 2
        frequency = torch.exp(torch.arange(half, device=place.device) * -(math.log(10000) / (half - 1)))
        angle = place[..., None] * frequency
        waves = F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, self.embedding_dim % 2))
        return torch.where(place[..., None] == self.padding_idx, 0.0, waves).to(self.weights.dtype)

    return forward
