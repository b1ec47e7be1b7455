"""What a skill class is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..matrix import base_task
from ..specs import Availability, HardwareSpec, Job, Recipe, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A model type with its tasks, the primary one first, on some hardware. ``recipes`` and ``targets`` (import paths) are by
    task; ``aliases`` maps older names of tasks to them."""

    model: str
    recipes: Mapping[str, Recipe]
    targets: Mapping[str, str]
    hardware: Mapping[str, HardwareSpec]
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def primary(self) -> str:
        """The task that is meant where none is named."""
        return next(iter(self.recipes))

    def task_of(self, word: str) -> str:
        """The task that a word names: its own name, an older one, in snake case or not, with what exporters append to it.

        Raises:
            LookupError: it names no task of this model type.
        """
        name = word.removesuffix("-with-past").replace("_", "-")
        for task in (word, name, self.aliases.get(name, "")):
            if task in self.recipes:
                return task
        raise LookupError(word)


def declared_of(job: Job) -> Declared:
    """The one case of a job: whether its hardware is here was found out before."""
    case = job.case
    spec = HardwareSpec(
        name=case.hardware,
        target=job.hardware,
        probe=lambda: Availability(available=True),
        precisions=(job.precision or "fp32",),
    )
    return Declared(
        model=case.model,
        recipes={case.task: job.recipe},
        targets={case.task: job.task},
        hardware={case.hardware: spec},
    )


def declared_by(
    model: str, recipes: Mapping[str, Recipe], tasks: Mapping[str, TaskSpec], hardware: Mapping[str, HardwareSpec]
) -> Declared:
    """A model type of the registry on declared hardware; a task that nobody declares is left out."""
    known = {task: recipe for task, recipe in recipes.items() if base_task(task) in tasks}
    return Declared(
        model=model,
        recipes=known,
        targets={task: tasks[base_task(task)].target for task in known},
        hardware=hardware,
        aliases={alias: spec.name for spec in tasks.values() for alias in spec.aliases},
    )
