"""A checkpoint: the model, its processor, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
import transformers

from ..specs import Recipe
from .forwards import with_forward
from .initialize import initialize
from .processors import build_processor

MAX_PARAMETERS = 5_000_000
"""A tiny checkpoint above this is a mistake in its recipe: it would not be tiny."""


class NoRecipe(Exception):
    """A row of the registry without a recipe: nobody found a tiny config and inputs that this class takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights and processor that a case runs on. ``model`` is in fp32 and evaluation mode on the CPU; nobody but a
    hardware's own copy of it is moved or converted. ``digest`` is the SHA-256 of the weights' names and bytes. ``origin`` says
    where it comes from, for the verdict. The recipe of a real one holds its own config and generation."""

    recipe: Recipe
    model: transformers.PreTrainedModel
    processor: Any
    digest: str
    origin: Mapping[str, Any] = field(default_factory=lambda: {"source": "tiny"})

    @property
    def config(self) -> transformers.PreTrainedConfig:
        return self.model.config

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())


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


def model_class(recipe: Recipe) -> Any:
    """The class of a recipe, with a forward. Some are not exported at the top of transformers, but stand beside the config.

    Raises:
        AttributeError: this transformers has no such class.
    """
    if hasattr(transformers, recipe.model_class):
        return with_forward(getattr(transformers, recipe.model_class))
    package = getattr(transformers, recipe.config_class).__module__.rpartition(".")[0]
    module = import_module(f"{package}.modeling_{package.rpartition('.')[2]}")
    return with_forward(getattr(module, recipe.model_class))


def weights_digest(model: torch.nn.Module) -> str:
    """SHA-256 over the names and bytes of the parameters and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def build_checkpoint(recipe: Recipe) -> Checkpoint:
    """The checkpoint of ``recipe``, tiny or real: same recipe, same bytes, in every process.

    Raises:
        AttributeError: this transformers has no such class.
        NoRecipe: the row says that none could be made, and why.
        ValueError: a tiny model is over ``MAX_PARAMETERS``.
        CheckpointUnavailable, CheckpointRefused: a real one is not here, or cannot be loaded.
    """
    if recipe.checkpoint is not None:
        from .pretrained import load_checkpoint  # which makes one of this module

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
