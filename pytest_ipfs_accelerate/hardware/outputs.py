"""Model outputs as flat tensors by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.exporters.utils import get_leaf_tensors


def flat_outputs(outputs: Any) -> dict[str, Tensor]:
    """Every tensor of a model's output on the CPU, by dotted path, without ``loss``: no labels are given, and some models
    compute one all the same."""
    leaves = get_leaf_tensors(outputs)
    return {name: tensor.detach().cpu() for name, tensor in leaves.items() if name != "loss"}


def generated(outputs: Any) -> dict[str, Tensor]:
    """``tokens`` and ``logits`` of what ``generate`` returned, on the CPU, of the generated part alone: a decoder-only model
    returns its prompt first, an encoder-decoder model its own start tokens, if any."""
    logits = torch.stack([step.detach().float().cpu() for step in outputs["logits"]], dim=1)
    sequences = outputs["sequences"].detach().cpu()
    return {"tokens": sequences[:, sequences.shape[1] - logits.shape[1] :], "logits": logits}
