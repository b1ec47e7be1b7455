"""Embeddings: the hidden states of a model without a head."""

from __future__ import annotations

from typing import Any

from .base import Row, Task


class FeatureExtraction(Task):
    """The first output of the model, nested lists as the pipeline gives them: positions × hidden size."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return outputs["last_hidden_state"].float().tolist()


class ImageFeatureExtraction(FeatureExtraction):
    """The same, of a picture."""


class TextEncoding(FeatureExtraction):
    """The same, of a text encoder."""
