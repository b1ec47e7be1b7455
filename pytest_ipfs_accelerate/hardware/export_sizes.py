"""What takes a size of a trace for a number, for the time of a trace.

Every function of Python that must give an ``int`` makes a constant of a symbolic size, so that the program takes no batch but
the one that it was traced from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def length(sized: Any) -> Any:
    """``len``, which gives the symbol of a tensor's first axis."""
    return sized.shape[0] if isinstance(sized, Tensor) and sized.dim() else len(sized)


@contextmanager
def lengths_stay_symbols() -> Iterator[None]:
    """For a time the code of every model type that is loaded calls :func:`length` for ``len``. ``batch_size =
    len(source_flatten)`` of deimv2, pp_doclayout_v2 and omdet-turbo, and the pieces of a picture of depth_pro were constants:
    Python itself makes an ``int`` of what ``Tensor.__len__`` gives."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("transformers.models.") and ".modeling_" in name and "len" not in vars(module)
    ]
    for module in modules:
        vars(module)["len"] = length
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["len"]


def gathered(original: Any) -> Any:
    """``take_along_dim`` works out in C++ how far its arguments are repeated, in integers, so that the batch of both is a
    constant (pp_doclayout_v2). Where nothing is repeated it is a gather."""

    @wraps(original)
    def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, **kwargs: Any) -> Tensor:
        if dim is None or input.dim() != indices.dim() or kwargs:
            return original(input, indices, dim, **kwargs)  # type: ignore[no-any-return]
        others = [axis for axis in range(input.dim()) if axis != dim % input.dim()]
        if any(input.shape[axis] != indices.shape[axis] for axis in others):
            return original(input, indices, dim)  # type: ignore[no-any-return]
        return input.gather(dim, torch.where(indices < 0, indices + input.shape[dim], indices))

    return take_along_dim
