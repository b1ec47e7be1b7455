"""Whole numbers sorted with their ties in order, for the time of a trace.

torch's ``argsort`` of the CPU leaves equal numbers in their order, stable or not. ONNX' ``TopK``, which onnxscript translates
it to, gives the lower index first, and so does ONNX Runtime; OpenVINO 2026 gives the equal ones in any order
(pp_doclayout_v2 sorts its queries by a mask of 0 and 1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def sorted_in_order(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``argsort`` of whole numbers by keys that differ: the number, and behind it the place."""

    @wraps(original)
    def argsort(input: Tensor, dim: int = -1, descending: bool = False, **kwargs: Any) -> Tensor:
        if input.is_floating_point() or not input.dim():
            return original(input, dim=dim, descending=descending, **kwargs)
        count = input.shape[dim]
        place = torch.arange(count, device=input.device)
        ordered = place.flip(0) if descending else place
        shape = [count if axis == dim % input.dim() else 1 for axis in range(input.dim())]
        most = torch.iinfo(torch.int64).max // count - 1  # a larger one would wrap around
        # No keys are equal, so that none need stay in order: the exporter leaves a stable sort without its shape.
        keys = input.long().clamp(-most, most) * count + ordered.view(shape)
        return original(keys, dim=dim, descending=descending)

    return argsort
