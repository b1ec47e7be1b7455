"""What an op of MIL computes, for the ops to which coremltools gives no ``value_inference``: as the docstring of each op in
``coremltools.converters.mil.mil.ops.defs`` defines it. The sums are those of torch on the CPU, in fp32 whatever the
precision of the program; the result is rounded to the type that the program says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import mil_resampling

Array = NDArray[Any]


def tensor(value: Any) -> Tensor:
    """A value of the program in torch; of fp16 its fp32."""
    array = np.ascontiguousarray(value.val)
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


def ints(value: Any) -> list[int]:
    return [int(number) for number in np.asarray(value.val).reshape(-1)]


def given(value: Any) -> bool:
    """Whether an optional argument was given."""
    return value is not None and value.val is not None


def padding(operation: Any, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Before and after each spatial dimension, first dimension first. ``same`` puts the odd one behind, ``same_lower``
    before."""
    kind, count = operation.pad_type.val, len(sizes)
    if kind == "valid":
        return [0] * 2 * count
    if kind == "custom":
        return ints(operation.pad)
    pads = []
    for size, extent, stride in zip(sizes, kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        less, more = total // 2, total - total // 2
        pads += [less, more] if kind == "same" else [more, less]
    return pads


def padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    pairs = [pads[index : index + 2] for index in range(0, len(pads), 2)]
    return functional.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)


