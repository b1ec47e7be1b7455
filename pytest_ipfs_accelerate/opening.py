"""From a job to its task, its program and its endpoint, inside the host process: knows both tasks and hardware."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from .bench import Bench
from .hardware.base import Endpoint, Hardware
from .models.checkpoint import Checkpoint, build_checkpoint
from .specs import Job, Recipe
from .store import Store, cid_of
from .tasks.base import Task
from .tasks.tensors import TensorsOnly
from .verdict import Stage


class Watch(Protocol):
    """Is told how a case comes along: each stage as it begins and ends, and what is worth putting on record."""

    def staged(self, stage: Stage) -> AbstractContextManager[None]: ...

    def note(self, evidence: Mapping[str, Any]) -> None: ...

    def reused(self, what: str) -> None: ...

    def warn(self, warning: str) -> None: ...


class Unwatched:
    """Nobody looks."""

    def staged(self, stage: Stage) -> AbstractContextManager[None]:
        return nullcontext()

    def note(self, evidence: Mapping[str, Any]) -> None: ...

    def reused(self, what: str) -> None: ...

    def warn(self, warning: str) -> None: ...


@cache
def shared_bench() -> Bench:
    """The bench of this process."""
    return Bench()


def load(target: str) -> Any:
    """The object at an import path, ``package.module:name``.

    Raises:
        ImportError, AttributeError: there is none.
    """
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def open_checkpoint(recipe: Recipe) -> Checkpoint:
    """The checkpoint of a recipe, for a user's own test."""
    return build_checkpoint(recipe)


def open_task(job: Job, checkpoint: Checkpoint) -> Task:
    """The task of a job on a checkpoint, with natural inputs where there is a processor for them."""
    kind: type[Task] = load(job.task)
    return kind(checkpoint) if checkpoint.processor is not None else TensorsOnly(kind, checkpoint)


def open_hardware(job: Job) -> Hardware:
    """The hardware of a job, asked for its precision and device."""
    hardware: Hardware = load(job.hardware)(
        threads=job.threads,
        precision=job.precision,
        device=job.device,
        allow_fallback=job.allow_fallback,
        store=store_of(job) if job.cache_size else None,
    )
    return hardware


def open_endpoint(job: Job, task: Task, bench: Bench, watch: Watch) -> Endpoint:
    """The model of a task lowered onto the hardware of a job, exported first where the hardware reads programs.

    Raises:
        NotOnHardware: the hardware does not take it.
    """
    hardware = open_hardware(job)
    program: Any = None
    if hardware.format == "torch":
        with watch.staged(Stage.EXPORT):
            program = bench.torch_program(task)
    elif hardware.format:
        with watch.staged(Stage.EXPORT):
            program, made = bench.program(task, store_of(job))
            if made.reused:
                watch.reused("export")
            components = {name: cid_of(component.onnx) for name, component in program.components.items()}
            watch.note({"program": {"cid": made.cid, "components": components}})
            if made.warning:
                watch.warn(made.warning)
    with watch.staged(Stage.LOWER):
        return hardware.lower(task.checkpoint, program)


def store_of(job: Job) -> Store:
    """Where the artifacts of a job are kept; one of its own would look through the directory again and again."""
    return _store(job.cache_dir, job.cache_size)


@cache
def _store(root: str, limit: int) -> Store:
    return Store(Path(root), limit)
