"""Which cases a skill class of a user has: the tasks of its model type that it offers, on each hardware."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...matrix import Case, base_task
from ...registry import Registry
from ...specs import SkillSource, TaskSpec
from ..names import factory_name, snake, task_words
from .discover import Discovery, Skill


def words_of(model: str, task: str, tasks: Sequence[str], declared: Mapping[str, TaskSpec]) -> tuple[str, ...]:
    """The words that a factory may have for a task of a model type, its own first. ``tasks`` are those of the model type: its
    name is a word for the primary one, as in ``create_cpu_t5_endpoint_handler``."""
    aliases = declared[task].aliases if task in declared else ()
    words = task_words(task, dict.fromkeys(aliases, task))
    return tuple(dict.fromkeys([*words, snake(model)])) if tasks and task == tasks[0] else tuple(words)


def task_of(word: str, model: str, tasks: Sequence[str], declared: Mapping[str, TaskSpec]) -> str:
    """The task of a model type that a word of a factory means; empty where it has none of that word. A word that means several
    tasks means, of those that the model type has, the one declared last, which is the narrower one."""
    having = [task for task in tasks if word in words_of(model, task, tasks, declared)]
    order = list(declared)
    exact = [task for task in having if snake(task) == word]
    return max(exact or having, key=lambda task: order.index(task) if task in declared else -1, default="")


def tasks_on(
    hardware: str,
    skill: Skill,
    model: str,
    tasks: Sequence[str],
    chosen: Collection[str],
    declared: Mapping[str, TaskSpec],
) -> list[str]:
    """The tasks of a skill on a hardware, of those that are chosen. Where it offers no factory for any task there, one, whose
    case says what is missing: the first that it offers elsewhere, else the primary one."""
    offered = {(where, task_of(word, model, tasks, declared)) for where, word in skill.factories}
    here = [task for task in tasks if (hardware, task) in offered]
    somewhere = [task for task in tasks if any(task == each for _, each in offered)]
    if not here:
        return [task for task in (*somewhere, *tasks) if _is_chosen(task, chosen)][:1]
    return [task for task in here if _is_chosen(task, chosen)]


def _is_chosen(task: str, chosen: Collection[str]) -> bool:
    return task in chosen or base_task(task) in chosen


class Skillset:
    """The skill classes of a user that are checked in place of our own, by model type, and the cases that they have."""

    def __init__(self, found: Discovery, registry: Registry, declared: Mapping[str, TaskSpec]) -> None:
        self.skills = found.skills
        self.warnings = found.warnings
        self._registry = registry
        self._declared = declared

    def fault(self, model: str) -> str:
        """Why no case of a class can run; empty where it can."""
        skill = self.skills.get(model)
        return f"{self.place(model)}: {skill.fault}" if skill and skill.fault else ""

    def place(self, model: str) -> str:
        """``hf_bert (skills/hf_bert.py:12)``, the file as seen from here where it lies below."""
        source = self.skills[model].source
        file = Path(source.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return f"{source.name} ({shown}{f':{source.line}' if source.line else ''})"

    def cases(self, model: str, chosen: Collection[str], hardware: Sequence[str]) -> list[Case]:
        """The cases of a class, in the order of the registry; of one that no model type has the name of one a hardware, filed
        under the first task that it offers."""
        skill = self.skills.get(model)
        if skill is None:
            return []
        if skill.fault:
            every = list(self._declared)
            offered = (task_of(word, "", every, self._declared) for _, word in skill.factories)
            return [Case(model, next(filter(None, offered), every[0]), name) for name in hardware]
        tasks = self._registry.tasks(model)
        on = {name: tasks_on(name, skill, model, tasks, chosen, self._declared) for name in hardware}
        return [Case(model, task, name) for task in tasks for name in hardware if task in on[name]]

    def source(self, model: str) -> SkillSource:
        """Where a class stands, with those of its factories for which its model type has no task."""
        skill, tasks = self.skills[model], self._registry.tasks(model)
        unplaced = [name for name in skill.factories if not task_of(name[1], model, tasks, self._declared)]
        return replace(skill.source, unplaced=tuple(factory_name(*name) for name in unplaced))

    def words(self, case: Case) -> tuple[str, ...]:
        """The words that a factory may have for the task of a case."""
        return words_of(case.model, case.task, self._registry.tasks(case.model), self._declared)
