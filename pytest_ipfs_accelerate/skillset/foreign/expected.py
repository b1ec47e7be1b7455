"""What the reference answers to a natural input, in every form in which a skill class may rightly give it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...handlers import Handler
from ...models.processors import tokenizer_of
from ...tasks.base import Classification, Task
from ...tasks.generation import TextGeneration
from ...tasks.inputs import Text
from ...tasks.text import FillMask, MultipleChoice
from ...tasks.zero_shot import ZeroShot

LONGEST = 128
"""New tokens of the reference at most, for a text that goes on beyond what the checkpoint's generation config says: the class
may ask for more."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way of encoding a natural input, and what the reference makes of it. ``row`` are the outputs without batch axis."""

    how: str
    encoded: dict[str, Tensor]
    row: dict[str, Tensor]
    decoded: Any
    generates: bool


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A vector of scores, and the name and index of each."""

    names: Sequence[str]
    logits: Tensor
    source: str


class Expected:
    """The answer of a reference handler to one natural input."""

    def __init__(self, handler: Handler, natural: Any) -> None:
        self.handler = handler
        self.task = handler.task
        self.natural = natural

    @cached_property
    def ways(self) -> list[Way]:
        """The task's own way first; then how a tokenizer encodes where nobody tells it otherwise, or labels without the
        pipeline's sentence around them."""
        found: list[Way] = []
        for how, task, encoded in _encodings(self.task, self.natural):
            if any(_same(encoded, way.encoded) for way in found):
                continue
            result = Handler(self.handler.case, task, self.handler.endpoint).handle([self.natural], encoded)
            row = {name: _first(tensor) for name, tensor in result.outputs.items()}
            found.append(Way(how, encoded, row, result.decoded[0], task.generates))
        return found

    @property
    def decoded(self) -> Any:
        """The answer as the pipeline of the task gives it."""
        return self.ways[0].decoded

    @cached_property
    def numbers(self) -> list[tuple[str, Tensor]]:
        """Everything that may be made of the outputs, by what it is: each as it is, pooled, normalised, as probabilities."""
        found: list[tuple[str, Tensor]] = []
        for way in self.ways:
            suffix = f", {way.how}" if way is not self.ways[0] else ""
            for name, tensor in way.row.items():
                found += [(f"{what}{suffix}", made) for what, made in _forms(name, tensor)]
            found += [(f"{what}{suffix}", made) for what, made in _similarities(way.row)]
        return found

    @property
    def scored(self) -> list[Scored]:
        """The scores of named things, one for each way."""
        found = (_scored(self.task, way, self.natural) for way in self.ways)
        return [scored for scored in found if scored is not None]

    def longer(self, way: Way, count: int) -> Tensor:
        """``count`` new tokens of the reference, or as many as the model has positions for."""
        model: Any = self.task.checkpoint.model
        begins: list[int] = way.row["tokens"].tolist()
        prompt = way.encoded["input_ids"].shape[1] if "input_ids" in way.encoded else 0
        room = getattr(model.config.get_text_config(), "max_position_embeddings", None) or LONGEST
        count = min(count, LONGEST, room - prompt - 1)
        if count <= len(begins):
            return way.row["tokens"]
        with torch.no_grad():
            tokens: Tensor = model.generate(**way.encoded, max_new_tokens=count)[0]
        # A decoder-only model gives its prompt first, another its start token.
        ids = tokens.tolist()
        at = next((at for at in range(len(ids)) if ids[at : at + len(begins)] == begins), None)
        return way.row["tokens"] if at is None else tokens[at:]


