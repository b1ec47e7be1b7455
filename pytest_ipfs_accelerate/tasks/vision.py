"""Tasks on pictures with one forward."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
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


class ObjectDetection(Task):
    """What is where: score, label and box in pixels of the picture, best first, above the threshold (``threshold`` among the
    inputs of the row, else the pipeline's 0.5)."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        batched = SimpleNamespace(**{name: outputs[name][None] for name in ("logits", "pred_boxes")})
        size = [(natural.height, natural.width)]
        threshold = self.options.get("threshold", 0.5)
        found = self.processor.post_process_object_detection(batched, threshold=threshold, target_sizes=size)[0]
        corners = ("xmin", "ymin", "xmax", "ymax")
        return [
            {
                "score": score,
                "label": self.label(label),
                "box": dict(zip(corners, map(int, box), strict=True)),
            }
            for score, label, box in zip(*(found[key].tolist() for key in ("scores", "labels", "boxes")), strict=True)
        ]
