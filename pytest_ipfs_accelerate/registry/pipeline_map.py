"""Pipeline maps in the old format: ``{"bert": ["fill-mask", …], …}``, and their reverse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ..words import nearest
from .rows import convert, read_json
from .table import Registry


def read_pipeline_map(path: Path, registry: Registry, aliases: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """A pipeline map in the old format, ``{"bert": ["fill-mask", …], …}``, the first task primary. Old names of tasks are
    read by ``aliases``.

    Raises:
        pytest.UsageError: not such a map, or a model type or task that the registry has no row for.
    """
    option = "--ipfs-pipeline-map"
    raw = read_json(path, option)
    if not isinstance(raw, dict):
        raise pytest.UsageError(f"{option}: {path}: expected an object of model types, got {type(raw).__name__}")
    found: dict[str, tuple[str, ...]] = {}
    for model, tasks in raw.items():
        if model not in registry:
            raise pytest.UsageError(f"{option}: {path}: {model}: no such model type{nearest(model, registry)}")
        names = convert(tasks, list[str], f"{option}: {path}", model)
        known = registry.row(model).tasks
        resolved = [name if name in known else aliases.get(name, name) for name in names]
        for name, given in zip(resolved, names, strict=True):
            if name not in known:
                raise pytest.UsageError(f"{option}: {path}: {model}: no task {given!r}{nearest(given, known)}")
        if not resolved:
            raise pytest.UsageError(f"{option}: {path}: {model}: names no task")
        found[model] = tuple(dict.fromkeys(resolved))
    return found
