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


class Modality(ABC):
    """One kind of natural input. ``padding`` is how many positions of padding the padded form of the first sample carries,
    0 where inputs of this kind are never padded."""

    padding: int = 0

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

    padding = 4

    def samples(self) -> tuple[Any, Any]:
        return SHORT_TEXT, LONG_TEXT

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        tokenizer = tokenizer_of(self.processor)
        pairs = [item if isinstance(item, dict) else {"text": item} for item in inputs]
        # A model that reads its last token wants it to be the end of the text.
        suffix = self.checkpoint.recipe.inputs.get("suffix", "")
        first = [pair["text"] + suffix for pair in pairs]
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

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.extractor = getattr(self.processor, "feature_extractor", self.processor)
        # One that gives no mask makes every input the same length by itself.
        self.padding = 1600 if getattr(self.extractor, "return_attention_mask", False) else 0

    def samples(self) -> tuple[Any, Any]:
        rate = self.extractor.sampling_rate
        first, second = sound(0, rate=rate), sound(1, seconds=0.8, rate=rate)
        return {"raw": first, "sampling_rate": rate}, {"raw": second, "sampling_rate": rate}

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        rates = {item["sampling_rate"] for item in inputs}
        if len(rates) > 1:
            raise ValueError(f"one batch holds sounds of different sampling rates: {sorted(rates)}")
        options = padding_options(pad_to) if self.padding else {}
        sounds = [item["raw"] for item in inputs]
        return dict(self.extractor(sounds, sampling_rate=rates.pop(), return_tensors="pt", **options))


class PictureAndText(Modality):
    """``{"text": …, "images": picture}``; the text of a model that generates holds its processor's image token where the
    picture belongs."""

    padding = 4

    def samples(self) -> tuple[Any, Any]:
        # One that marks the beginning of a picture puts the image tokens after it by itself.
        token = getattr(self.processor, "boi_token", "") or getattr(self.processor, "image_token", "")
        return (
            {"text": f"{token} what is in the image ?".lstrip(), "images": picture(0)},
            {"text": f"{token} how many people are in the room ? there are".lstrip(), "images": picture(1, size=64)},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        texts, pictures = [item["text"] for item in inputs], [[item["images"]] for item in inputs]
        return dict(self.processor(text=texts, images=pictures, return_tensors="pt", **padding_options(pad_to)))


class SoundAndText(Modality):
    """``{"text": …, "audio": waveform}``, the waveform at the sampling rate of the processor; the text of a model that answers
    it holds its processor's audio token where the sound belongs."""

    padding = 4

    def samples(self) -> tuple[Any, Any]:
        rate = self.processor.feature_extractor.sampling_rate
        token = getattr(self.processor, "audio_token", "")
        return (
            {"text": f"{token} a dog in the garden".lstrip(), "audio": sound(0, rate=rate)},
            {"text": f"{token} the quick sound of water in the rain".lstrip(), "audio": sound(1, rate=rate)},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        rate = self.processor.feature_extractor.sampling_rate
        texts, sounds = [item["text"] for item in inputs], [item["audio"] for item in inputs]
        kinds = {"text_kwargs": padding_options(pad_to), "audio_kwargs": {"sampling_rate": rate}}
        return dict(self.processor(text=texts, audio=sounds, return_tensors="pt", **kinds))


class Film(Modality):
    """``{"videos": [picture, …]}``, as many pictures as the model takes frames."""

    def samples(self) -> tuple[Any, Any]:
        return {"videos": self.film(0)}, {"videos": self.film(20)}

    def film(self, seed: int) -> list[Any]:
        config = getattr(self.checkpoint.config, "vision_config", self.checkpoint.config)
        return [picture(seed + frame) for frame in range(config.num_frames)]

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        return dict(self.processor([item["videos"] for item in inputs], return_tensors="pt"))


class FilmAndText(Film):
    """``{"text": …, "videos": [picture, …]}``, as many pictures as the model takes frames."""

    padding = 4

    def samples(self) -> tuple[Any, Any]:
        return (
            {"text": "two birds sit on the fence", "videos": self.film(0)},
            {"text": "the quick brown fox jumps over the lazy dog", "videos": self.film(20)},
        )

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        films = self.processor.image_processor([item["videos"] for item in inputs], return_tensors="pt")
        texts = self.processor.tokenizer(
            [item["text"] for item in inputs], return_tensors="pt", **padding_options(pad_to)
        )
        return {**texts, **films}


_MODALITIES: dict[str, type[Modality]] = {
    "text": Text,
    "image": Picture,
    "audio": Sound,
    "image-text": PictureAndText,
    "audio-text": SoundAndText,
    "video": Film,
    "video-text": FilmAndText,
}

_OF_CATEGORY = {"language": "text", "vision": "image", "audio": "audio", "multimodal": "image-text"}


def modality_of(checkpoint: Checkpoint) -> Modality:
    """The modality of a checkpoint: ``modality`` among the inputs of its row, else that of its category.

    Raises:
        KeyError: there is none of that name.
    """
    recipe = checkpoint.recipe
    return _MODALITIES[recipe.inputs.get("modality") or _OF_CATEGORY[recipe.category]](checkpoint)


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
