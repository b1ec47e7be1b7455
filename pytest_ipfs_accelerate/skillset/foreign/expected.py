"""What the reference answers to a natural input, in every form in which a skill class may rightly give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

OWN = "as the class itself encodes it"

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

    def __init__(self, handler: Handler, natural: Any, own: Way | None = None) -> None:
        self.handler = handler
        self.own = own
        self.task = handler.task
        self.natural = natural

    @cached_property
    def ways(self) -> list[Way]:
        """The task's own way first; then how a tokenizer encodes where nobody tells it otherwise, or labels without the
        pipeline's sentence around them."""
        if self.own is not None:
            return [self.own]
        found: list[Way] = []
        for how, task, encoded in _encodings(self.task, self.natural):
            if any(_same(encoded, way.encoded) for way in found):
                continue
            result = Handler(self.handler.case, task, self.handler.endpoint).handle([self.natural], encoded)
            row = {name: _first(tensor) for name, tensor in result.outputs.items()}
            found.append(Way(how, encoded, row, result.decoded[0], task.generates))
        return found

    def encoded_as(self, given: Mapping[str, Tensor]) -> Expected | None:
        """The answer to this input as a class itself encodes it: with words of its own around the text, or padded. ``None``
        where what it gave to its model is not this input, or is one of our own encodings."""
        first = self.ways[0]
        if first.how == OWN or not _holds(self.task, first.encoded, given):
            return None
        encoded = _as_given(first.encoded, given)
        try:
            outputs = self.handler.compute(encoded)
        except (RuntimeError, ValueError, IndexError):
            return None  # parts that do not fit each other: not a whole input
        row = self.task.rows(outputs, encoded)[0]
        decoded = self.task.decode(row, self.task.rows(encoded, encoded)[0], self.natural)
        # Pooled without the padding, but as a whole with it.
        whole = {
            f"{name}, padding and all": _first(t) for name, t in outputs.items() if _first(t).shape != row[name].shape
        }
        return Expected(self.handler, self.natural, Way(OWN, encoded, {**row, **whole}, decoded, self.task.generates))

    @property
    def decoded(self) -> Any:
        """The answer as the pipeline of the task gives it."""
        return self.ways[0].decoded

    @cached_property
    def numbers(self) -> list[tuple[str, Tensor]]:
        """Everything that may be made of the outputs, by what it is: each as it is, pooled, normalised, as probabilities."""
        found: list[tuple[str, Tensor]] = []
        for way in self.ways:
            suffix = f", {way.how}" if way is not self.ways[0] or way is self.own else ""
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


def _holds(task: Task, ours: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether the tensors that a class made of an input hold all of it: the same pictures and sounds, and a text that has ours
    in it."""
    for name, tensor in ours.items():
        if tensor.is_floating_point():
            if name not in given or given[name].shape != tensor.shape or not torch.allclose(given[name], tensor):
                return False
        elif name == "input_ids":
            if name not in given:
                return False
            texts = [
                tokenizer_of(task.processor).decode(ids[0], skip_special_tokens=True) for ids in (tensor, given[name])
            ]
            own, theirs = (" ".join(text.split()) for text in texts)
            if not own or own not in theirs:
                return False
    return True


def _as_given(ours: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors with those in their place that a class gave to its model. What goes with the tokens one by one, such as a
    mask, must go with the class's."""
    own, theirs = ours.get("input_ids"), given.get("input_ids")
    encoded = {}
    for name, tensor in ours.items():
        if own is None or theirs is None or tensor.shape != own.shape:
            encoded[name] = given.get(name, tensor)
        elif name in given and given[name].shape == theirs.shape:
            encoded[name] = given[name]
        elif name == "attention_mask":
            encoded[name] = torch.ones_like(theirs)
    return encoded


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
