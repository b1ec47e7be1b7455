"""Which cases a skill class of a user has: the tasks of its model type that it offers, on each hardware."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ...matrix import base_task
from ...specs import SkillSource, TaskSpec
from ..names import factory_name, snake, task_words
from .discover import Skill


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


def source_of(skill: Skill, model: str, tasks: Sequence[str], declared: Mapping[str, TaskSpec]) -> SkillSource:
    """Where a skill stands, with those of its factories for which its model type has no task."""
    unplaced = (factory_name(*each) for each in skill.factories if not task_of(each[1], model, tasks, declared))
    return replace(skill.source, unplaced=tuple(unplaced))


def tasks_of_unknown(skill: Skill, declared: Mapping[str, TaskSpec]) -> Iterable[str]:
    """For a class that no model type has the name of: the task that its case is filed under, the first that it offers."""
    tasks = list(declared)
    offered = [task for _, word in skill.factories if (task := task_of(word, "", tasks, declared))]
    return [*offered, *tasks][:1]
