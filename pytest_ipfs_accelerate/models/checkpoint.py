"""A checkpoint from its recipe: the tiny one is built here, a real one is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers

from ..specs import Recipe
from .initialize import initialize
from .pretrained import load_checkpoint
from .processors import build_processor
from .weights import Checkpoint, model_class, weights_digest

__all__ = ["Checkpoint", "build_checkpoint", "model_class", "weights_digest"]

MAX_PARAMETERS = 5_000_000
"""A tiny checkpoint above this is a mistake in its recipe: it would not be tiny."""


class NoRecipe(Exception):
    """A row of the registry without a recipe: nobody found a tiny config and inputs that this class takes."""


def build_config(class_name: str, options: Mapping[str, Any]) -> transformers.PreTrainedConfig:
    """The config of ``class_name`` from its constructor: fields set afterwards would miss what it derives from them."""
    config: transformers.PreTrainedConfig = getattr(transformers, class_name)(**options)
    return config


def build_model(recipe: Recipe) -> Any:
    """The model of ``recipe`` with its seeded weights, in fp32 and evaluation mode."""
    config = build_config(recipe.config_class, recipe.config)
    if recipe.part:
        config = getattr(config, recipe.part)
    # Some classes draw buffers or permutations while they are built.
    torch.manual_seed(recipe.seed)
    model = model_class(recipe)(config).float().eval()
    initialize(model, recipe.seed)
    return model


def build_checkpoint(recipe: Recipe) -> Checkpoint:
    """The checkpoint of ``recipe``, tiny or real: same recipe, same bytes, in every process.

    Raises:
        AttributeError: this transformers has no such class.
        NoRecipe: the row says that none could be made, and why.
        ValueError: a tiny model is over ``MAX_PARAMETERS``.
        CheckpointUnavailable, CheckpointRefused: a real one is not here, or cannot be loaded.
    """
    if recipe.checkpoint is not None:
        return load_checkpoint(recipe)
    if recipe.inputs.get("modality") == "tensors" and not recipe.inputs.get("tensors"):
        raise NoRecipe(recipe.inputs.get("why", "the row describes no inputs"))
    model = build_model(recipe)
    processor = build_processor(recipe.processor) if recipe.processor else None
    checkpoint = Checkpoint(recipe, model, processor, weights_digest(model))
    if checkpoint.parameters > MAX_PARAMETERS:
        raise ValueError(f"{recipe.model_class} has {checkpoint.parameters:,} parameters, over {MAX_PARAMETERS:,}")
    if checkpoint.model.can_generate():
        generation = recipe.inputs.get("generation", {})
        model.generation_config = transformers.GenerationConfig.from_model_config(model.config)
        # What a generate of its own asks for and GenerationConfig does not know comes back, and is set all the same.
        for name, value in model.generation_config.update(**generation).items():
            setattr(model.generation_config, name, value)
    return checkpoint
