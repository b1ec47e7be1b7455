"""How ``model_registry.json`` is written: keys in a fixed order, one short object a line, and what several rows share named
once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .rows import SHAPE

WIDTH = 128
SHARED, SHORT = 3, 56
"""An object is named once when it stands in at least so many rows, and is at least so many characters long."""


def dump(value: Any, indent: int = 0) -> str:
    """JSON with every object and list that fits on one line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {dump(item, indent + 2)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(inner + dump(item, indent + 2) for item in value) + "\n" + " " * indent + "]"


def share(rows: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``rows`` with the objects that several of them hold replaced by ``{"$shape": name}``, and these objects by name. An
    object of ``known`` keeps its name."""
    counts = Counter(_key(item) for row in rows.values() for item in _objects(row))
    names = {_key(shape): name for name, shape in known.items()}
    taken = Counter(name.rpartition("-")[0] for name in known)
    shapes: dict[str, Any] = {}

    def replaced(value: Any, *, top: bool = False) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, dict):
            return value
        key = _key(value)
        if top or len(key) < SHORT or counts[key] < SHARED:
            return {name: replaced(item) for name, item in value.items()}
        if key not in names:
            names[key] = _name(value, taken)
        shapes.setdefault(names[key], value)
        return {SHAPE: names[key]}

    shared = {}
    for model, row in rows.items():
        shared[model] = {name: replaced(value, top=name == "tasks") for name, value in row.items()}
        shared[model]["tasks"] = {task: replaced(head, top=True) for task, head in row["tasks"].items()}
    return shared, dict(sorted(shapes.items()))


def _objects(row: Any) -> Iterator[dict[str, Any]]:
    if isinstance(row, dict):
        yield row
    if isinstance(row, dict | list):
        for item in row.values() if isinstance(row, dict) else row:
            yield from _objects(item)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


_HINTS = ("model_type", "class", "modality", "rope_type")


def _name(value: Mapping[str, Any], taken: Counter[str]) -> str:
    """A name that says what an object is: its kind, or the first of its keys, and a number."""
    if "tensors" in value:
        words = [name.removesuffix("_values").removesuffix("_ids") for name in value["tensors"] if "mask" not in name]
        stem = "inputs-" + "-".join(words[:3])
    else:
        stem = next((str(value[hint]) for hint in _HINTS if isinstance(value.get(hint), str)), "") or "-".join(
            list(value)[:2]
        )
    taken[stem] += 1
    return f"{stem}-{taken[stem]}"


def recipe_name(recipe: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    """The name of a processor: its class and its vocabulary or size, and letters of its digest where that is not enough."""
    options = recipe.get("options", {})
    size = options.get("size")
    words = [recipe["class"].removesuffix("Pil").removesuffix("Processor"), recipe.get("vocabulary", "")]
    if isinstance(size, dict):
        words.append(str(next(iter(size.values()))))
    name = "-".join(word for word in words if word).lower()
    if taken.get(name, recipe) == recipe:
        return name
    return f"{name}-{hashlib.sha256(_key(recipe).encode()).hexdigest()[:6]}"
