"""Texts that a model takes one by one, or in pieces, for the time of a trace, which would unroll its own batch and length."""

from __future__ import annotations

import sys
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from transformers.exporters.utils import patch_attributes

from .export_registry import given, replaces


@replaces("omdet_turbo.modeling_omdet_turbo.OmDetTurboPreTrainedModel.get_language_embedding")
def texts_without_a_cache(original: Any) -> Any:
    """The embedding of each class and task is looked for in a cache of Python by its tokens, which ``tolist()`` reads, and the
    classes of each picture are put together in a loop. All are embedded, and a task keeps the tokens that its mask leaves
    out."""

    def embedding(
        self: Any,
        classes_input_ids: Tensor,
        classes_attention_mask: Tensor,
        tasks_input_ids: Tensor,
        tasks_attention_mask: Tensor,
        classes_structure: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        embedded = self.language_backbone(classes_input_ids, encode_type="class")
        most = classes_structure.max().item()
        torch._check(most > 1)  # type: ignore[no-untyped-call]
        place = torch.arange(most, device=embedded.device)[:, None]
        inside = place < classes_structure
        first = classes_structure.cumsum(0) - classes_structure
        classes = embedded[torch.where(inside, place + first, 0)]
        tasks = self.language_backbone.model(tasks_input_ids)[0].transpose(0, 1)
        return torch.where(inside[..., None], classes, 0.0), tasks, tasks_attention_mask

    return embedding


@replaces("xmod.modeling_xmod.XmodOutput.lang_adapter")
def every_language_adapted(original: Any) -> Any:
    """The texts of each language are picked by a mask and put back adapted, as many as there are: a shape that depends on data
    where it is the same for all. Each adapter takes all of them, and its mask picks from what it gives."""

    def lang_adapter(self: Any, lang_ids: Tensor, hidden_states: Tensor) -> Tensor:
        residual = hidden_states
        if self.adapter_layer_norm is not None:
            hidden_states = self.adapter_layer_norm(hidden_states)
        elif self.adapter_reuse_layer_norm:
            hidden_states = self.LayerNorm(hidden_states)
        if self.ln_before_adapter:
            residual = hidden_states
        adapted = torch.zeros_like(hidden_states)
        for place, adapter in enumerate(self.adapter_modules.values()):
            adapted = torch.where((lang_ids == place)[:, None, None], adapter(hidden_states), adapted)
        dropped: Tensor = self.dropout(adapted)
        return dropped + residual

    return lang_adapter


@replaces("canine.modeling_canine.CanineModel._downsample_attention_mask")
def mask_pooled_in_rows(original: Any) -> Any:
    """``max_pool1d`` makes a constant of the length of what it pools. The mask is pooled as a table."""

    def downsample(self: Any, char_attention_mask: Tensor, downsampling_rate: int) -> Tensor:
        batch, length = char_attention_mask.shape
        count = length // downsampling_rate
        rows = char_attention_mask[:, : count * downsampling_rate].reshape(batch, count, downsampling_rate)
        return rows.float().amax(-1)

    return downsample


@replaces("diffusion_gemma.modeling_diffusion_gemma.DiffusionGemmaDecoderModel.forward")
def mask_written_out(original: Any) -> Any:
    """A mask that masks nothing is left away, which ``all()`` finds: the trace cannot know. It is always written out. (Not the
    static method that asks: put back by ``patch_attributes`` it would be a method.)"""

    @wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with patch_attributes([(Tensor, "all", partial(given, lambda *_, **__: False))]):
            return original(self, *args, **kwargs)

    return forward


@replaces("udop.modeling_udop.combine_image_text_embeddings")
def patches_without_a_word(original: Any) -> Any:
    """A word gets the patch of the picture that it stands on, and the patches under no word follow the text. They are found in
    loops over the words and the pages; here they are sorted behind those that are taken."""
    module = sys.modules[original.__module__]

    def combine(
        image_embeddings: Tensor,
        inputs_embeds: Tensor,
        bbox: Tensor,
        visual_bbox: Tensor | None,
        attention_mask: Tensor | None = None,
        num_patches: int = 14,
        max_len: int = 0,
        image_size: int = 224,
        patch_size: int = 16,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        patches, width = image_embeddings.shape[1:]
        column, row = (
            torch.floor((bbox[..., low] + bbox[..., low + 2]) / 2.0 * num_patches).long().clip(0, num_patches - 1)
            for low in (0, 1)
        )
        patch, bbox = row * num_patches + column, bbox.double()
        nowhere = (bbox.mean(-1) == 0.0) | (bbox.mean(-1) == 1.0)
        under = image_embeddings.gather(1, patch[..., None].expand(-1, -1, width))
        embedded = inputs_embeds + torch.where(nowhere[..., None], 0.0, under)
        taken = (patch[..., None] == torch.arange(patches, device=patch.device)).any(1)
        place = torch.arange(patches if max_len == 0 else max_len - inputs_embeds.shape[1], device=patch.device)
        inside = place < (~taken).sum(1, keepdim=True)
        order = torch.argsort(taken.long(), dim=1, stable=True)[:, place.clamp(max=patches - 1), None]
        if visual_bbox is None:
            boxes = module.get_visual_bbox(image_size=image_size, patch_size=patch_size).to(bbox)
            visual_bbox = boxes[None].expand(patch.shape[0], -1, -1)
        rest = torch.where(inside[..., None], image_embeddings.gather(1, order.expand(-1, -1, width)), 0.0)
        boxes = torch.where(inside[..., None], visual_bbox.to(bbox).gather(1, order.expand(-1, -1, 4)), 0.0)
        if attention_mask is not None:
            attention_mask = torch.cat([attention_mask, inside.to(attention_mask.dtype)], dim=1)
        return torch.cat([embedded, rest], dim=1), torch.cat([bbox, boxes], dim=1), attention_mask

    return combine
