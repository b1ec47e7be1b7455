"""The checkpoint of a case on disk, as a skill class of the user's loads it: config, weights, processor, generation config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...models.checkpoint import model_class, weights_digest
from ...tasks.base import Task


class Unavailable(Exception):
    """Why a class cannot be checked on this case, whatever it does."""


def save_checkpoint(task: Task, directory: Path) -> list[str]:
    """Save the checkpoint of a task, and load it again: what a class finds there must be what the reference runs on. Gives the
    names of the files.

    Raises:
        Unavailable: it has no processor, or does not come back as it was.
    """
    checkpoint = task.checkpoint
    if checkpoint.processor is None:
        why = checkpoint.recipe.inputs.get("why", "the row names none")
        raise Unavailable(f"no natural input for {checkpoint.recipe.model_class}, which has no processor here: {why}")
    checkpoint.model.save_pretrained(directory)
    name = type(checkpoint.processor).__name__
    try:
        checkpoint.processor.save_pretrained(directory)
        processor = type(checkpoint.processor).from_pretrained(directory)
    except Exception as error:  # a processor's own code, of any library
        raise Unavailable(f"{name} cannot be saved and loaded: {type(error).__name__}: {error}") from error
    if difference := _encodes_otherwise(task, processor):
        raise Unavailable(f"{name} does not come back from disk as it was: {difference}")
    model: Any = model_class(checkpoint.recipe).from_pretrained(directory, dtype=torch.float32)
    if weights_digest(model) != checkpoint.digest:
        raise Unavailable(f"{checkpoint.recipe.model_class} does not come back from disk as it was: other weights")
    return sorted(path.name for path in directory.iterdir())


def _encodes_otherwise(task: Task, processor: Any) -> str:
    """How another processor encodes the first sample otherwise; empty where it does not."""
    natural = task.samples()[0]
    other = type(task)(replace(task.checkpoint, processor=processor))
    before, after = task.encode([natural]), other.encode([natural])
    if before.keys() != after.keys():
        return f"gives {', '.join(sorted(after))}, not {', '.join(sorted(before))}"
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    return f"other {', '.join(changed)}" if changed else ""
