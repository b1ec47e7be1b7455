"""Placeholders of pictures and sounds among token ids: which, and as many as the model makes features."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ..tasks.tensors import Description
from .inputs import TEXT
from .shrink import Options
from .view import GETTERS, Model, feature_getter

TOKENS = {
    "image": ("image_token_id", "image_token_index", "image_patch_id", "img_token_id", "im_patch_id"),
    "audio": ("audio_token_id", "audio_token_index"),
    "video": ("video_token_id", "video_token_index"),
}

_TYPES = {"image": 1, "video": 2, "audio": 3}
"""What ``mm_token_type_ids`` holds at a placeholder."""


def place_tokens(built: Any, inputs: Options) -> Options:
    """``inputs`` with as many placeholders among the token ids as the model makes features of its pictures or sounds."""
    model = Model(built)
    tensors = dict(inputs["tensors"])
    if "input_ids" not in tensors:
        return inputs
    groups: list[list[int]] = []
    marks, placed = [], 0
    for kind, (get, sources) in GETTERS.items():
        getter = feature_getter(built, get)
        token = model.find(*TOKENS[kind])
        if getter is None or token is None or not any(source in tensors for source in sources):
            continue
        groups.append([int(token), _count(getter, inputs)])
        marks.append([2 + placed, groups[-1][1], _TYPES[kind]])
        placed += groups[-1][1]
    if not groups:
        return inputs
    # A drawn token must not be taken for a placeholder.
    low = max([5, *(token + 1 for token, _ in groups if token < 150)])
    tensors["input_ids"] = {**tensors["input_ids"], **({"from": low} if low > 5 else {}), "place": groups}
    if model.has("mm_token_type_ids"):
        tensors["mm_token_type_ids"] = {"zeros": ["S"], "set": marks}
    sizes = {**inputs["sizes"], "S": [length + placed for length in TEXT]}
    return {**inputs, "tensors": tensors, "sizes": sizes}


@torch.inference_mode()
def _count(getter: Callable[..., Any], inputs: Options) -> int:
    """How many features a model makes of the pictures or sounds of one sample."""
    sizes = {size: lengths[0] for size, lengths in inputs.get("sizes", {}).items()}
    accepted = inspect.signature(inspect.unwrap(getter)).parameters
    arguments = {}
    for name, raw in inputs["tensors"].items():
        if name in accepted and name != "attention_mask":
            description = Description(name, raw)
            tensor = description.make(sizes, 0)
            arguments[name] = tensor if description.joined else tensor[None]
    return _features(getter(**arguments))


def _features(output: Any) -> int:
    for name in ("pooler_output", "last_hidden_state", "image_embeds", "audio_embeds"):
        if getattr(output, name, None) is not None:
            output = getattr(output, name)
            break
    if isinstance(output, list | tuple):
        return sum(_features(item) for item in output)
    if not isinstance(output, torch.Tensor):
        return _features(next(value for value in output.values() if value is not None))
    count = 1
    for length in output.shape[:-1]:
        count *= length
    return count
