"""Model outputs as flat tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def leaf_tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in an output of a model, by dotted path: of tensors, mappings and sequences, nested at will. An object of
    another kind, such as a cache, is none of its numbers."""
    match value:
        case Tensor():
            yield path, value
        case Mapping():
            for name, item in value.items():
                yield from leaf_tensors(item, f"{path}.{name}" if path else str(name))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from leaf_tensors(item, f"{path}.{index}" if path else str(index))


def flat_outputs(outputs: Any) -> dict[str, Tensor]:
    """Every tensor of a model's output on the CPU, by dotted path, without ``loss``: no labels are given, and some models
    compute one all the same. Nor is a cache an output: a task has no use for it, and some models return one whatever their
    config says."""
    return {
        name or "output": tensor.detach().cpu()
        for name, tensor in leaf_tensors(outputs)
        if name != "loss" and "past_key_values" not in name
    }


@contextmanager
def step_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """The logits of each forward of a generation (batch × vocabulary), which the generate of a transducer keeps none of."""
    steps: list[Tensor] = []

    def keep(model: Any, arguments: Any, step: Any) -> None:
        if (logits := getattr(step, "logits", None)) is not None:
            steps.append(logits[:, -1])

    hook = model.register_forward_hook(keep)
    try:
        yield steps
    finally:
        hook.remove()


def generated(outputs: Any, steps: Sequence[Tensor]) -> dict[str, Tensor]:
    """``tokens`` and ``logits`` of what ``generate`` returned, on the CPU, of the generated part alone: a decoder-only model
    returns its prompt first, an encoder-decoder model its own start tokens, if any. ``steps`` stand in for logits that it did
    not return."""
    kept = outputs.get("logits", steps)
    logits = torch.stack([step.detach().float().cpu() for step in kept], dim=1)
    sequences = outputs["sequences"].detach().cpu()
    return {"tokens": sequences[:, sequences.shape[1] - logits.shape[1] :], "logits": logits}
