"""Tasks whose answer is generated token by token, greedily, with a key-value cache.

The endpoint gives ``tokens`` (batch × new tokens) and ``logits`` (batch × new tokens × vocabulary), both of the generated
part alone, so that left padding of the prompt moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.processors import tokenizer_of
from ..models.samples import picture
from .base import Row, Task
from .inputs import Modality, Text, padding_options


class Generation(Task):
    """Shared by the generating tasks."""

    generates = True

    def text(self, outputs: Row) -> str:
        """The generated text, special tokens left out."""
        return str(tokenizer_of(self.processor).decode(outputs["tokens"], skip_special_tokens=True))


class TextGeneration(Generation):
    """A text continued. As the pipeline: the prompt and what follows it."""

    def __init__(self, checkpoint: Any) -> None:
        super().__init__(checkpoint)
        # A text decoder takes text whatever its family is called (whisper's is an audio model).
        self.modality: Modality = Text(checkpoint)

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        tokenizer = tokenizer_of(self.processor)
        encoded = tokenizer(
            list(inputs), return_tensors="pt", padding_side="left", add_special_tokens=False, **padding_options(pad_to)
        )
        return {name: tensor for name, tensor in encoded.items() if name in ("input_ids", "attention_mask")}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return [{"generated_text": natural + self.text(outputs)}]


class AutomaticSpeechRecognition(Generation):
    """What was said."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return {"text": self.text(outputs)}


class ImageTextToText(Generation):
    """A text that continues a picture and a prompt. As the pipeline: the prompt and what follows it."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return [{"input_text": natural["text"], "generated_text": natural["text"] + self.text(outputs)}]


class AnyToAny(Generation):
    """A chat: messages of text and pictures in, a text out. Natural input: a list of chat messages."""

    def samples(self) -> tuple[Any, Any]:
        def ask(text: str, seed: int) -> list[dict[str, Any]]:
            content = [{"type": "image", "image": picture(seed)}, {"type": "text", "text": text}]
            return [{"role": "user", "content": content}]

        return ask("what is in the image ?", 0), ask("how many people are in the room ? there are", 1)

    def batch(self, inputs: Any) -> list[Any]:
        # One chat is itself a list, of messages.
        return [inputs] if isinstance(inputs[0], dict) else inputs

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        encoded = self.processor.apply_chat_template(
            list(inputs),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=padding_options(pad_to),
        )
        return {name: tensor for name, tensor in encoded.items() if isinstance(tensor, torch.Tensor)}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return [{"input_text": natural, "generated_text": self.text(outputs)}]
