"""Whether a piece of code that is replaced for a trace can be traced, and gives the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

Call = Callable[..., Any]
Inputs = Callable[[int, int], tuple[Tensor, ...]]


def original_of(path: str) -> Any:
    module, _, rest = path.partition(".modeling_")
    name, *attributes = rest.split(".")
    found: Any = importlib.import_module(f"transformers.models.{module}.modeling_{name}")
    for attribute in attributes:
        found = getattr(found, attribute)
    return found


class Calls(nn.Module):
    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def forward(self, inputs: tuple[Tensor, ...]) -> Any:
        return self.call(*inputs)


def takes_another(call: Call, inputs: Inputs) -> bool:
    """Whether ``call`` is traced from one batch and length and takes another."""
    first, other = inputs(2, 3), inputs(3, 5)
    dynamic = tuple(dict.fromkeys(range(tensor.dim()), Dim.AUTO) for tensor in first)
    try:
        program = torch.export.export(Calls(call), (first,), dynamic_shapes=(dynamic,), strict=False)
        found = program.module()(other)
    except Exception:
        # Whatever the tracer or the specialised program raises: it takes no other.
        return False
    return same(found, call(*other))


def same(found: Any, expected: Any) -> bool:
    flat = [torch.utils._pytree.tree_leaves(side) for side in (found, expected)]
    pairs = list(zip(*flat, strict=True))
    return bool(pairs) and all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in pairs
    )
