"""What every skill class that is made in memory is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

from ..matrix import Case
from ..settings import default_cache_dir, default_cache_size, share_of_threads
from ..specs import CheckpointSource, HardwareSpec, Job
from ..verdict import CaseFailed, Verdict
from ..words import nearest
from .calls import read_factory, read_init
from .declared import Declared
from .names import class_name, factory_name, init_name

if TYPE_CHECKING:
    import asyncio

    from ..handlers import Handler
    from ..hardware.base import Endpoint
    from ..tasks.base import Task

RUNNER = "pytest_ipfs_accelerate.runner:run_case"
"""What runs the checks of a case; by name, since it runs cases through these classes."""

QUEUE_SIZE = 64
"""How many requests wait for an endpoint before a worker has to."""

OPTIONS = ("threads", "precision", "allow_fallback", "cache_dir", "cache_size")
"""Keys of ``metadata`` that say how to run; what else a worker puts there is its own."""


PRECISIONS = ("fp32", "fp16", "bf16")
"""What a hardware may be asked for; whether one has it shows where it is opened. One of a user's may have others."""


class Opened(NamedTuple):
    """What ``init_<hardware>`` gives. ``batch_size`` is how many inputs one call may hold: 1, or 0 for any number."""

    endpoint: Endpoint
    processor: Any
    handler: Handler
    queue: asyncio.Queue[Any]
    batch_size: int


