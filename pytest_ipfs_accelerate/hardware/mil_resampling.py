"""Ops of MIL that take a picture at other points, as ``mil/ops/defs/*/image_resizing.py`` of coremltools defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Array = NDArray[Any]


def pixels(value: Any) -> Array:
    """A picture in fp32."""
    return np.asarray(value.val, dtype=np.float32)


def along(x: Array, axis: int, points: Array) -> Array:
    """``x`` at fractional ``points`` of an axis, between its two neighbours; a point outside is at the border."""
    size = x.shape[axis]
    points = np.clip(points, 0, size - 1)
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    shape = [1] * x.ndim
    shape[axis] = len(points)
    weight = (points - low).astype(np.float32).reshape(shape)
    return np.asarray(x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight)


def aligned(size: int, wanted: int) -> Array:
    """Points whose first and last are the corners."""
    return np.arange(wanted) * ((size - 1) / (wanted - 1) if wanted > 1 else 0.0)


def halves(size: int, wanted: int) -> Array:
    """Points in the middle of each pixel."""
    return (np.arange(wanted) + 0.5) * (size / wanted) - 0.5


def default(size: int, wanted: int) -> Array:
    return np.arange(wanted) * (size / wanted)


def scaled(operation: Any, x: Array) -> tuple[int, int]:
    """Height and width of what an op that has scale factors gives."""
    factors = (operation.scale_factor_height.val, operation.scale_factor_width.val)
    height, width = (int(np.floor(size * factor)) for size, factor in zip(x.shape[-2:], factors, strict=True))
    return height, width


def upsample_bilinear(operation: Any) -> Array:
    x = pixels(operation.x)
    centers = getattr(operation, "half_pixel_centers", None)
    if operation.align_corners.val:
        points = aligned
    elif centers is None or centers.val is None or centers.val:
        points = halves
    else:
        points = default
    for axis, wanted in zip((-2, -1), scaled(operation, x), strict=True):
        x = along(x, axis % x.ndim, points(x.shape[axis], wanted))
    return x


def nearest(x: Array, height: int, width: int) -> Array:
    for axis, wanted in ((-2, height), (-1, width)):
        x = x.take(np.arange(wanted) * x.shape[axis] // wanted, axis)
    return x


def upsample_nearest(operation: Any) -> Array:
    x = np.asarray(operation.x.val)
    return nearest(x, *scaled(operation, x))


_PADDING = {"constant": "zeros", "border": "border", "reflection": "reflection"}


def resample(operation: Any) -> Array:
    mode, padding, corners = operation.sampling_mode.val, operation.padding_mode.val, operation.align_corners.val
    if padding not in _PADDING or (padding == "constant" and operation.padding_value.val != 0):
        raise NotImplementedError(f"resample with padding {padding}, value {operation.padding_value.val}")
    x, points = torch.from_numpy(pixels(operation.x)), torch.from_numpy(pixels(operation.coordinates))
    match operation.coordinates_mode.val:
        case "normalized_zero_to_one":
            points = 2 * points - 1
        case "unnormalized":
            size = torch.tensor([x.shape[3], x.shape[2]], dtype=torch.float32)
            points = 2 * points / (size - 1) - 1 if corners else (2 * points + 1) / size - 1
    return np.asarray(functional.grid_sample(x, points, mode, _PADDING[padding], bool(corners)))


EVALUATIONS: Mapping[str, Callable[[Any], Any]] = {
    "resample": resample,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
