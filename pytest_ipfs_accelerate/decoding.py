"""What is asked of a generation beside its answer: that a short prompt of a batch is padded on its left, and that decoding
reads a cache where the reference does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .bench import Fault, Form
from .hardware.steps import Generation
from .tasks.base import Task


def padding_of(task: Task, forms: Mapping[str, Form]) -> dict[str, int]:
    """By form of a decoder-only generation, how many positions stand before the prompts of its rows as padding; empty where
    the model has an encoder, or takes no mask. A token that is generated follows the last position, so padding there would
    stand between the prompt and its continuation.

    Raises:
        Fault: a prompt is padded on its right.
    """
    if not task.generates or task.config.is_encoder_decoder:
        return {}
    masks = {name: form.encoded.get("attention_mask") for name, form in forms.items()}
    found = {name: mask for name, mask in masks.items() if mask is not None and mask.dim() == 2}
    for name, mask in found.items():
        if not mask[:, -1].all():
            raise Fault(f"a prompt of the {name} sample is padded on its right; a decoder reads on from there")
    return {name: _padded(mask) for name, mask in found.items() if _padded(mask)}


def _padded(mask: Tensor) -> int:
    return int((mask == 0).sum())


def check_decoding(found: Generation | None, reference: Mapping[str, Any]) -> None:
    """Hold how a hardware decoded against the ``generation`` in the evidence of the reference.

    Raises:
        Fault: the reference reads the new token alone, and the hardware the whole text again.
    """
    expected = reference.get("generation", {})
    if found is None or not expected.get("decodes from the cache") or len(found.steps) < 2 or found.caches:
        return
    lengths = ", ".join(map(str, found.lengths))
    raise Fault(f"it decodes without the cache that the reference has: its steps read {lengths} positions, not 1")