class Skill:
    """A model type in the interface of the worker: ``init_<hardware>`` opens it there, on the tiny checkpoint of the registry,
    a directory or a Hub id, and ``create_<hardware>_<task>_endpoint_handler`` gives the handler of a task. Everything runs in
    this process and for real; what cannot be opened raises.

    ``resources`` are modules and services that a worker shares (``torch``, ``transformers``; the ``bench`` that keeps
    checkpoints, the ``watch`` that is told of stages). Of ``metadata`` the keys :data:`OPTIONS` and ``device`` are read.

    Example::

        from pytest_ipfs_accelerate.skillset import skill_class

        bert = skill_class("bert")()
        endpoint, processor, handler, queue, batch_size = bert.init_openvino(task="fill-mask")
        handler("the quick brown [MASK] jumps")["token_str"]
    """

    declared: ClassVar[Declared]

    def __init__(self, resources: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        self.resources = dict(resources or {})
        self.metadata = dict(metadata or {})
        self._opened: WeakKeyDictionary[Endpoint, tuple[Job, Task]] = WeakKeyDictionary()

    def init(self) -> None:
        """Import what every endpoint needs, so that the first one does not wait for it."""
        for name in ("torch", "transformers", "numpy"):
            self.resources.setdefault(name, import_module(name))

    def open(self, hardware: str, words: Sequence[Any], named: Mapping[str, Any]) -> Opened:
        """What ``init_<hardware>`` does.

        Raises:
            NotOnHardware: the hardware is not here, or does not take the model.
            TypeError, ValueError: the call asks for what there is not.
        """
        # With torch and transformers: imported by who opens an endpoint, never by who makes a class.
        import asyncio

        import torch

        from ..hardware.base import NotOnHardware
        from ..opening import Unwatched, open_endpoint, open_task, shared_bench

        spec = self.declared.hardware[hardware]
        call = read_init(self.declared, spec, words, named)
        availability = spec.probe()
        if not availability.available:
            raise NotOnHardware(f"{hardware}: {availability.reason}")
        job = self._job(Case(self.declared.model, call.task, hardware), call.model, call.device)
        torch.set_num_threads(job.threads)
        bench = self.resources.get("bench") or shared_bench()
        task = open_task(job, bench.checkpoint(job.recipe))
        endpoint = open_endpoint(job, task, bench, self.resources.get("watch") or Unwatched())
        self._opened[endpoint] = job, task
        create = getattr(self, factory_name(hardware, call.task))
        handler = create(call.model, call.device or hardware, f"{hardware}:0", endpoint, task.processor)
        return Opened(endpoint, task.processor, handler, asyncio.Queue(QUEUE_SIZE), int("single" in task.options))

    def handler(self, hardware: str, task: str, words: Sequence[Any], named: Mapping[str, Any]) -> Handler:
        """What ``create_<hardware>_<task>_endpoint_handler`` does.

        Raises:
            TypeError: there is no endpoint of this object among the arguments.
            ValueError: the endpoint was opened on another hardware, or for another task.
        """
        from ..handlers import Handler

        name = factory_name(hardware, task)
        endpoint = read_factory(name, words, named, self._opened.__contains__)
        job, opened = self._opened[endpoint]
        if (job.case.hardware, job.case.task) != (hardware, task):
            raise ValueError(f"{name}() got an endpoint of {job.case.task} on {job.case.hardware}")
        return Handler(job.case, opened, endpoint)

    def __test__(
        self,
        endpoint_model: str = "",
        endpoint_handler: Handler | None = None,
        endpoint_label: str = "",
        tokenizer: Any = None,
    ) -> Verdict:
        """Run every check of the case of a handler on its endpoint; without one, of the primary task on the first hardware.
        The label and the tokenizer are taken as the interface has them, and say nothing.

        Raises:
            CaseFailed: the verdict is not ok.
            TypeError: the handler was not made by this object.
        """
        if endpoint_handler is None:
            first = next(iter(self.declared.hardware))
            endpoint_handler = getattr(self, init_name(first))(endpoint_model).handler
        endpoint = getattr(endpoint_handler, "endpoint", None)
        if endpoint is None or endpoint not in self._opened:
            raise TypeError(f"{endpoint_handler!r} is no handler of this {class_name(self.declared.model)}")
        from ..opening import load

        verdict: Verdict = load(RUNNER)(self._opened[endpoint][0], lambda stage: None, endpoint)
        if not verdict.ok:
            raise CaseFailed(verdict)
        return verdict

    def _job(self, case: Case, checkpoint: str, device: str) -> Job:
        recipe = self.declared.recipes[case.task]
        defaults: dict[str, Any] = {
            "threads": share_of_threads(1),
            "cache_dir": str(default_cache_dir()),
            "cache_size": default_cache_size(),
        }
        options: dict[str, Any] = defaults | {name: self.metadata[name] for name in OPTIONS if name in self.metadata}
        _check(options, self.declared.hardware[case.hardware])
        return Job(
            case=case,
            recipe=replace(recipe, checkpoint=checkpoint_source(checkpoint)) if checkpoint else recipe,
            hardware=self.declared.hardware[case.hardware].target,
            task=self.declared.targets[case.task],
            device=device or self.metadata.get("device", ""),
            **options,
        )


def _check(options: Mapping[str, Any], spec: HardwareSpec) -> None:
    """Hold the values of ``metadata`` against what they may be.

    Raises:
        ValueError: a precision that nothing here has, or threads that are no positive number.
    """
    precision, threads = options.get("precision", ""), options["threads"]
    known = dict.fromkeys((*spec.precisions, *PRECISIONS))
    if precision not in ("", *known):
        raise ValueError(f"metadata: {precision!r} is no precision{nearest(str(precision), known)}")
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"metadata: threads is {threads!r}, which is no positive whole number")


def checkpoint_source(place: str) -> CheckpointSource:
    """The checkpoint of a directory or a Hub id; from the Hub it may be downloaded, as transformers does.

    Raises:
        FileNotFoundError: it is written as a path, and there is no such directory.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return CheckpointSource(kind="directory", place=str(path.resolve()))
    if path.is_absolute() or place.startswith((".", "~")) or place.count("/") > 1:
        raise FileNotFoundError(f"there is no directory {place}")
    name, _, revision = place.partition("@")
    return CheckpointSource(kind="hub", place=name, revision=revision)
