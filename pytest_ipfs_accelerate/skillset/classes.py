"""``hf_<type>`` classes, made in memory for any model type of the registry; making one imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .. import builtin
from ..matrix import base_task
from ..registry import Registry, load_registry
from ..specs import HardwareSpec, Job, TaskSpec
from ..words import nearest
from .declared import Declared, declared_by, declared_of
from .names import class_name, factory_name, init_name, task_words
from .skill import OPTIONS, Opened, Skill


def skill_class(
    model: str,
    *,
    registry: Registry | None = None,
    tasks: Mapping[str, TaskSpec] | None = None,
    hardware: Mapping[str, HardwareSpec] | None = None,
) -> type[Skill]:
    """The class ``hf_<model>``: a subclass of :class:`Skill` with ``init_<hardware>`` for every hardware and
    ``create_<hardware>_<task>_endpoint_handler`` for every task of the model type, in its own name and in its older ones.
    ``registry``, ``tasks`` and ``hardware`` are the shipped ones where they are not given.

    Raises:
        LookupError: the registry has no such model type.
    """
    if registry is None and tasks is None and hardware is None:
        return _shipped_class(model)
    for name, given in (("tasks", tasks), ("hardware", hardware)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{name} maps each name to its spec, and is a {type(given).__name__}")
    registry = registry or _registry()
    if not isinstance(model, str):
        raise TypeError(f"a model type is a name, such as 'bert', and not {model!r}")
    if model not in registry:
        raise LookupError(f"no model type {model!r} in the registry{nearest(model, registry)}")
    recipes = {task: registry.recipe(model, task) for task in registry.tasks(model)}
    return make_class(declared_by(model, recipes, tasks or builtin.TASKS, hardware or builtin.HARDWARE))


@cache
def _registry() -> Registry:
    return load_registry()


@cache
def _shipped_class(model: str) -> type[Skill]:
    return skill_class(model, registry=_registry())


def skill_of(job: Job, **resources: Any) -> Skill:
    """The skill of the one case of a job, set up as the job says."""
    metadata = {name: getattr(job, name) for name in (*OPTIONS, "device")}
    return make_class(declared_of(job))(resources, metadata)


def make_class(declared: Declared) -> type[Skill]:
    """The class of what is declared."""
    members: dict[str, Any] = {"declared": declared, "__module__": __name__, "__doc__": _summary(declared)}
    for hardware in declared.hardware:
        members[init_name(hardware)] = _init(hardware)
        for task in declared.recipes:
            for word in task_words(task, declared.aliases):
                members[factory_name(hardware, word)] = _factory(hardware, task, word)
    return type(class_name(declared.model), (Skill,), members)


def _summary(declared: Declared) -> str:
    tasks = ", ".join(declared.recipes)
    return f"The model type {declared.model}, for {tasks}, on {', '.join(declared.hardware)}. See :class:`Skill`."


def _init(hardware: str) -> Callable[..., Opened]:
    def init(self: Skill, *args: Any, **kwargs: Any) -> Opened:
        return self.open(hardware, args, kwargs)

    init.__name__ = init_name(hardware)
    init.__qualname__ = f"Skill.{init.__name__}"
    init.__doc__ = f"""Open the model on {hardware}: ``(model, device, label)``, ``(model, task, device, label)``, or by name.

        ``model`` is a directory or a Hub id; without one, or as ``"tiny"``, it is the tiny checkpoint of the registry.
        """
    return init


def _factory(hardware: str, task: str, word: str) -> Callable[..., Any]:
    def create(self: Skill, *args: Any, **kwargs: Any) -> Any:
        return self.handler(hardware, task, args, kwargs)

    create.__name__ = factory_name(hardware, word)
    create.__qualname__ = f"Skill.{create.__name__}"
    create.__doc__ = f"The handler of {base_task(task)} for an endpoint that ``init_{hardware}`` gave."
    return create


def open_handler(job: Job) -> Any:
    """The handler of a case in this process, for a user's own test: built, exported and lowered, nothing compared."""
    return getattr(skill_of(job), init_name(job.case.hardware))(task=job.case.task).handler
