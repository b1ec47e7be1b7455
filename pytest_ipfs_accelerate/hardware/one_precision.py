"""A model in another precision than its code was written for: torch's products refuse floats of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


class OnePrecision(TorchFunctionMode):
    """Gives a function that refuses floats of several precisions all of them in ``dtype``, or in that of the tensor that it
    writes to: dab-detr multiplies positions that it makes in fp32 by its weights, whatever these are in."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            return func(*args, **kwargs)
        except RuntimeError:
            if len({leaf.dtype for leaf in tree_leaves((args, kwargs)) if _floats(leaf)}) < 2:
                raise
        dtype = args[0].dtype if _writes(func) else self.dtype
        args, kwargs = tree_map(lambda leaf: leaf.to(dtype) if _floats(leaf) else leaf, (args, kwargs))
        return func(*args, **kwargs)


def _writes(func: Any) -> bool:
    name = func.__name__
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _floats(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
