"""A skill opened on a checkpoint: instance, endpoint, processor and handler, as a worker opens it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...matrix import base_task
from ...specs import Job, SkillSource
from ..findings import Finding
from ..names import init_name, parse_factory
from . import binding, interface

_RESOURCES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What ``init_<hardware>`` gave. ``handlers`` are those that may be the one for the task, by where each is from, and empty
    where there is none; ``findings`` are those on the form of it all."""

    skill: Any
    endpoint: Any
    processor: Any
    handlers: Mapping[str, Callable[..., Any]]
    findings: tuple[Finding, ...]


TUPLE = "the tuple"
"""Where the handler is from that ``init_<hardware>`` itself returned."""


def device_of(job: Job) -> str:
    """The device as a worker calls it."""
    match job.case.hardware:
        case "cuda" | "rocm":
            return f"cuda:{job.device or 0}"
        case "openvino" | "onnxruntime":
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
    """A skill opened on the checkpoint in a directory.

    The handler in the tuple is the one of the case, unless the class has several factories on this hardware and another one
    made it: then the factory for the task makes one. The factory makes one, too, where the tuple has none.

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
    endpoint, processor, own = [*parts, None, None, None][:3]
    handlers: dict[str, Callable[..., Any]] = {}
    factory = interface.factory_of(cls, hardware, words)
    fits = _fits(own, factory, skill, hardware)
    if callable(own) and fits is not False:
        handlers[TUPLE] = own
    if factory and (TUPLE not in handlers or fits is None):
        made = binding.call_factory(
            skill,
            factory,
            checkpoint=checkpoint,
            device=device,
            label=label_of(job),
            endpoint=endpoint,
            processor=processor,
        )
        findings += tuple(interface.check_handler(made, source, factory))
        handlers |= {factory: made} if callable(made) else {}
    return Opened(skill, endpoint, processor, handlers, findings)


def place_of_handler(handler: Any, source: SkillSource) -> tuple[str, int]:
    """File and line of a handler, where it is one of the user's; else of the class."""
    code = getattr(inspect.unwrap(handler) if callable(handler) else None, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else (source.file, source.line)


def _fits(handler: Any, factory: str, skill: Any, hardware: str) -> bool | None:
    """Whether the handler in the tuple is the one for the task: the factory for it made it, or there is no other factory.
    ``None`` where that cannot be told: a function says in its name which method it was made in, an object does not."""
    others = [name for name in dir(skill) if (parsed := parse_factory(name)) and parsed[0] == hardware]
    if not factory or others == [factory]:
        return True
    made_in = [name for name in getattr(handler, "__qualname__", "").split(".") if parse_factory(name)]
    return made_in[-1] == factory if made_in else None


def settled(value: Any) -> Any:
    """What a call gave, waited for where it is a coroutine."""
    if inspect.isawaitable(value):

        async def wait() -> Any:
            return await value

        return asyncio.run(wait())
    return value