def _first(tensor: Tensor) -> Tensor:
    return tensor[0] if tensor.dim() and tensor.shape[0] == 1 else tensor


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _encodings(task: Task, natural: Any) -> Iterator[tuple[str, Task, dict[str, Tensor]]]:
    own = task.encode([natural])
    yield "as the pipeline encodes it", task, own
    if isinstance(task, ZeroShot):
        plain = type(task)(task.checkpoint)
        plain.hypothesis = "{}"  # type: ignore[misc]
        yield "with the labels alone", plain, plain.encode([natural])
    if isinstance(natural, str) and (isinstance(task.modality, Text) or isinstance(task, TextGeneration)):
        encoded = tokenizer_of(task.processor)(natural, return_tensors="pt")
        yield "as its tokenizer encodes it", task, {**own, **{name: encoded[name] for name in encoded if name in own}}


def _forms(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield name, tensor
    if not tensor.is_floating_point():
        return
    tensor = tensor.float()
    yield from _scaled(name, tensor)
    if tensor.dim() < 2:
        yield from _scores(name, tensor)
        return
    pooled: list[tuple[str, Tensor]] = []
    if tensor.dim() == 2:
        pooled = [
            (f"{name}, mean over positions", tensor.mean(0)),
            (f"{name}, first position", tensor[0]),
            (f"{name}, last position", tensor[-1]),
            (f"{name}, largest over positions", tensor.amax(0)),
        ]
        if len(tensor) > 2:
            pooled.append((f"{name}, mean over all positions but the first", tensor[1:].mean(0)))
            pooled.append((f"{name}, mean over all positions but the first and the last", tensor[1:-1].mean(0)))
    elif tensor.dim() == 3:
        pooled = [(f"{name}, mean over the plane", tensor.mean((1, 2)))]
    for what, made in pooled:
        yield what, made
        yield from _scaled(what, made)
    if name.endswith("logits"):
        yield f"softmax of {name}", tensor.softmax(-1)
        yield f"best of {name}", tensor.argmax(-1)


def _scaled(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if tensor.dim():
        yield f"{name}, L2-normalised", torch.nn.functional.normalize(tensor, dim=-1)


def _scores(name: str, vector: Tensor) -> Iterator[tuple[str, Tensor]]:
    if vector.dim() == 0 or "logits" not in name:
        return
    scores = vector.softmax(-1)
    yield f"softmax of {name}", scores
    yield f"sigmoid of {name}", vector.sigmoid()
    yield f"logarithm of the softmax of {name}", vector.log_softmax(-1)
    yield f"softmax of {name}, best first", scores.sort(descending=True).values
    yield f"best of {name}", vector.argmax(-1)
    yield f"probability of the best of {name}", scores.amax(-1)


def _similarities(row: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """How alike the embeddings of a contrastive model are."""
    embeds = {name: tensor.float() for name, tensor in row.items() if name.endswith("_embeds") and tensor.dim() < 3}
    names = list(embeds)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            left, right = (torch.nn.functional.normalize(embeds[name], dim=-1) for name in (first, second))
            if left.shape[-1] == right.shape[-1]:
                yield f"cosine of {first} and {second}", left @ right.mT if right.dim() > 1 else left @ right


def _scored(task: Task, way: Way, natural: Any) -> Scored | None:
    row = way.row
    if isinstance(task, ZeroShot):
        logits = row.get(task.scores)
        return None if logits is None else Scored(natural["candidate_labels"], logits.flatten().float(), "the labels")
    if isinstance(task, FillMask):
        tokenizer = tokenizer_of(task.processor)
        at = (way.encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten().tolist()
        if not at:
            return None
        logits = row["logits"][at[0]].float()
        return Scored([tokenizer.decode([token]) for token in range(len(logits))], logits, "the mask")
    if isinstance(task, MultipleChoice):
        return Scored(natural["choices"], row["logits"].flatten().float(), "the choices")
    logits = row.get("logits", row.get("last_hidden_state") if isinstance(task, Classification) else None)
    if logits is None or (logits.dim() != 1 and not isinstance(task, Classification)):
        return None
    logits = logits.flatten().float()
    return Scored([task.label(index) for index in range(len(logits))], logits, "logits")
