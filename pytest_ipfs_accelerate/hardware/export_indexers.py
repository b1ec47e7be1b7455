"""Attention that chooses which tokens it sees, in a loop over the queries of a batch, for the time of a trace."""

from __future__ import annotations

import math
import sys
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.exporters.utils import patch_attributes

from .export_registry import replaces


@replaces("qwen4_exp.modeling_qwen4_exp.Qwen4ExpTextQSAIndexer.forward")
def blocks_chosen_at_once(original: Any) -> Any:
    """The visible tokens of each query are cut into blocks, of which the best are kept, in two Python loops whose steps have as
    many tokens as the mask says (``nonzero``). Under a causal mask the blocks of a query are the first of those of the last
    query, so that there is one table of blocks for each text, and each query says how many of it are complete. (So it is not
    where several texts are packed into one. Of blocks that score alike, mostly 0, the first are kept, and by torch any.)"""
    module = sys.modules[original.__module__]

    def forward(
        self: Any,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor,
        past_key_values: Any,
    ) -> Tensor:
        batch, queries, _ = hidden_states.shape
        ratio, width = self.compress_ratio, self.index_head_dim
        cos, sin = position_embeddings
        query, keys = self.index_qk_proj(hidden_states).split(
            [self.index_n_heads * width, self.index_kv_heads * width], -1
        )
        query = self.q_layernorm(query.reshape(batch, queries, -1, width))
        turned = {"cos": cos[:, -queries:], "sin": sin[:, -queries:], "unsqueeze_dim": 2}
        query = module.apply_rotary_pos_emb(query, **turned)
        keys = keys.reshape(batch, queries, -1, width).squeeze(2)
        if past_key_values is not None:
            keys = past_key_values.update_indexer(keys, self.layer_idx)

        visible = attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0
        visible = visible[:, 0]
        rank = visible[:, -1].long().cumsum(-1) - 1
        count, length = keys.shape[1] // ratio + 1, keys.shape[1]
        order = F.pad(torch.argsort((~visible[:, -1]).long(), dim=-1, stable=True), (0, count * ratio - length))
        tokens = order[..., None].expand(-1, -1, width)
        pooled = keys.gather(1, tokens).view(batch, count, ratio, width).float().mean(2).to(keys.dtype)
        starts = order.view(batch, count, ratio)[..., :1].expand(-1, -1, cos.shape[-1])
        blocks = module.apply_rotary_pos_emb(
            self.k_layernorm(pooled)[:, :, None], cos=cos.gather(1, starts), sin=sin.gather(1, starts), unsqueeze_dim=2
        )[:, :, 0]
        scores = torch.relu(torch.einsum("bqhw,bkw->bqkh", query.float(), blocks.float())).sum(-1) / math.sqrt(width)

        complete = visible.sum(-1) // ratio
        place = torch.arange(count, device=keys.device)
        scores = torch.where(place < complete[..., None], scores, -1.0)
        ahead = (scores[..., None, :] > scores[..., None]) | (
            (scores[..., None, :] == scores[..., None]) & (place[None, :] < place[:, None])
        )
        chosen = (ahead.sum(-1) < self.block_topk) & (scores >= 0)
        block = (rank // ratio).clamp(0, count - 1)[:, None].expand(-1, queries, -1)
        behind = rank[:, None] >= complete[..., None] * ratio
        return (visible & (behind | chosen.gather(-1, block)))[:, None]  # type: ignore[no-any-return]

    return forward


@replaces("glm5_next.modeling_glm5_next.Glm5NextTextIndexer.get_pooled_states")
def every_pool_kept(original: Any) -> Any:
    """The pools of tokens that are complete in no text are left out, as many as there are: a shape that depends on data. They
    stay, and are not valid, so that no query chooses one. (The only ``any`` over the texts says which are kept.)"""

    def kept(of_texts: Any) -> Any:
        return lambda mask, dim: slice(None) if dim == 0 else of_texts(mask, dim)

    @wraps(original)
    def pooled(self: Any, packed_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with patch_attributes([(Tensor, "any", kept)]):
            return original(self, packed_states)  # type: ignore[no-any-return]

    return pooled
