"""A checkpoint: the model, its processor, and what identifies them. Who builds one, tiny or real, stands above."""

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
