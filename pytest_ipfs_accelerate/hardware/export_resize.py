"""An antialiased resize in weights that are multiplied by, for the time of a trace.

OpenVINO 2026 computes ONNX' ``Resize`` with ``antialias`` otherwise than ONNX Runtime and torch do: the resized positions of
unlimited_ocr had a relative L2 error of 2.3. (The exporter of transformers replaces the call for its own OpenVINO format alone,
``exporter_openvino.py:1457``.) torch's own resize weighs the samples of each axis by a triangle or by a cubic with a = -0.5,
stretched where it makes smaller, over the samples that there are (``aten/src/ATen/native/UpSample.h``): two matrices, which
every runtime multiplies by alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def triangle(distance: Tensor) -> Tensor:
    """The weight of a sample at this distance, at least 0, in samples: bilinear."""
    return (1 - distance).clamp(min=0)


def cubic(distance: Tensor) -> Tensor:
    """The weight of a sample at this distance, at least 0, in samples: bicubic, a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


FILTERS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": triangle, "bicubic": cubic}


def resize_weights(samples: int, resized: int, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """How much each of the samples of an axis weighs in each of those that it is resized to: (resized, samples), each row
    summing to 1. The sizes may be symbols of a trace."""
    scale = torch.ones(1) * samples / resized
    centre = (torch.arange(resized) + 0.5) * scale
    distance = ((torch.arange(samples) + 0.5)[None, :] - centre[:, None]).abs() / scale.clamp(min=1.0)
    weights = weigh(distance)
    return weights / weights.sum(-1, keepdim=True)


def resized_by_weights(original: Any) -> Any:
    """``interpolate`` with ``antialias`` to a size, in weights; anything else the old way."""

    @wraps(original)
    def interpolate(input: Tensor, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        weigh = FILTERS.get(kwargs.get("mode", ""))
        other = input.dim() != 4 or size is None or kwargs.get("align_corners")
        if weigh is None or not kwargs.get("antialias") or other or args:
            return original(input, size, *args, **kwargs)
        height, width = size if isinstance(size, (tuple, list, torch.Size)) else (size, size)
        rows = resize_weights(input.shape[-2], height, weigh).to(input)
        columns = resize_weights(input.shape[-1], width, weigh).to(input)
        return rows @ input @ columns.T

    return interpolate
