"""What every task is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..models.processors import tokenizer_of
from ..parity import differences, ranked_differences
from .inputs import Modality, modality_of, other_values

Row = Mapping[str, Tensor]
"""The tensors of one input of a batch: no batch axis, no padding."""


class Task(ABC):
    """One task on one checkpoint.

    ``generates`` says that the endpoint is asked to generate rather than to run forward once. ``decode`` reads one row, so
    that an answer never depends on what else was in the batch. ``shares_text`` says that the inputs of a batch have one text in
    common, so that no two of them differ in its length.
    """

    generates: bool = False
    shares_text: ClassVar[bool] = False

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.processor = checkpoint.processor
        self.config = checkpoint.config
        self.options = checkpoint.recipe.inputs

    @cached_property
    def modality(self) -> Modality:
        """The kind of natural input that the checkpoint takes."""
        return modality_of(self.checkpoint)

    def samples(self) -> tuple[Any, Any]:
        """Two natural inputs; of different length where the modality has one, so that a batch of them is padded."""
        return self.modality.samples()

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        """The tensors of a batch of natural inputs, batch first."""
        encoded = self.modality.encode(inputs, pad_to)
        if "decoder_input_ids" in self.forward_arguments and not self.generates and not self.options.get("shifts"):
            encoded["decoder_input_ids"] = self.decoder_tokens.repeat(len(inputs), 1)
        return {name: tensor for name, tensor in encoded.items() if name in self.forward_arguments}

    def batch(self, inputs: Any) -> list[Any]:
        """``inputs`` of a handler as a batch: a list is one already, anything else is one input."""
        return inputs if isinstance(inputs, list) else [inputs]

    @abstractmethod
    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        """The answer for one input, in the form of the transformers pipeline of this task."""

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        """Where two answers to the same input differ; ``bound`` is for numbers, relative and absolute."""
        return differences(expected, actual, bound, where)

    def read(self, outputs: Row) -> Any:
        """What the raw outputs of one input say without a processor: the best class of everything that is scored."""
        return {name: tensor.float().argmax(-1).tolist() for name, tensor in outputs.items() if name.endswith("logits")}

    @property
    def forward_arguments(self) -> frozenset[str]:
        """Names of the arguments of the model's ``forward``."""
        code = type(self.checkpoint.model).forward
        while hasattr(code, "__wrapped__"):
            code = code.__wrapped__
        return frozenset(code.__code__.co_varnames[: code.__code__.co_argcount + code.__code__.co_kwonlyargcount])

    @property
    def decoder_tokens(self) -> Tensor:
        """What the decoder of an encoder-decoder model is fed in one forward: ``(1, 4)``, its start token first."""
        start = self.config.decoder_start_token_id
        return torch.tensor([[start, *(token for token in range(60, 63))]])

    @property
    def unpadded(self) -> str:
        """Why padding moves the output of this model by its nature; empty where it must move nothing."""
        if shifts := self.options.get("padding_shifts"):
            return str(shifts)
        if self.modality.padding and not self.generates and "attention_mask" not in self.forward_arguments:
            return "its forward takes no attention mask"
        return ""

    @property
    def padding_length(self) -> int | None:
        """To how many positions the first sample is padded, or ``None`` where this modality has no padding."""
        if not self.modality.padding:
            return None
        mask = self.encode([self.samples()[0]]).get("attention_mask")
        if mask is None:
            return None
        return int(mask.shape[-1]) + self.modality.padding

    def rows(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[Row]:
        """``tensors`` of a batch as one row for each input, without its padded positions. A tensor whose first axis is not
        the batch (a loss) belongs to no row; :meth:`unassigned` names it."""
        mask = encoded.get("attention_mask")
        size = batch_size(encoded)
        return [
            {
                name: self._row(name, tensor, index, mask)
                for name, tensor in tensors.items()
                if is_batch_major(tensor, size)
            }
            for index in range(size)
        ]

    def unassigned(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[str]:
        """Names of the tensors that belong to no row."""
        return [name for name, tensor in tensors.items() if not is_batch_major(tensor, batch_size(encoded))]

    def _row(self, name: str, tensor: Tensor, index: int, mask: Tensor | None) -> Tensor:
        crossed = (
            "logits_per_" in name
            or name.startswith(("logits_audio_", "logits_video_"))
            or (name.endswith("_embeds") and tensor.dim() == 3)
        )
        if crossed and tensor.shape[0] == tensor.shape[1]:
            # A contrastive model holds every input against every other: its own is what it has alone, too.
            return tensor[index, index : index + 1]
        return self._trim(tensor[index], mask[index] if mask is not None else None)

    def _trim(self, tensor: Tensor, mask: Tensor | None) -> Tensor:
        """One row of a tensor without the positions that ``mask`` says are padding."""
        if self.generates or mask is None or mask.dim() != 1 or tensor.dim() == 0:
            return tensor
        if tensor.shape[0] == mask.shape[0]:
            return tensor[mask.bool()]
        if tensor.shape[0] == self._frames(mask.shape[0]):
            return tensor[: self._frames(int(mask.sum()))]
        return tensor

    def _frames(self, samples: int) -> int | None:
        """How many frames a convolutional speech model makes of so many samples; ``None`` for any other model."""
        count = getattr(self.checkpoint.model, "_get_feat_extract_output_lengths", None)
        return (
            int(count(torch.tensor(samples)))
            if count is not None and "input_values" in self.forward_arguments
            else None
        )

    def variations(self, encoded: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """For each input that holds content: the same batch with other content in that input alone."""
        try:
            special = frozenset(tokenizer_of(self.processor).all_special_ids)
        except TypeError:
            special = frozenset()
        changed = {name: other_values(name, tensor, special) for name, tensor in encoded.items()}
        return {name: {**encoded, name: tensor} for name, tensor in changed.items() if tensor is not None}

    def label(self, index: int) -> str:
        """The name of a class; one that has none is called by its number, as transformers does."""
        names: Any = self.config.id2label or {}
        return str(names.get(index, f"LABEL_{index}"))


def batch_size(encoded: Mapping[str, Tensor]) -> int:
    return int(next(iter(encoded.values())).shape[0])


def is_batch_major(tensor: Tensor, size: int) -> bool:
    return tensor.dim() > 0 and tensor.shape[0] == size


def batched(outputs: Row) -> SimpleNamespace:
    """One row as a batch of one, as the post-processing of transformers takes it."""
    return SimpleNamespace(**{name: tensor[None] for name, tensor in outputs.items()})


def ranked(scores: Tensor, top_k: int = 5) -> list[tuple[int, float]]:
    """The ``top_k`` largest of a vector of scores, best first, equal ones by index."""
    order = torch.argsort(scores, descending=True, stable=True)[:top_k]
    return [(int(index), float(scores[index])) for index in order]


class Classification(Task):
    """Shared by the classifiers: one vector of logits an input, softmax, best label first."""

    top_k: ClassVar[int] = 5

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        # A few classes name their only output otherwise.
        logits = outputs.get("logits", outputs.get("last_hidden_state"))
        if logits is None:
            raise KeyError(f"no logits among the outputs {', '.join(outputs)}")
        scores = logits.float().flatten().softmax(-1)  # some leave an axis of one before the labels
        return [{"label": self.label(index), "score": score} for index, score in ranked(scores, self.top_k)]

    def read(self, outputs: Row) -> Any:
        return self.decode(outputs, {}, None)

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        return ranked_differences(expected, actual, bound, where)
