"""Torch ops that coremltools 9.0 has no translation of, or a wrong one, said in other ops of torch, which are then translated
like any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import prod
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Rule:
    """An op in other ops of torch; ``lacking`` says what coremltools does with it."""

    op: OpOverload
    lacking: str
    apart: Callable[..., Any]


RULES: list[Rule] = []

NONE = "no translation"
"""What is lacking most often."""


def rule(op: OpOverload, lacking: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(apart: Callable[..., Any]) -> Callable[..., Any]:
        RULES.append(Rule(op, lacking, apart))
        return apart

    return keep


def _running(x: Tensor, dim: int, fill: float, extreme: Any) -> tuple[Tensor, Tensor]:
    """The extreme of what came up to each place, and where it is: the last one where several are equal."""
    size = x.shape[dim]
    places = torch.arange(size)
    spread = x.movedim(dim, -1).unsqueeze(-2)
    upto = places[None, :] <= places[:, None]
    values = extreme(torch.where(upto, spread, fill), -1)
    equal = (spread == values.unsqueeze(-1)) & upto
    indices = torch.where(equal, places, -1).amax(-1)
    return values.movedim(-1, dim), indices.movedim(-1, dim)


@rule(aten.cummax.default, NONE)
def cummax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    fill = torch.finfo(x.dtype).min if x.is_floating_point() else torch.iinfo(torch.int32).min
    return _running(x, dim, fill, torch.amax)


@rule(aten.cummin.default, NONE)
def cummin(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    fill = torch.finfo(x.dtype).max if x.is_floating_point() else torch.iinfo(torch.int32).max
    return _running(x, dim, fill, torch.amin)


@rule(aten.as_strided.default, NONE)
def as_strided(x: Tensor, size: list[int], stride: list[int], storage_offset: int | None = None) -> Tensor:
    if not x.is_contiguous():
        raise NotImplementedError("as_strided of a tensor that is not contiguous")
    places = torch.full([1] * len(size), storage_offset or 0)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        shape = [1] * len(size)
        shape[axis] = count
        places = places + (torch.arange(count) * step).reshape(shape)
    return x.reshape(-1).index_select(0, places.reshape(-1)).reshape(size)


@rule(
    aten.unfold.default, "no translation; torch takes it apart to as_strided, of a tensor that need not be contiguous"
)
def unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    count = (x.shape[dim] - size) // step + 1
    places = torch.arange(count)[:, None] * step + torch.arange(size)
    x = x.movedim(dim, -1).index_select(-1, places.reshape(-1))
    return x.reshape([*x.shape[:-1], count, size]).movedim(-2, dim if dim >= 0 else dim - 1)


@rule(aten.col2im.default, "one that refuses windows that overlap")
def col2im(
    x: Tensor, size: list[int], kernel: list[int], dilation: list[int], padding: list[int], stride: list[int]
) -> Any:
    """A transposed convolution with a kernel of one 1 for each place of a window."""
    if all(step >= extent for step, extent in zip(stride, kernel, strict=True)):
        return NotImplemented
    places = prod(kernel)
    channels = x.shape[-2] // places
    reach = [each * (extent - 1) + 1 for each, extent in zip(dilation, kernel, strict=True)]
    room = [whole + 2 * pad - extent for whole, pad, extent in zip(size, padding, reach, strict=True)]
    counts = [rest // step + 1 for rest, step in zip(room, stride, strict=True)]
    spare = [rest % step for rest, step in zip(room, stride, strict=True)]
    planes = x.reshape([-1, channels * places, *counts])
    ones = torch.eye(places).reshape([places, 1, *kernel]).repeat(channels, 1, 1, 1)
    found = functional.conv_transpose2d(planes, ones, None, stride, padding, spare, channels, dilation)
    return found.reshape([*x.shape[:-2], channels, *size])


@rule(aten.masked_scatter.default, NONE)
def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    mask = mask.expand(x.shape)
    places = (mask.reshape(-1).to(torch.int64).cumsum(0) - 1).clamp(0, source.numel() - 1)
    return torch.where(mask, source.reshape(-1).index_select(0, places).reshape(x.shape), x)


@rule(aten.select_scatter.default, "one that fails where source and target differ in MIL's types")
def select_scatter(x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    shape = [1] * x.dim()
    shape[dim] = x.shape[dim]
    here = (torch.arange(x.shape[dim]) == index % x.shape[dim]).reshape(shape)
    return torch.where(here, source.unsqueeze(dim).to(x.dtype), x)


@rule(aten.scatter.value, "one that fails where the number and the tensor differ in MIL's types")
def scatter_value(x: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    return x.scatter(dim, index, torch.full(index.shape, value, dtype=x.dtype))


@rule(aten.scatter.src, "one that refuses booleans")
def scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Any:
    if x.dtype != torch.bool:
        return NotImplemented
    return x.to(torch.int32).scatter(dim, index, source.to(torch.int32)).to(torch.bool)


@rule(aten.reciprocal.default, "one that refuses integers, and adds 1e-4 before it divides")
def reciprocal(x: Tensor) -> Tensor:
    dtype = x.dtype if x.is_floating_point() else torch.float32
    return torch.div(torch.ones_like(x, dtype=dtype), x.to(dtype))


@rule(aten.new_zeros.default, "one that fails where it has no axis")
def new_zeros(x: Tensor, size: list[int], dtype: torch.dtype | None = None, **_: Any) -> Any:
    return NotImplemented if size else torch.zeros(1, dtype=dtype or x.dtype).squeeze(0)


@rule(aten.stack.default, "one that refuses tensors of several types")
def stack(tensors: list[Tensor], dim: int = 0) -> Any:
    kinds = {tensor.dtype for tensor in tensors}
    if len(kinds) == 1:
        return NotImplemented
    common = reduce(torch.promote_types, kinds)
    return torch.stack([tensor.to(common) for tensor in tensors], dim)


@rule(aten.split.Tensor, "one that fails where the first part is all there is")
def split(x: Tensor, size: int, dim: int = 0) -> Any:
    return [x.narrow(dim, 0, x.shape[dim])] if size > x.shape[dim] else NotImplemented


@rule(aten.cumsum.default, "one that refuses an axis counted from the end, but the last")
def cumsum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    return torch.cumsum(x, dim + x.dim(), dtype=dtype) if dim < -1 else NotImplemented


@rule(aten.polar.default, NONE)
def polar(length: Tensor, angle: Tensor) -> Tensor:
    return torch.complex(length * angle.cos(), length * angle.sin())


@rule(aten.view_as_complex.default, NONE)
def view_as_complex(x: Tensor) -> Tensor:
    return torch.complex(x[..., 0], x[..., 1])


@rule(aten.mul.Tensor, "one that multiplies no complex numbers")
def mul(x: Any, y: Any) -> Any:
    if not any(torch.is_tensor(factor) and factor.is_complex() for factor in (x, y)):
        return NotImplemented
    if not (torch.is_tensor(x) and x.is_complex()):
        x, y = y, x
    a, b = torch.view_as_real(x).unbind(-1)
    if not (torch.is_tensor(y) and y.is_complex()):
        return torch.complex(a * y, b * y)
    c, d = torch.view_as_real(y).unbind(-1)
    return torch.complex(a * c - b * d, a * d + b * c)


@rule(aten.unsqueeze.default, "one that refuses complex numbers")
def unsqueeze(x: Tensor, dim: int) -> Any:
    if not x.is_complex():
        return NotImplemented
    real, imaginary = (part.unsqueeze(dim) for part in torch.view_as_real(x).unbind(-1))
    return torch.complex(real, imaginary)


@rule(aten.grid_sampler.default, "one that has no bicubic mode")
def grid_sampler(x: Tensor, grid: Tensor, mode: int, padding: int, corners: bool) -> Any:
    cubic = mode == 2 and x.dim() == 4
    apart = torch._decomp.decomposition_table[aten.grid_sampler_2d.default]
    return apart(x, grid, mode, padding, corners) if cubic else NotImplemented


@rule(aten.div.Tensor_mode, "one by way of floating-point numbers, which in fp16 hold no integer above 2048")
def div(x: Tensor, y: Any, *, rounding_mode: str | None) -> Any:
    whole = (
        not x.is_floating_point() and not (torch.is_tensor(y) and y.is_floating_point()) and not isinstance(y, float)
    )
    return torch.ops.aten.floor_divide(x, y) if whole and rounding_mode == "floor" else NotImplemented


@rule(aten.scatter_reduce.two, NONE)
def scatter_reduce(x: Tensor, dim: int, index: Tensor, source: Tensor, how: str, *, include_self: bool = True) -> Any:
    if how not in ("sum", "mean"):
        return NotImplemented
    counts = torch.zeros_like(x).scatter_add(dim, index, torch.ones_like(source))
    total = (x if include_self else torch.where(counts > 0, 0, x)).scatter_add(dim, index, source)
    if how == "sum":
        return total
    return total / (counts + 1 if include_self else counts.clamp(min=1))


@rule(aten.einsum.default, "one that takes an ellipsis for an axis")
def einsum(equation: str, operands: list[Tensor], *, path: list[int] | None = None) -> Any:
    if "..." not in equation:
        return NotImplemented
    given, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:
        raise NotImplementedError(f"einsum of {equation}, which does not say its result")
    free = [letter for letter in ascii_letters if letter not in equation]
    most = 0
    terms = []
    for term, operand in zip(given.split(","), operands, strict=True):
        count = operand.dim() - len(term.replace("...", "")) if "..." in term else 0
        most = max(most, count)
        terms.append(term.replace("...", "".join(free[:count][::-1])))
    # Axes of an ellipsis are counted from its end.
    return torch.einsum(f"{','.join(terms)}->{result.replace('...', ''.join(free[:most][::-1]))}", operands)


@rule(aten._is_all_true.default, NONE)
def is_all_true(x: Tensor) -> Tensor:
    return x.all()


@rule(aten.linear.default, "one that takes a weight of one axis for one of two")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return NotImplemented if weight.dim() != 1 else (x * weight).sum(-1)  # torch takes no bias beside it


@rule(
    aten.scaled_dot_product_attention.default,
    "one that takes as many heads of queries as of keys alone; and without a scale it keeps Booleans as the mask of MIL's own "
    "op, which gives no numbers where one hides all",
)
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    shared = enable_gqa and any(heads.shape[-3] != query.shape[-3] for heads in (key, value))
    hides = scale is None and attn_mask is not None and attn_mask.dtype == torch.bool
    if not shared and not hides:
        return NotImplemented
    if shared:
        key, value = (_for_each(query, heads) for heads in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
    if not hides or attn_mask is None:
        return found
    sees = attn_mask.to(found.dtype).amax(-1, keepdim=True)
    return found * sees


def _for_each(query: Tensor, heads: Tensor) -> Tensor:
    """Heads of keys or values once for each head of queries."""
    times = query.shape[-3] // heads.shape[-3]
    *before, length, width = heads.shape
    return heads.unsqueeze(-3).expand([*before, times, length, width]).flatten(-4, -3)


@rule(aten.mse_loss.default, "one that fails where the reduction is left to its default")
def mse_loss(x: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    squares = (x - y) * (x - y)
    return (squares, squares.mean(), squares.sum())[reduction]


@rule(aten.where.ScalarSelf, "one that takes a whole number for an integer beside floating-point numbers")
def where_scalar_self(condition: Tensor, x: Any, y: Tensor) -> Tensor:
    return torch.where(condition, torch.full((), x, dtype=torch.result_type(y, x)), y)


@rule(aten.gather.default, "one that refuses booleans, and indices that are fewer than what they point into")
def gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Any:
    if x.dtype == torch.bool:
        return torch.gather(x.to(torch.int32), dim, index).to(torch.bool)
    narrowed = x
    for axis in range(x.dim()):
        if axis != dim % x.dim() and x.shape[axis] != index.shape[axis]:
            narrowed = narrowed.narrow(axis, 0, index.shape[axis])
    return NotImplemented if narrowed is x else torch.gather(narrowed, dim, index)


def _of_booleans(op: OpOverload, logical: Callable[[Tensor, Tensor], Tensor]) -> None:
    @rule(op, "no translation; MIL has no operation on bits, so that this is of booleans alone")
    def apart(x: Tensor, y: Tensor) -> Tensor:
        if x.dtype != torch.bool or y.dtype != torch.bool:
            raise NotImplementedError(f"{op} of numbers: MIL has no operation on bits")
        return logical(x, y)


for _name, _logical in (("or", torch.logical_or), ("xor", torch.logical_xor)):
    _of_booleans(getattr(aten, f"bitwise_{_name}").Tensor, _logical)
    _of_booleans(getattr(aten, f"__{_name}__").Tensor, _logical)
