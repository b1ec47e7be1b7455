"""The rows of one run: the shipped ones, with a user's file and the rows of plugins laid over them.

A row is validated when it is first used, so that a run of one model does not pay for six hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..specs import Recipe
from ..words import nearest
from .rows import SCHEMA, ModelRow, RegistryFile, TaskRow, convert, expand, merge, read_json


class Registry:
    """The rows of one run, by model type.

    ``transformers`` is the version that the shipped rows are pinned to; ``proposed`` says of a model type that its row was
    proposed on the spot, and why; ``left_out`` are those that a pipeline map does not name.
    """

    def __init__(self) -> None:
        self.sets: dict[str, tuple[str, ...]] = {}
        self.transformers = ""
        self.proposed: dict[str, str] = {}
        self.left_out: frozenset[str] = frozenset()
        self._raw: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, ModelRow] = {}
        self._heads: dict[tuple[str, str], TaskRow] = {}
        self._sources: dict[str, str] = {}
        self._processors: dict[str, dict[str, Any]] = {}
        self._shapes: dict[str, dict[str, Any]] = {}
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
        self.transformers = file.transformers or self.transformers
        self._processors |= file.processors
        self._shapes |= file.shapes
        self.add_models(file.models, source)

    def add_models(self, rows: Mapping[str, Any], source: str) -> None:
        """Lay rows of model types over what is there."""
        for model, row in rows.items():
            self._raw[model], self._sources[model] = row, source
            self._rows.pop(model, None)
            self._heads = {key: head for key, head in self._heads.items() if key[0] != model}

    def propose(self, rows: Mapping[str, Mapping[str, Any]], reason: str) -> None:
        """Add model types and heads that have no row, as the installed transformers names them: what else a row says is
        proposed when a case of it runs, and ``reason`` is in its verdict."""
        for model, row in rows.items():
            known = self._raw.get(model)
            if known is None:
                self._raw[model], self._sources[model] = {"config_class": "", **row}, "transformers"
                self.proposed[model] = reason
            elif missing := {task: head for task, head in row["tasks"].items() if task not in known["tasks"]}:
                tasks = {**known["tasks"], **missing}
                self.add_models({model: {**known, "tasks": tasks}}, self._sources[model])
                self.proposed |= {f"{model}::{task}": reason for task in missing}

    def narrow(self, tasks: Mapping[str, tuple[str, ...]]) -> None:
        """Keep the model types of a pipeline map, with the tasks that it names, in its order."""
        self.left_out = frozenset(self._raw) - frozenset(tasks)
        self._raw = {model: self._raw[model] for model in tasks}
        self._tasks = dict(tasks)

    def raw(self, model: str) -> dict[str, Any]:
        """The row of a model type as it is written, with shapes in their places."""
        expanded: dict[str, Any] = expand(self._raw[model], self._shapes, f"{self._sources[model]}: models.{model}")
        return expanded

    def row(self, model: str) -> ModelRow:
        """The validated row of a model type."""
        row = self._rows.get(model)
        if row is None:
            source, keys = self._sources[model], f"models.{model}"
            row = convert(self.raw(model), ModelRow, source, keys)
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
            name = row.processor if head.processor is None else head.processor
            if name and name not in self._processors:
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
            config_class=head.config_class or row.config_class,
            config=head.config if head.config_class else merge(row.config, head.config),
            part=head.part,
            processor=self._processors[head.processor] if head.processor else None,
            inputs=head.inputs,
            seed=row.seed if head.seed is None else head.seed,
            hub=row.hub,
            needs=(*row.needs, *head.needs),
            proposed=self.proposed.get(model) or self.proposed.get(f"{model}::{task}", ""),
        )


def shipped_registry() -> Path:
    """``model_registry.json``: inside the installed package, or at the top of the repository."""
    package = Path(__file__).parents[1]
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