_CONV = (None, functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (None, functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def conv(operation: Any) -> Array:
    x, weight = tensor(operation.x), tensor(operation.weight)
    strides, dilations = ints(operation.strides), ints(operation.dilations)
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    x = padded(x, padding(operation, x.shape[2:], extents, strides))
    bias = tensor(operation.bias) if given(operation.bias) else None
    function: Any = _CONV[x.dim() - 2]
    return np.asarray(function(x, weight, bias, strides, 0, dilations, int(operation.groups.val)))


def conv_transpose(operation: Any) -> Array:
    x, weight = tensor(operation.x), tensor(operation.weight)
    strides, dilations, spatial = ints(operation.strides), ints(operation.dilations), x.dim() - 2
    bias = tensor(operation.bias) if given(operation.bias) else None
    function: Any = _TRANSPOSED[spatial]
    found = function(x, weight, bias, strides, 0, 0, int(operation.groups.val), dilations)
    if given(operation.output_shape):
        wanted = ints(operation.output_shape)[-spatial:]
    else:
        pads = ints(operation.pad) if operation.pad_type.val == "custom" else [0] * 2 * spatial
        wanted = [size - pads[2 * i] - pads[2 * i + 1] for i, size in enumerate(found.shape[2:])]
    starts = ints(operation.pad)[::2] if operation.pad_type.val == "custom" else [0] * spatial
    for index, (start, size) in enumerate(zip(starts, wanted, strict=True)):
        lacking = start + size - found.shape[2 + index]
        if lacking > 0:  # where no input reaches there is the bias alone
            pads = [0] * 2 * spatial
            pads[2 * index + 1] = lacking
            plain = padded(found, pads)
            if bias is not None:
                shape = (1, -1, *[1] * spatial)
                filled = bias.reshape(shape).expand(plain.shape).clone()
                filled.narrow(2 + index, 0, found.shape[2 + index]).copy_(found)
                plain = filled
            found = plain
        found = found.narrow(2 + index, start, size)
    return np.asarray(found)


_MAX = (None, functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGE = (None, functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def pool(operation: Any, function: Any, fill: float) -> tuple[Tensor, list[int], list[int], bool]:
    x = tensor(operation.x)
    kernel, strides = ints(operation.kernel_sizes), ints(operation.strides)
    pads = padding(operation, x.shape[2:], kernel, strides)
    return padded(x, pads, fill), kernel, strides, bool(operation.ceil_mode.val)


def max_pool(operation: Any) -> Array:
    x, kernel, strides, ceil = pool(operation, _MAX, -np.inf)
    function: Any = _MAX[x.dim() - 2]
    return np.asarray(function(x, kernel, strides, 0, 1, ceil))


def avg_pool(operation: Any) -> Array:
    x, kernel, strides, ceil = pool(operation, _AVERAGE, 0.0)
    function: Any = _AVERAGE[x.dim() - 2]
    total = function(x, kernel, strides, 0, ceil)
    if not operation.exclude_padding_from_average.val:
        return np.asarray(total)
    counted = torch.ones_like(tensor(operation.x))
    pads = padding(operation, counted.shape[2:], kernel, strides)
    return np.asarray(total / function(padded(counted, pads), kernel, strides, 0, ceil))


def gather_nd(operation: Any) -> Array:
    x, indices, batch = operation.x.val, np.asarray(operation.indices.val), int(operation.batch_dims.val)
    grid = np.indices(indices.shape[:-1])[:batch]
    return np.asarray(x[(*grid, *np.moveaxis(indices, -1, 0))])


def select(operation: Any) -> Array:
    return np.asarray(np.where(np.asarray(operation.cond.val), operation.a.val, operation.b.val))


def silu(operation: Any) -> Array:
    return np.asarray(functional.silu(tensor(operation.x)))


def batch_norm(operation: Any) -> Array:
    x, mean, variance = tensor(operation.x), tensor(operation.mean), tensor(operation.variance)
    gamma = tensor(operation.gamma) if given(operation.gamma) else None
    beta = tensor(operation.beta) if given(operation.beta) else None
    return np.asarray(functional.batch_norm(x, mean, variance, gamma, beta, eps=float(operation.epsilon.val)))


def instance_norm(operation: Any) -> Array:
    gamma = tensor(operation.gamma) if given(operation.gamma) else None
    beta = tensor(operation.beta) if given(operation.beta) else None
    found = functional.instance_norm(tensor(operation.x), weight=gamma, bias=beta, eps=float(operation.epsilon.val))
    return np.asarray(found)


_UPDATES: Mapping[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


def scattered(operation: Any, places: Any) -> Array:
    """``data`` with ``updates`` at ``places``; one place may be named several times."""
    data, updates, mode = np.array(operation.data.val), operation.updates.val, operation.mode.val
    if mode == "update":
        data[places] = updates
    else:
        _UPDATES[mode].at(data, places, updates)
    return data


def scatter(operation: Any) -> Array:
    before = (slice(None),) * (int(operation.axis.val) % operation.data.rank)
    return scattered(operation, (*before, np.asarray(operation.indices.val)))


def scatter_along_axis(operation: Any) -> Array:
    """Its value inference lets the last of several updates of one place win, whatever the mode says."""
    indices, axis = np.asarray(operation.indices.val), int(operation.axis.val) % operation.data.rank
    places: list[Any] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return scattered(operation, tuple(places))


def scatter_nd(operation: Any) -> Array:
    return scattered(operation, tuple(np.moveaxis(np.asarray(operation.indices.val), -1, 0)))


def one_hot(operation: Any) -> Array:
    indices, size = np.asarray(operation.indices.val), int(operation.one_hot_vector_size.val)
    found = np.where(indices[..., None] == np.arange(size), operation.on_value.val, operation.off_value.val)
    axis = int(operation.axis.val)
    return np.moveaxis(found, -1, axis)


def pixel_shuffle(operation: Any) -> Array:
    return np.asarray(functional.pixel_shuffle(tensor(operation.x), int(operation.upscale_factor.val)))


def pixel_unshuffle(operation: Any) -> Array:
    return np.asarray(functional.pixel_unshuffle(tensor(operation.x), int(operation.downscale_factor.val)))


def crop(operation: Any) -> Array:
    """Of the last two dimensions."""
    x = np.asarray(operation.x.val)
    (top, bottom), (left, right) = ints(operation.crop_height), ints(operation.crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def random_normal(operation: Any) -> Array:
    """From the generator of torch, so that a seeded run draws what eager torch draws where it draws in the same order."""
    drawn = torch.randn(ints(operation.shape))
    return np.asarray(drawn * float(operation.stddev.val) + float(operation.mean.val))


def random_uniform(operation: Any) -> Array:
    """Likewise."""
    low, high = float(operation.low.val), float(operation.high.val)
    return np.asarray(torch.rand(ints(operation.shape)) * (high - low) + low)


EVALUATIONS: Mapping[str, Callable[[Any], Any]] = {
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "crop": crop,
    "gather_nd": gather_nd,
    "instance_norm": instance_norm,
    "max_pool": max_pool,
    "one_hot": one_hot,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "random_normal": random_normal,
    "random_uniform": random_uniform,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
    "select": select,
    "silu": silu,
    **mil_resampling.EVALUATIONS,
}


def interleaved(operation: Any) -> Array:
    """``concat`` that takes one of each in turn, as its docstring says; its value inference puts them one behind another."""
    values, axis = [np.asarray(value.val) for value in operation.values], int(operation.axis.val)
    axis %= values[0].ndim
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return np.stack(values, axis + 1).reshape(shape)


def evaluation_of(operation: Any) -> Callable[[Any], Any] | None:
    """Our evaluation of an op, ``None`` where MIL's own is asked."""
    if operation.op_type == "concat" and given(operation.interleave) and operation.interleave.val:
        return interleaved
    return EVALUATIONS.get(operation.op_type)
