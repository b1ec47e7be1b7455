"""``len`` of a tensor as a size that stays free, for the time of a trace.

Python's ``len`` gives an int, so that the size it is asked of becomes a constant of the program: a detector of the family of
RT-DETR (``batch_size = len(source_flatten)``) was exported for the batch of the trace alone.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


def length(value: Any) -> Any:
    """The first size of a tensor, which may be a symbol of the trace; of anything else, Python's ``len``."""
    return value.shape[0] if isinstance(value, Tensor) and value.dim() else builtins.len(value)


@contextmanager
def lengths_kept_free() -> Iterator[None]:
    """For a time, the code of every model type that is loaded finds :func:`length` where it says ``len``."""
    names = [name for name in sys.modules if name.startswith("transformers.models.") and ".modeling_" in name]
    modules: list[Any] = [sys.modules[name] for name in names if "len" not in vars(sys.modules[name])]
    for module in modules:
        module.len = length
    try:
        yield
    finally:
        for module in modules:
            del module.len
