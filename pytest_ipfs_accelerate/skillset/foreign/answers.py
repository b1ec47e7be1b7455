"""What came back from a handler, read into parts that can be held against a reference: numbers, texts, labels, scores.

Handlers of skill classes give a tensor, an array, a list, a string, a dict under many keys, or an object with attributes. What
such an answer says of itself is read by :mod:`.claims` and is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .claims import ERRORS, Says, attributes_of, claims_of, is_label, without_prefix


class Kind(StrEnum):
    """What a part of an answer is."""

    NUMBERS = "numbers"
    TEXT = "text"
    LABEL = "label"
    INDEX = "index"
    SCORE = "score"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of an answer. ``path`` is where it stands, empty for the whole; ``value`` is a tensor on the CPU, a string, or a
    number, by its kind."""

    path: str
    kind: Kind
    value: Any

    @property
    def within(self) -> str:
        """The path of what holds it: a label and its score have this in common."""
        return self.path.rpartition(".")[0]

    def __str__(self) -> str:
        return self.path.removeprefix(".") or "the answer"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An answer in parts. ``error`` is what it says went wrong, ``unread`` names what is no known part, ``raw`` is what came
    back."""

    parts: tuple[Part, ...]
    error: str = ""
    unread: tuple[str, ...] = ()
    raw: Any = field(default=None, repr=False)

    @property
    def form(self) -> str:
        """What it is, in a few words."""
        if isinstance(self.raw, Tensor | np.ndarray):
            return f"{type(self.raw).__name__} of {'×'.join(map(str, self.raw.shape)) or 'one number'}"
        if isinstance(self.raw, Mapping):
            return f"{type(self.raw).__name__} of {', '.join(map(str, list(self.raw)[:8]))}"
        return type(self.raw).__name__


TEXTS = (
    *("text", "generated_text", "answer", "caption", "transcription", "transcript", "response", "result", "output"),
    *("output_text", "translation_text", "summary_text", "description", "sequence"),
)
LABELS = (
    *("label", "labels", "class", "classes", "class_name", "prediction", "predictions", "predicted_class"),
    *("predicted_label", "category", "entity", "token_str", "choice"),
)
INDICES = (
    "class_id",
    "class_index",
    "class_idx",
    "index",
    "label_id",
    "predicted_class_id",
    "predicted_index",
    "token",
)
NUMBERS = ("similarity", "similarity_score", "similarities", "logits", "logits_per_image", "embedding", "embeddings")
"""Names under which one number alone is an answer; under another it counts or times something."""
SCORES = ("score", "scores", "confidence", "probability", "probabilities", "probs")
MOST_INDICES = 16
"""More integers than this are tokens, or a map."""


def read(value: Any) -> Answer:
    """The answer in what a handler returned."""
    parts: list[Part] = []
    unread: list[str] = []
    for part in _parts(value, "", ""):
        if part.kind is None:
            unread.append(part.path.removeprefix(".") or type(value).__name__)
        else:
            parts.append(Part(part.path, part.kind, part.value))
    return Answer(tuple(parts), _error(value), tuple(unread), value)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    kind: Kind | None
    value: Any = None


def _error(value: Any) -> str:
    if value is None:
        return ""
    errors = [claim.where for claim in claims_of(value) if claim.says is Says.ERROR]
    return errors[0] if errors else ""


def _parts(value: Any, path: str, name: str) -> Iterator[_Found]:
    """The parts of a value under a name; without one it is the whole, or an entry of a list."""
    numbers = as_numbers(value)
    if numbers is not None and (numbers.dim() or not name or name in (*SCORES, *INDICES, *LABELS, *NUMBERS)):
        yield from _numbers(numbers, path, name)
    elif isinstance(value, str):
        yield _Found(path, _kind_of_text(name), without_prefix(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            key = str(key)
            if not is_label(key) and key.lower() not in ERRORS:
                yield from _parts(item, f"{path}.{key}", key.lower())
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _parts(item, f"{path}[{index}]", name)
    elif value is not None and not isinstance(value, int | float | Tensor | np.ndarray | np.generic):
        attributes = {key: item for key, item in attributes_of(value).items() if not key.startswith("_")}
        if attributes and not callable(value):
            yield from _parts(attributes, path, name)
        else:
            yield _Found(path, None)
    elif value is not None:
        yield _Found(path, None)


def _kind_of_text(name: str) -> Kind | None:
    if name in LABELS:
        return Kind.LABEL
    return Kind.TEXT if not name or name in TEXTS else None


def _numbers(numbers: Tensor, path: str, name: str) -> Iterator[_Found]:
    kind = Kind.SCORE if name in SCORES else Kind.INDEX if name in (*INDICES, *LABELS) else None
    # What is floating or long is no index, whatever it is called.
    indices = not numbers.is_floating_point() and numbers.numel() <= MOST_INDICES
    if kind is None or numbers.dim() > 1 or (kind is Kind.INDEX and not indices):
        yield _Found(path, Kind.NUMBERS, numbers)
    elif numbers.dim() == 0:
        yield _Found(path, kind, numbers.item())
    elif numbers.dtype is torch.bool:
        yield _Found(path, None)
    elif kind is Kind.SCORE:
        # One for each class: as wide as the config says, and held against the whole distribution.
        yield _Found(path, Kind.NUMBERS, numbers)
    else:
        for index, number in enumerate(numbers.tolist()):
            yield _Found(f"{path}[{index}]", kind, number)


def as_numbers(value: Any) -> Tensor | None:
    """Numbers as a tensor on the CPU, floats in fp32; ``None`` for anything else."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu()
        return plain.float() if plain.is_floating_point() else plain
    if isinstance(value, list | tuple) and value and all(isinstance(item, Tensor) for item in value):
        shapes = {item.shape for item in value}
        return as_numbers(torch.stack([item.detach() for item in value])) if len(shapes) == 1 else None
    if isinstance(value, str | bytes | bool | Mapping) or value is None:
        return None
    if not isinstance(value, int | float | list | tuple | np.ndarray | np.generic):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    if array.dtype.kind not in "fiu" or not array.size:
        return None
    return torch.from_numpy(np.array(array, np.float32 if array.dtype.kind == "f" else np.int64))


BOXES = ("box", "bbox", "bounding_box")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def detections(value: Any) -> list[dict[str, Any]] | None:
    """A list of things found in a picture, alone or under a key, in the form of the pipeline: ``score``, ``label``, ``box``
    in whole pixels; ``None`` where there is none."""
    if isinstance(value, dict):
        return next((found for item in value.values() if (found := detections(item)) is not None), None)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return None
    found = []
    for item in value:
        box = next((item[name] for name in BOXES if name in item), None)
        label = item.get("label", item.get("class"))
        corners = list(box.values()) if isinstance(box, dict) else box
        if not isinstance(corners, list | tuple) or len(corners) != 4 or label is None or "score" not in item:
            return None
        found.append(
            {"score": float(item["score"]), "label": label, "box": dict(zip(CORNERS, map(int, corners), strict=True))}
        )
    return found
