"""Whether a piece of code that is replaced for a trace can be traced, and gives the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from pytest_ipfs_accelerate.hardware.export_registry import PATCHES

Call = Callable[..., Any]
Inputs = Callable[[int, int], tuple[Tensor, ...]]
Make = Callable[[Any], Call]
"""A call of a function that stands in a model type's code, on modules whose weights are drawn."""


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


def shapes_depend_on_data(call: Call, tensors: tuple[Tensor, ...]) -> bool:
    """Whether a trace of ``call`` for these sizes alone has still sizes that it cannot know."""
    return bool(torch.export.export(Calls(call), (tensors,), strict=False).range_constraints)


def same(found: Any, expected: Any) -> bool:
    flat = [torch.utils._pytree.tree_leaves(side) for side in (found, expected)]
    pairs = list(zip(*flat, strict=True))
    return bool(pairs) and all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in pairs
    )


def both(path: str, make: Make) -> tuple[Call, Call]:
    """What stands at a path and what replaces it, on the same weights."""
    original = original_of(path)
    calls = []
    for function in (original, PATCHES[path](original)):
        torch.manual_seed(1)
        calls.append(make(function))
    return calls[0], calls[1]


def check_numbers(path: str, make: Make, inputs: Inputs, sizes: Iterable[tuple[int, int]]) -> None:
    """The replacement gives the numbers of the original, and others where the first input is turned round."""
    expected, replaced = both(path, make)
    for batch, length in sizes:
        given = inputs(batch, length)
        assert same(replaced(*given), expected(*given))
        assert not same(replaced(given[0].flip(1), *given[1:]), expected(*given))


def check_needed(path: str, make: Make, inputs: Inputs) -> None:
    """The replacement is traced and takes another size, and the original is not. Where this fails, transformers or torch no
    longer has the fault: the replacement can go."""
    original, replaced = both(path, make)
    assert takes_another(replaced, inputs)
    assert not takes_another(original, inputs)
