"""What the rules do not find, by model type: what a person found by reading the model. One table a category, each beside this
file; a key is a glob over model types, ``model:task`` or a class name, and everything that matches is laid over, in order.

A value holds any of ``config`` (laid over the proposed options), ``inputs`` (laid over the proposed ``sizes``, ``pads`` and
``tensors``; a tensor that is ``None`` is taken away; ``"whole": True`` asks no rule), ``divisor``, ``part``, ``seeds``,
``processor``, ``tensors only``, ``padding_shifts`` and ``single`` (these three with a reason), and ``wrapped``: the class of
config that the head is built from, its own options, and the field that the config of the model type goes into.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from ..heads import Head
from ..shrink import laid_over

TABLES = ("language", "vision", "audio", "multimodal_a_i", "multimodal_j_o", "multimodal_p_z", "specialized")


def tables() -> Mapping[str, Mapping[str, Any]]:
    """Every exception by its key."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in TABLES:
        found |= import_module(f"{__package__}.{name}").EXCEPTIONS
    return found


def exception_of(head: Head) -> dict[str, Any]:
    """What holds for a head beside the rules."""
    merged: dict[str, Any] = {}
    names = (head.model, f"{head.model}:{head.task}", head.model_class)
    for key, value in tables().items():
        if any(fnmatchcase(name, key) for name in names):
            merged = laid_over(merged, value)
    return merged
