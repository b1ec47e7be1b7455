"""The recipes and jobs of the registry, for tests of the rooms below the plugin."""

from __future__ import annotations

from pytest_ipfs_accelerate.builtin import HARDWARE, TASKS
from pytest_ipfs_accelerate.matrix import Case, base_task
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import load
from pytest_ipfs_accelerate.registry import load_registry
from pytest_ipfs_accelerate.specs import Job, Recipe
from pytest_ipfs_accelerate.tasks.base import Task

REGISTRY = load_registry()
SAMPLE = [(model, task) for model in ("bert", "vit", "whisper", "llava") for task in REGISTRY.tasks(model)]
"""Every (model, task) of the four models of the main job."""


def recipe(model: str, task: str) -> Recipe:
    return REGISTRY.recipe(model, task)


def task_on(recipe: Recipe, name: str) -> Task:
    """A task on the tiny checkpoint of a recipe."""
    task: Task = load(TASKS[name].target)(build_checkpoint(recipe))
    return task


def job(model: str, task: str, hardware: str, target: str | None = None) -> Job:
    """A case as the host gets it; ``target`` puts another implementation in the hardware's place."""
    return Job(
        case=Case(model, task, hardware),
        recipe=recipe(model, task),
        hardware=target or HARDWARE[hardware].target,
        task=TASKS[base_task(task)].target,
    )
