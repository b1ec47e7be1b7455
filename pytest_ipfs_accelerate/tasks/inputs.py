"""Natural inputs by modality, and how a real processor turns them into tensors.

A task takes the modality of its checkpoint's category and overrides what it needs (a mask token, a pair of sentences).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.processors import tokenizer_of
from ..models.samples import LONG_TEXT, SHORT_TEXT, picture, sound

PADDING = 4
"""Number of padding tokens that the padded form of the first sample carries."""


class Modality(ABC):
    """One kind of natural input. ``pads`` says whether inputs of different lengths are padded to one."""

    pads: bool = False

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.processor = checkpoint.processor

    @abstractmethod
    def samples(self) -> tuple[Any, Any]:
        """Two natural inputs, of different length where the modality has one."""

    @abstractmethod
    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        """The tensors of a batch of natural inputs, batch first; padded to the longest, or to ``pad_to`` positions."""


def padding_options(pad_to: int | None) -> dict[str, Any]:
    return {"padding": True} if pad_to is None else {"padding": "max_length", "max_length": pad_to}


class Text(Modality):
    """A string, or a pair ``{"text": …, "text_pair": …}``."""

    pads = True

    def samples(self) -> tuple[Any, Any]:
        return SHORT_TEXT, LONG_TEXT

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        tokenizer = tokenizer_of(self.processor)
        pairs = [item if isinstance(item, dict) else {"text": item} for item in inputs]
        first = [pair["text"] for pair in pairs]
        second = [pair["text_pair"] for pair in pairs] if "text_pair" in pairs[0] else None
        return dict(tokenizer(first, second, return_tensors="pt", **padding_options(pad_to)))


class Picture(Modality):
    """A PIL image, or an array of height × width × RGB."""

    def samples(self) -> tuple[Any, Any]:
        return picture(0), picture(1, size=64)

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        return dict(self.processor(images=list(inputs), return_tensors="pt"))


class Sound(Modality):
    """``{"raw": waveform, "sampling_rate": hertz}``, as the pipelines of transformers take it."""

    def samples(self) -> tuple[Any, Any]:
        return {"raw": sound(0), "sampling_rate": 16_000}, {"raw": sound(1, seconds=0.8), "sampling_rate": 16_000}

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        extractor = getattr(self.processor, "feature_extractor", self.processor)
        rates = {item["sampling_rate"] for item in inputs}
        if len(rates) > 1:
            raise ValueError(f"one batch holds sounds of different sampling rates: {sorted(rates)}")
        encoded = extractor([item["raw"] for item in inputs], sampling_rate=rates.pop(), return_tensors="pt")
        return dict(encoded)


class PictureAndText(Modality):
    """``{"text": …, "images": picture}``; the text holds the processor's image token where the picture belongs."""

    pads = True

    def samples(self) -> tuple[Any, Any]:
        token = self.processor.image_token
        return (
            {"text": f"{token} what is in the image ?", "images": picture(0)},
            {"text": f"{token} how many people are in the room ? there are", "images": picture(1, size=64)},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        texts, pictures = [item["text"] for item in inputs], [item["images"] for item in inputs]
        return dict(self.processor(text=texts, images=pictures, return_tensors="pt", **padding_options(pad_to)))


_MODALITIES: dict[str, type[Modality]] = {
    "language": Text,
    "vision": Picture,
    "audio": Sound,
    "multimodal": PictureAndText,
}


def modality_of(checkpoint: Checkpoint) -> Modality:
    """The modality of a checkpoint's category.

    Raises:
        KeyError: the category has none here.
    """
    return _MODALITIES[checkpoint.recipe.category](checkpoint)


def other_values(name: str, tensor: Tensor, special: frozenset[int]) -> Tensor | None:
    """``tensor`` with other content of the same shape, or ``None`` for an input that holds no content (a mask).

    Token ids other than special ones are rotated among themselves, and everything else is reversed along its last axis:
    what came first comes last. A model that gives the same output for both does not look at this input.
    """
    if "mask" in name:
        return None
    if tensor.is_floating_point():
        return tensor.flip(-1)
    if not name.endswith("input_ids"):
        return tensor.flip(-1) if (tensor != tensor.flip(-1)).any() else None
    content = ~torch.isin(tensor, torch.tensor(sorted(special), dtype=tensor.dtype))
    changed = tensor.clone()
    changed[content] = tensor[content].roll(1)
    return changed
