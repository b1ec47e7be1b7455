"""Tasks on pictures with one forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..parity import box_differences, differences
from .base import Classification, Row, Task, batched


class ImageClassification(Classification):
    """The labels of a picture, best first."""


class VideoClassification(Classification):
    """The labels of a film, best first."""


class CausalImageModeling(Task):
    """The next pixel of a picture: the likeliest colour after each."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)


class MaskedImageModeling(Task):
    """The picture as the model fills in its masked patches: every second patch is masked, so that each has neighbours to
    be read from."""

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        encoded = super().encode(inputs, pad_to)
        patches = (self.config.image_size // self.config.patch_size) ** 2
        masked = torch.arange(patches) % 2 == 0
        return {**encoded, "bool_masked_pos": masked.repeat(len(inputs), 1)}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return {**self.read(outputs), "masked_patches": int(encoded["bool_masked_pos"].sum())}

    def read(self, outputs: Row) -> Any:
        return {"reconstruction": outputs["reconstruction"].float().numpy()}


class ObjectDetection(Task):
    """What is where: score, label and box in pixels of the picture, best first, above the threshold (``threshold`` among the
    inputs of the row, else the pipeline's 0.5)."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        size = [(natural.height, natural.width)]
        threshold = self.options.get("threshold", 0.5)
        found = self.processor.post_process_object_detection(batched(outputs), threshold=threshold, target_sizes=size)[
            0
        ]
        return [
            {
                "score": score,
                "label": self.label(label),
                "box": dict(zip(CORNERS, map(int, box), strict=True)),
            }
            for score, label, box in zip(*(found[key].tolist() for key in ("scores", "labels", "boxes")), strict=True)
        ]

    def read(self, outputs: Row) -> Any:
        """Of every query the best class and the box, as shares of the picture; a map of scores where the model gives no
        boxes."""
        if "pred_boxes" not in outputs:
            return super().read(outputs)
        best = outputs["logits"].float().softmax(-1).max(-1)
        corners = _corners(outputs["pred_boxes"].float()).tolist()
        return [
            {"score": score, "label": self.label(label), "box": dict(zip(CORNERS, box, strict=True))}
            for score, label, box in zip(best.values.tolist(), best.indices.tolist(), corners, strict=True)
        ]

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        compare = box_differences if isinstance(expected, list) else differences
        return compare(expected, actual, bound, where)


CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _corners(boxes: Tensor) -> Tensor:
    """Boxes given by centre and size as boxes given by corners."""
    centre, size = boxes[..., :2], boxes[..., 2:4]
    return torch.cat([centre - size / 2, centre + size / 2], -1)
