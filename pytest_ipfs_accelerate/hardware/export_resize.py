"""Pictures made smaller as every runtime does alike, for the time of a trace: an antialiased resize in weights that are
multiplied by, and a window wider than the picture.

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
import torch.nn.functional as F
from torch import Tensor
from transformers.exporters.utils import patch_attributes

from .export_registry import replaces


def triangle(distance: Tensor) -> Tensor:
    """The weight of a sample at this distance, at least 0, in samples: bilinear."""
    return (1 - distance).clamp(min=0)


def cubic(distance: Tensor) -> Tensor:
    """The weight of a sample at this distance, at least 0, in samples: bicubic, a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


FILTERS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": triangle, "bicubic": cubic}


def weights_of(index: Tensor, resized: Tensor, samples: int, weigh: Callable[[Tensor], Tensor] = triangle) -> Tensor:
    """How much each of ``samples`` of an axis weighs in sample ``index`` of the ``resized`` ones, tensors of one shape but for
    axes of 1: (…, samples), each row summing to 1. The sizes may be symbols of a trace."""
    scale = samples / resized.float()
    centre = (index + 0.5) * scale
    distance = (torch.arange(samples, device=index.device) + 0.5 - centre[..., None]).abs()
    weights = weigh(distance / scale.clamp(min=1.0)[..., None])
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
        rows, columns = (
            weights_of(torch.arange(resized), torch.ones(1) * resized, samples, weigh).to(input)
            for resized, samples in zip((height, width), input.shape[-2:], strict=True)
        )
        return rows @ input @ columns.T

    return interpolate


def summed_rows(original: Any) -> Any:
    """``embedding_bag`` is a loop over its rows in ONNX, which builds a sequence: OpenVINO does not take it (kimi_k25). A bag
    of as many rows as every other is a gather, weighted and summed."""

    @wraps(original)
    def embedding_bag(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Any:
        rows, other = kwargs.get("per_sample_weights"), kwargs.keys() - {"per_sample_weights", "mode"}
        if args or other or input.dim() != 2 or rows is None or kwargs.get("mode") != "sum":
            return original(input, weight, *args, **kwargs)
        return (F.embedding(input, weight) * rows[..., None]).sum(1)

    return embedding_bag


@replaces(
    "align.modeling_align.AlignVisionModel.forward", "efficientnet.modeling_efficientnet.EfficientNetModel.forward"
)
def averaged_whole(original: Any) -> Any:
    """A picture is averaged in one window, as wide as the model and wider than the picture, which OpenVINO's ``AveragePool``
    does not take. torch counts in a window what lies in the picture alone: the mean of all of it."""

    def averaged(avg_pool2d: Any) -> Any:
        def pooled(input: Tensor, kernel_size: int, *args: Any) -> Any:
            if max(input.shape[-2:]) > kernel_size:
                return avg_pool2d(input, kernel_size, *args)
            return input.mean((-2, -1), keepdim=True)

        return pooled

    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        with patch_attributes([(F, "avg_pool2d", averaged)]):
            return original(*args, **kwargs)

    return forward
