"""Tasks that find points, or answer to given ones."""

from __future__ import annotations

from typing import Any

from .base import Row, Task


class Points(Task):
    """Shared by them: the raw outputs are the answer, as far as they are not hidden states."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        hidden = ("hidden_states", "attentions", "embeddings", "last_hidden_state", "feature")
        return {
            name: tensor.float().numpy() if tensor.is_floating_point() else tensor.tolist()
            for name, tensor in outputs.items()
            if not any(part in name for part in hidden)
        }


class KeypointDetection(Points):
    """The points of a picture that stand out: ``keypoints``, ``scores`` and ``descriptors``."""


class KeypointMatching(Points):
    """Which points of two pictures are the same: ``matches`` holds for each point the index of its counterpart, or -1."""


class MaskGeneration(Points):
    """Masks around given points: the raw masks, and the score that the model gives each."""


class PoseEstimation(Points):
    """Where the joints of a person are: for each the pixel of its heat map that is hottest, and how hot."""

    def read(self, outputs: Row) -> Any:
        heat = outputs["heatmaps"].float()
        best = heat.flatten(1).max(-1)
        rows = best.indices.div(heat.shape[-1], rounding_mode="floor").tolist()
        columns = (best.indices % heat.shape[-1]).tolist()
        return [
            {"row": row, "column": column, "score": score}
            for row, column, score in zip(rows, columns, best.values.tolist(), strict=True)
        ]
