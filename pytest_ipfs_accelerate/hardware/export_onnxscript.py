"""Where onnxscript 0.7.2 translates or rewrites a graph into one that gives other numbers, for the time of a trace; and its
table of translations, which torch builds anew for every graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, wraps
from typing import Any

import torch
from onnxscript.rewriter._pattern_ir import Constant
from onnxscript.rewriter.rules.common import _no_op
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry


def onnxscript_faults() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is replaced: an object, the name of its attribute, and what gives the replacement."""
    yield Tensor, "scatter_reduce", mean_of_a_sum
    yield Tensor, "squeeze", squeezed_if_one
    yield torch, "squeeze", squeezed_if_one
    yield nn.LSTM, "forward", sized_states
    yield ONNXRegistry, "from_torchlib", built_once
    for constant in no_op_constants():
        for tolerance in ("_rel_tol", "_abs_tol"):
            yield constant, tolerance, exactly


def no_op_constants() -> Iterator[Constant]:
    """The numbers that make an operator none, such as the 0 that is added."""
    for rule in _no_op.rules:
        for node in rule._target_pattern:
            yield from (value for value in node.inputs if isinstance(value, Constant))


def exactly(tolerance: float) -> float:
    """No tolerance: with the usual one, adding 1e-10 counts as adding 0, and a division that it guards gives 0 / 0 (tapas)."""
    return 0.0


def mean_of_a_sum(original: Any) -> Any:
    """``scatter_reduce`` by ``mean`` as a sum over a count: onnxscript translates the mean as no reduction at all, and the last
    number of a segment stands for all of them (tapas)."""

    @wraps(original)
    def scatter_reduce(
        self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
    ) -> Tensor:
        if reduce != "mean":
            return original(self, dim, index, src, reduce, include_self=include_self)  # type: ignore[no-any-return]
        count = torch.zeros_like(self).scatter_add(dim, index, torch.ones_like(src))
        total = torch.zeros_like(self).scatter_add(dim, index, src)
        if include_self:
            return (self + total) / (count + 1)
        return torch.where(count > 0, total / count.clamp(min=1), self)

    return scatter_reduce


def squeezed_if_one(original: Any) -> Any:
    """An axis that is longer than 1 stays, as torch has it; onnxscript squeezes it all the same, and the graph is refused (the
    logits of transducers, which have such an axis in a generation alone). Where none is named it are those that are 1 in the
    trace: a graph that looks again squeezes a batch of one, too (mbart)."""

    @wraps(original)
    def squeeze(self: Tensor, *axes: Any, **named: Any) -> Tensor:
        axis = named["dim"] if "dim" in named else axes[0] if len(axes) == 1 else axes
        if axis == ():
            ones = tuple(place for place, size in enumerate(self.shape) if size == 1)
            return original(self, ones) if ones else self
        if isinstance(axis, int) and self.dim() and self.shape[axis] != 1:
            return self
        return original(self, *axes, **named)  # type: ignore[no-any-return]

    return squeeze


def sized_states(original: Any) -> Any:
    """The states of an LSTM viewed in their own sizes: where they are inputs of the graph, torch has the width as a symbol
    that equals a number, and onnxscript takes the symbol for the ``hidden_size`` of its operator, which must be one (the
    decoders of transducers)."""

    @wraps(original)
    def forward(self: nn.LSTM, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        if hx is None or input.dim() != 3:
            return original(self, input, hx)
        layers = self.num_layers * (2 if self.bidirectional else 1)
        hidden, cell = hx
        sized = hidden.view(layers, -1, self.proj_size or self.hidden_size), cell.view(layers, -1, self.hidden_size)
        return original(self, input, sized)

    return forward


@cache
def built_once(original: Callable[..., ONNXRegistry]) -> Any:
    """Copies of one registry for each opset: building it costs half a second, a tenth of an export. An exporter adds its own
    translations to what it gets."""
    build = cache(original)

    def from_torchlib(*opset: int, **named: int) -> ONNXRegistry:
        built = build(*opset, **named)
        copy = ONNXRegistry()
        copy._opset_version = built.opset_version
        copy.functions = {target: [*translations] for target, translations in built.functions.items()}
        return copy

    return staticmethod(from_torchlib)
