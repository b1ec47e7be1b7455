"""Of which model type a ``config.json`` is. Imports nothing, since a run is planned with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def other_type(config: Any, model: str) -> str:
    """Of which other model type a ``config.json`` is; empty where it, or a config nested in it, is of this one."""
    types = list(_model_types(config))
    if model in types:
        return ""
    return f"says model_type {types[0]!r}, not {model!r}" if types else "says no model_type"


def _model_types(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(found := config.get("model_type"), str):
            yield found
        for value in config.values():
            yield from _model_types(value)
