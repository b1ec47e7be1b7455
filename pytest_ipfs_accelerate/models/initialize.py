"""Weights that make a fault visible.

With transformers' own initialisation (``initializer_range`` 0.02) a tiny model is nearly linear: dropping half of the mask
moves bert's output by 0.3 %, and zeroing every query by nothing. Here a matrix is drawn with a standard deviation of
``GAIN / sqrt(fan-in)``, so that activations keep their scale and attention is sharp, an embedding with ``EMBEDDING_STD``,
and vectors (norm weights, biases) away from the ones and zeros at which a dropped one could not be seen.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn

GAIN = 1.4
EMBEDDING_STD = 0.5
VECTOR_STD = 0.1

_EMBEDDING_NAMES = ("embed", "position", "cls_token", "mask_token", "query_tokens")


def _generator(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each parameter: its values depend on seed and name alone, never on the order of layers."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _standard_deviation(name: str, parameter: nn.Parameter, embeddings: set[int]) -> float:
    if id(parameter) in embeddings:
        return EMBEDDING_STD
    if parameter.dim() < 2:
        return VECTOR_STD
    if any(part in name.lower() for part in _EMBEDDING_NAMES) and parameter.dim() != 4:
        return EMBEDDING_STD
    return GAIN / math.sqrt(math.prod(parameter.shape[1:]))


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draw every floating-point parameter of ``model`` in place. The same seed gives the same bytes in every process;
    tied parameters stay tied, since each is drawn once."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        noise = torch.randn(parameter.shape, generator=_generator(seed, name))
        noise *= _standard_deviation(name, parameter, embeddings)
        # A norm's weight scales by about one; every other vector is a bias, which shifts by about zero.
        centre = 1.0 if parameter.dim() < 2 and name.endswith("weight") else 0.0
        parameter.copy_(noise + centre)
