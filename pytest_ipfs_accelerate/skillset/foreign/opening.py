"""A skill opened on a checkpoint: instance, endpoint, processor and handler, as a worker opens it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...matrix import base_task
from ...specs import Job, SkillSource
from ..findings import Finding
from ..names import init_name
from . import binding, interface

_RESOURCES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What ``init_<hardware>`` gave. ``findings`` are those on its form; ``handler`` is ``None`` where there is none."""

    skill: Any
    endpoint: Any
    processor: Any
    handler: Callable[..., Any] | None
    findings: tuple[Finding, ...]

    def place(self, source: SkillSource) -> tuple[str, int]:
        """File and line of the handler, where it is one of the user's; else of the class."""
        code = getattr(inspect.unwrap(self.handler) if callable(self.handler) else None, "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code is not None else (source.file, source.line)


def device_of(job: Job) -> str:
    """The device as a worker calls it."""
    match job.case.hardware:
        case "cuda" | "rocm":
            return f"cuda:{job.device or 0}"
        case "openvino":
            return job.device or "CPU"
        case "apple":
            return "mps"
        case name:
            return name


def label_of(job: Job) -> str:
    """The label of the endpoint as a worker gives it."""
    return f"{job.case.hardware}:{job.device if job.device.isdigit() else 0}"


def make_skill(cls: type, hardware: str) -> Any:
    """An instance, with the modules that a worker gives it, and its own ``init`` called where it has one."""
    names = (*_RESOURCES, *(["openvino"] if hardware == "openvino" else []))
    resources = {name: importlib.import_module(name) for name in names}
    taken = inspect.signature(cls).parameters
    options = {"resources": resources, "metadata": {}}
    skill = cls(**options) if taken.keys() >= options.keys() else cls(*list(options.values())[: len(taken)])
    if callable(init := getattr(skill, "init", None)):
        init()
    return skill


def open_skill(cls: type, source: SkillSource, job: Job, checkpoint: str, words: Sequence[str]) -> Opened:
    """A skill opened on the checkpoint in a directory. Where the tuple has no handler, the factory for the task makes it.

    Raises:
        binding.NotCallable: a signature is of no known kind.
        Exception: whatever the class lets out.
    """
    hardware = job.case.hardware
    skill = make_skill(cls, hardware)
    device = device_of(job)
    task = base_task(job.case.task)
    result = settled(binding.call_init(skill, hardware, checkpoint=checkpoint, task=task, device=device))
    findings = tuple(interface.check_tuple(result, source, init_name(hardware)))
    parts = list(result) if isinstance(result, tuple | list) else [result]
    endpoint, processor, handler = [*parts, None, None, None][:3]
    if not callable(handler):
        handler = None
        if factory := interface.factory_of(cls, hardware, words):
            handler = binding.call_factory(
                skill,
                factory,
                checkpoint=checkpoint,
                device=device,
                label=label_of(job),
                endpoint=endpoint,
                processor=processor,
            )
            findings += tuple(interface.check_handler(handler, source, factory))
    return Opened(skill, endpoint, processor, handler if callable(handler) else None, findings)


def settled(value: Any) -> Any:
    """What a call gave, waited for where it is a coroutine."""
    if inspect.isawaitable(value):

        async def wait() -> Any:
            return await value

        return asyncio.run(wait())
    return value
