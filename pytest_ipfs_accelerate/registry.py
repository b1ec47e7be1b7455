"""The registry: what exists, and the pinned tiny case of each. Reads and validates ``model_registry.json``, a user's rows on
top of it, and pipeline maps.

A row is validated when it is first used, so that a run of one model does not pay for six hundred.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import pytest

from .specs import Recipe
from .words import nearest

SCHEMA = 1
Category = Literal["language", "vision", "audio", "multimodal", "specialized"]
CATEGORIES: tuple[str, ...] = ("language", "vision", "audio", "multimodal", "specialized")


class TaskRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"model_class": "class"}):
    """One task of a model type; ``config`` is merged over that of the model type."""

    model_class: str
    config: dict[str, Any] = {}
    processor: str | None = None
    inputs: dict[str, Any] = {}


class ModelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model type. The first of its ``tasks`` is the primary one."""

    category: Category
    config_class: str
    config: dict[str, Any]
    processor: str
    tasks: dict[str, dict[str, Any]]
    hub: str = ""
    seed: int = 0
    needs: tuple[str, ...] = ()


class RegistryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registry file; in a user's own everything but ``models`` may be left out."""

    models: dict[str, dict[str, Any]]
    schema: int = SCHEMA
    transformers: str = ""
    sets: dict[str, tuple[str, ...]] = {}
    processors: dict[str, dict[str, Any]] = {}


Row = TypeVar("Row")


def _unique(path: Path) -> Any:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise pytest.UsageError(f"{path}: the key {key!r} stands twice in one object")
            found[key] = value
        return found

    return hook


def read_json(path: Path, option: str) -> Any:
    """The content of a JSON file.

    Raises:
        pytest.UsageError: it cannot be read, is not JSON (with line and column), or repeats a key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise pytest.UsageError(f"{option}: cannot read {path}: {reason}") from None
    try:
        return json.loads(text, object_pairs_hook=_unique(path))
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise pytest.UsageError(f"{option}: {place}: not JSON: {error.msg}") from None


def convert(raw: Any, form: type[Row], source: str, keys: str) -> Row:
    """``raw`` as a row of ``form``.

    Raises:
        pytest.UsageError: wrong type, missing or unknown key; names the file and the path of the key.
    """
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        hint = ""
        if "unknown field" in message:
            known = [field.encode_name for field in msgspec.structs.fields(form)]  # type: ignore[arg-type]
            hint = nearest(message.split("`")[1], known)
        raise pytest.UsageError(f"{source}: {keys}{where.rstrip('`')}: {message}{hint}") from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, nested objects merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


class Registry:
    """The rows of one run, by model type.

    ``sources`` maps a model type to the file (or hook) that its row comes from, for error messages.
    """

    def __init__(self) -> None:
        self.sets: dict[str, tuple[str, ...]] = {}
        self._raw: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, ModelRow] = {}
        self._heads: dict[tuple[str, str], TaskRow] = {}
        self._sources: dict[str, str] = {}
        self._processors: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, tuple[str, ...]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __contains__(self, model: object) -> bool:
        return model in self._raw

    def add(self, raw: Any, source: str) -> None:
        """Lay a registry file over what is there: a model type, set or processor of the same name is replaced."""
        file = convert(raw, RegistryFile, source, "")
        if file.schema != SCHEMA:
            raise pytest.UsageError(f"{source}: schema: {file.schema} is not the schema that is read here, {SCHEMA}")
        self.sets |= file.sets
        self._processors |= file.processors
        self.add_models(file.models, source)

    def add_models(self, rows: Mapping[str, Any], source: str) -> None:
        """Lay rows of model types over what is there."""
        for model, row in rows.items():
            self._raw[model], self._sources[model] = row, source
            self._rows.pop(model, None)
            self._heads = {key: head for key, head in self._heads.items() if key[0] != model}

    def narrow(self, tasks: Mapping[str, tuple[str, ...]]) -> None:
        """Keep the model types of a pipeline map, with the tasks that it names, in its order."""
        self._raw = {model: self._raw[model] for model in tasks}
        self._tasks = dict(tasks)

    def row(self, model: str) -> ModelRow:
        """The validated row of a model type."""
        row = self._rows.get(model)
        if row is None:
            source, keys = self._sources[model], f"models.{model}"
            row = convert(self._raw[model], ModelRow, source, keys)
            if not row.tasks:
                raise pytest.UsageError(f"{source}: {keys}.tasks: names no task")
            self._rows[model] = row
        return row

    def tasks(self, model: str) -> tuple[str, ...]:
        """The tasks of a model type, the primary one first."""
        return self._tasks.get(model) or tuple(self.row(model).tasks)

    def category(self, model: str) -> str:
        return self.row(model).category

    def validate(self, model: str) -> None:
        """Find out before the run whether every task of a model type has a usable row.

        Raises:
            pytest.UsageError: the row of a task is not valid, or names a processor that is not there.
        """
        for task in self.tasks(model):
            self._head(model, task)

    def _head(self, model: str, task: str) -> TaskRow:
        """The validated row of a task, its processor named."""
        head = self._heads.get((model, task))
        if head is None:
            row, source, keys = self.row(model), self._sources[model], f"models.{model}.tasks.{task}"
            head = convert(row.tasks[task], TaskRow, source, keys)
            name = head.processor or row.processor
            if name not in self._processors:
                raise pytest.UsageError(f"{source}: {keys}: no processor {name!r}{nearest(name, self._processors)}")
            head = self._heads[model, task] = msgspec.structs.replace(head, processor=name)
        return head

    def recipe(self, model: str, task: str) -> Recipe:
        """What builds the tiny checkpoint of a model type for a task.

        Raises:
            pytest.UsageError: the row of the task is not valid, or names a processor that is not there.
        """
        row, head = self.row(model), self._head(model, task)
        assert head.processor is not None
        return Recipe(
            model=model,
            category=row.category,
            model_class=head.model_class,
            config_class=row.config_class,
            config=merge(row.config, head.config),
            processor=self._processors[head.processor],
            inputs=head.inputs,
            seed=row.seed,
            hub=row.hub,
            needs=row.needs,
        )


def shipped_registry() -> Path:
    """``model_registry.json``: inside the installed package, or at the top of the repository."""
    package = Path(__file__).parent
    installed = package / "model_registry.json"
    return installed if installed.exists() else package.parent / "model_registry.json"


@cache
def _shipped() -> Any:
    path = shipped_registry()
    return read_json(path, path.name)


def load_registry(file: Path | None = None, rows: Mapping[str, Any] | None = None) -> Registry:
    """The shipped registry, with a user's file and the rows of plugins laid over it, in this order."""
    registry = Registry()
    registry.add(_shipped(), "model_registry.json")
    if file is not None:
        registry.add(read_json(file, "--ipfs-registry"), str(file))
    if rows:
        registry.add_models(rows, "pytest_ipfs_models")
    return registry


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
