"""Texts of a batch that a model takes one by one, for the time of a trace, which would unroll its own batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .export_registry import replaces


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
