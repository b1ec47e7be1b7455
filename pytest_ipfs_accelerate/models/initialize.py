"""Weights that make a fault visible.

With transformers' own initialisation (``initializer_range`` 0.02) a tiny model is nearly linear: dropping half of the mask
moves bert's output by 0.3 %, and zeroing every query by nothing. Here a matrix is drawn with a standard deviation of
``GAIN / sqrt(fan-in)``, so that activations keep their scale and attention is sharp, an embedding with ``EMBEDDING_STD``,
and vectors (norm weights, biases) away from the ones and zeros at which a dropped one could not be seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container

import torch
from torch import nn

GAIN = 1.4
EMBEDDING_STD = 0.5
VECTOR_STD = 0.1
SNAKE_GAIN = 0.7
"""For the convolutions of a sound codec: its snake activations pass everything on and nothing norms it, so that a dozen
residual units would each double what comes in."""

_EMBEDDING_NAMES = ("embed", "position", "cls_token", "mask_token", "query_tokens")


def _generator(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each parameter: its values depend on seed and name alone, never on the order of layers."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _scales(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter scales channel by channel: the weight of a norm, and whatever its class starts at one."""
    if parameter.numel() > max(parameter.shape, default=1):
        return False
    return (parameter.dim() < 2 and name.endswith("weight")) or bool((parameter == 1).all())


def _standard_deviation(name: str, parameter: nn.Parameter, embeddings: set[int], gain: float) -> float:
    if id(parameter) in embeddings:
        return EMBEDDING_STD
    if parameter.dim() < 2 or _scales(name, parameter):
        return VECTOR_STD
    # The matrix of a layer inside a module that is named for embeddings is no embedding.
    if not name.endswith("weight") and any(part in name.lower() for part in _EMBEDDING_NAMES) and parameter.dim() != 4:
        return EMBEDDING_STD
    return (gain if parameter.dim() == 3 else GAIN) / math.sqrt(math.prod(parameter.shape[1:]))


@torch.no_grad()
def initialize(model: nn.Module, seed: int, only: Container[str] | None = None) -> None:
    """Draw every floating-point parameter of ``model`` in place, or those named in ``only``. The same seed gives the same bytes
    in every process; tied parameters stay tied, since each is drawn once."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    gain = SNAKE_GAIN if any("Snake" in type(module).__name__ for module in model.modules()) else GAIN
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or (only is not None and name not in only):
            continue
        noise = torch.randn(parameter.shape, generator=_generator(seed, name))
        noise *= _standard_deviation(name, parameter, embeddings, gain)
        # What scales does so by about one; every other vector is a bias, which shifts by about zero.
        parameter.copy_(noise + float(_scales(name, parameter)))
    if only is not None:
        return
    for module in model.modules():
        # Training never moves the row of the padding token: it is zero in every real checkpoint, and some models count on it.
        if isinstance(module, nn.Embedding) and module.padding_idx is not None and module.weight.is_floating_point():
            module.weight[module.padding_idx] = 0
    _fill_codebooks(model, seed)


def _fill_codebooks(model: nn.Module, seed: int) -> None:
    """Draw the entries of every codebook. Training gathers them in buffers that start at zero, where each sound would have the
    same codes."""
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False) if "Codebook" in type(module).__name__ else ():
            if name.startswith("embed") and buffer.is_floating_point():
                buffer.copy_(torch.randn(buffer.shape, generator=_generator(seed, f"{path}.embed")))
