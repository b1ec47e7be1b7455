"""Embeddings: the hidden states of a model without a head."""

from __future__ import annotations

from typing import Any

from .base import Row, Task


class FeatureExtraction(Task):
    """The first output of the model, nested lists as the pipeline gives them: positions × hidden size. A contrastive model
    has one embedding for each of its inputs instead, by name."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        if "last_hidden_state" in outputs:
            return outputs["last_hidden_state"].float().tolist()
        return {name: tensor.float().tolist() for name, tensor in outputs.items() if name.endswith("_embeds")}


class ImageFeatureExtraction(FeatureExtraction):
    """The same, of a picture."""


class TextEncoding(FeatureExtraction):
    """The same, of a text encoder."""


class Backbone(Task):
    """Feature maps, one a stage: their sizes. The maps themselves are compared as raw outputs."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        return {name: list(tensor.shape) for name, tensor in outputs.items() if name.startswith("feature_maps")}
