"""Tasks on pictures with one forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .base import Classification, Row, Task


class ImageClassification(Classification):
    """The labels of a picture, best first."""


class MaskedImageModeling(Task):
    """The picture as the model fills in its masked patches: every second patch is masked, so that each has neighbours to
    be read from."""

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        encoded = super().encode(inputs, pad_to)
        patches = (self.config.image_size // self.config.patch_size) ** 2
        masked = torch.arange(patches) % 2 == 0
        return {**encoded, "bool_masked_pos": masked.repeat(len(inputs), 1)}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return {
            "reconstruction": outputs["reconstruction"].float().numpy(),
            "masked_patches": int(encoded["bool_masked_pos"].sum()),
        }
