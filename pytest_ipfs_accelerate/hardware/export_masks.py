"""Masks that a model makes if its data says so, or in Python, for the time of a trace: always, and in the graph."""

from __future__ import annotations

import sys
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers.exporters.utils import patch_attributes
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from .export_registry import given, replaces


@replaces("fsmt.modeling_fsmt.make_padding_mask")
def padding_mask_always(original: Any) -> Any:
    """``make_padding_mask`` gives no mask where nothing is padded, which it finds with ``any()``: the trace cannot know. A mask
    of zeros masks nothing, too."""

    def make_padding_mask(input_ids: Tensor, padding_idx: int = 1) -> Tensor:
        return input_ids.eq(padding_idx)

    return make_padding_mask


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    **kwargs: Any,
) -> Any:
    """Attention of (1, heads, tokens, width) in which each token sees those of its own picture, whose first tokens are
    ``cu_seq_lens_q``."""
    if cu_seq_lens_q is not None:
        place = torch.arange(query.shape[2], device=query.device)
        picture = (place[:, None] >= cu_seq_lens_q[None, 1:]).sum(-1)
        attention_mask = (picture[:, None] == picture[None, :])[None, None]
    arguments = {name: value for name, value in kwargs.items() if name in ("dropout", "scaling", "is_causal")}
    return sdpa_attention_forward(module, query, key, value, attention_mask, **arguments)


@replaces(
    *(
        f"{name}.modeling_{name}.{attention}.forward"
        for name, attention in {
            "cosmos3_edge": "Cosmos3EdgeVisionAttention",
            "dots3_note": "Dots3NoteVisionAttention",
            "glm5_next": "Glm5NextVisionAttention",
            "glm_ocr": "GlmOcrVisionAttention",
            "glm_image": "GlmImageVisionAttention",
            "hunyuan_vl": "HunYuanVLVisionAttention",
            "qwen4_exp": "Qwen4ExpVisionAttention",
            "radio": "RadioAttention",
        }.items()
    )
)
def pictures_kept_apart_by_a_mask(original: Any) -> Any:
    """Pictures that are packed into one sequence are split by ``lengths.tolist()`` and attended to one by one. The exporter
    replaces that in some classes, not in these, and in dots3_note and glm_ocr without their norms of queries and keys. The
    branch for flash attention is one call with the lengths; it is taken, with an attention that masks."""
    module = sys.modules[original.__module__]
    stand_ins = {
        "is_flash_attention_requested": lambda config: True,
        "get_max_seqlen": lambda *args, **kwargs: None,
        "ALL_ATTENTION_FUNCTIONS": SimpleNamespace(get_interface=lambda *args: packed_attention),
    }

    @wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with patch_attributes([(module, name, partial(given, stand_in)) for name, stand_in in stand_ins.items()]):
            return original(self, *args, **kwargs)

    return forward


@replaces(
    "eomt.modeling_eomt.EomtForUniversalSegmentation.forward",
    "eomt_dinov3.modeling_eomt_dinov3.EomtDinov3ForUniversalSegmentation.forward",
)
def masks_as_in_training(original: Any) -> Any:
    """Whether a block masks what its queries see is asked of a buffer of the checkpoint, ``attn_mask_probs``, which a trace
    does not read. In training it is not asked: the mask is made, and :class:`Masked` leaves it where the buffer says so."""

    @wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        trains = self.training
        self.training, self._disable_attention_mask = True, Masked()  # of this module alone, not of those in it
        try:
            return original(self, *args, **kwargs)
        finally:
            self.training = trains
            del self._disable_attention_mask

    return forward


class Masked:
    """What stands in for ``_disable_attention_mask`` in one forward: the masks (batch, tokens, tokens) of its blocks, written
    without an index of as many queries as are drawn to see every patch."""

    def __init__(self) -> None:
        self._before: Tensor | None = None

    def __call__(
        self, mask: Tensor, prob: Tensor, num_query_tokens: int, encoder_start_tokens: int, device: Any
    ) -> Tensor:
        """``mask``, with a query free with a chance of 1 - ``prob``; for a ``prob`` of 0 that of the block before it, which
        the model keeps, and at first one that masks nothing."""
        before = torch.ones_like(mask) if self._before is None else self._before
        free = torch.rand(mask.shape[0], num_query_tokens, device=device) > prob
        patches = mask[:, :num_query_tokens, encoder_start_tokens:]
        mask[:, :num_query_tokens, encoder_start_tokens:] = patches | free[..., None]
        asked = prob > 0
        self._before = (mask & asked) | (before & ~asked)  # no where: ONNX Runtime has none for booleans
        return self._before


@replaces("cpmant.modeling_cpmant.CpmAntModel._prepare_attention_mask")
def padding_counted_from_the_end(original: Any) -> Any:
    """How far each token is from the end is a list of Python (``torch.tensor(list(range(…))[::-1])``), which a trace takes for
    a constant of its own length. And the mask is made of Booleans and of numbers that are 0 or 1, bit by bit, which neither
    Core ML nor the HTP does: of Booleans alone."""

    def prepare(self: Any, input_ids: Tensor, span: Tensor, context: Tensor, length: Tensor) -> Tensor:
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        free: Tensor = context != 0
        behind = ~free[:, :, None] & (place[None, :] <= place[:, None])
        mask = (free[:, None, :] | behind) & (span[:, None, :] == span[:, :, None])
        kept = (place < self.prompt_length) | (input_ids.shape[1] - 1 - place < length[:, None])
        seen: Tensor = kept[:, :, None] & kept[:, None, :] & mask
        return seen.to(context.dtype)

    return prepare


@replaces("oneformer.modeling_oneformer.OneFormerTransformerDecoderLayer.forward")
def masked_rows_by_comparison(original: Any) -> Any:
    """What a query sees none of it sees all of, at the places that ``torch.where`` gives: as many as the data says. The same
    without them."""

    def forward(
        self: Any,
        index: int,
        output: Tensor,
        multi_stage_features: list[Tensor],
        multi_stage_positional_embeddings: list[Tensor],
        attention_mask: Tensor,
        query_embeddings: Tensor | None = None,
        output_attentions: bool | None = False,
    ) -> tuple[Any, ...]:
        level = index % self.num_feature_levels
        nothing = attention_mask.sum(-1, keepdim=True) == attention_mask.shape[-1]
        output, across = self.cross_attn(
            output,
            multi_stage_features[level],
            memory_mask=attention_mask & ~nothing,
            memory_key_padding_mask=None,
            pos=multi_stage_positional_embeddings[level],
            query_pos=query_embeddings,
        )
        output, within = self.self_attn(
            output, output_mask=None, output_key_padding_mask=None, query_pos=query_embeddings
        )
        output = self.ffn(output)
        return (output, within, across) if output_attentions else (output,)

    return forward
