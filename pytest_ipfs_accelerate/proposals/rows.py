"""Proposals as rows of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..matrix import base_task
from ..registry.writing import recipe_name
from ..specs import Recipe
from .heads import category_of_tasks, hub_checkpoint
from .shrink import Options

_AUDIO = ("input_values", "input_features", "audio")
_PICTURES = ("pixel", "image", "flattened_patches")
_SERIES = frozenset({"past_values", "states", "actions"})
_OF_NAME = {
    "Vision": "vision",
    "Image": "vision",
    "Video": "vision",
    "TimmBackbone": "vision",
    "Audio": "audio",
    "Acoustic": "audio",
}
LANGUAGE = frozenset(
    {
        "fill-mask",
        "text-classification",
        "token-classification",
        "question-answering",
        "multiple-choice",
        "next-sentence-prediction",
        "text-encoding",
        "text-generation",
        "text2text-generation",
    }
)


def category_of(recipes: Mapping[str, Recipe]) -> str:
    """The category of a model type, from what its heads take: more than one kind of input is multimodal. Where their names
    do not tell, as those of a tower do not, it is what the tasks say, else the names of the classes."""
    kinds: set[str] = set()
    most = 0
    for recipe in recipes.values():
        tensors = recipe.inputs.get("tensors", {}).keys()
        names = " ".join(tensors) + " " + str(recipe.inputs.get("modality", ""))
        found = {
            kind
            for kind, words in (("audio", _AUDIO), ("vision", _PICTURES), ("language", ("input_ids", "text")))
            if any(word in names for word in words)
        }
        found |= {"specialized"} if tensors & _SERIES else set()
        kinds |= found
        most = max(most, len(found))
    if most > 1:
        return "multimodal"
    if kinds:
        return next(kind for kind in ("audio", "vision", "specialized", "language") if kind in kinds)
    of_tasks = category_of_tasks(base_task(task) for task in recipes)
    return of_tasks if of_tasks != "specialized" else _category_of_names(recipes.values())


def _category_of_names(recipes: Iterable[Recipe]) -> str:
    names = " ".join(f"{recipe.config_class} {recipe.model_class}" for recipe in recipes)
    found = {category for word, category in _OF_NAME.items() if word in names}
    return "multimodal" if len(found) > 1 else next(iter(found), "specialized")


def common(configs: Sequence[Mapping[str, Any]]) -> Options:
    """What all configs agree on, nested objects key by key."""
    first, *others = configs
    shared: Options = {}
    for key, value in first.items():
        if not all(key in other for other in others):
            continue
        values = [other[key] for other in others]
        if all(item == value for item in values):
            shared[key] = value
        elif isinstance(value, dict) and all(isinstance(item, dict) for item in values):
            shared[key] = common([value, *values])
    return shared


def beyond(config: Mapping[str, Any], base: Mapping[str, Any]) -> Options:
    """What ``config`` has beyond ``base``: laid over it, this gives ``config`` again."""
    rest: Options = {}
    for key, value in config.items():
        if key not in base:
            rest[key] = value
        elif value != base[key]:
            nested = isinstance(value, dict) and isinstance(base[key], dict)
            rest[key] = beyond(value, base[key]) if nested else value
    return rest


def row_of(recipes: Mapping[str, Recipe], processors: dict[str, Any]) -> Options:
    """The row of a model type from the recipe of each of its heads, by task; what they share stands once. The processors that
    they use are added to ``processors`` by name."""
    names = {task: _named(recipe, processors) for task, recipe in recipes.items()}
    first = next(iter(recipes.values()))
    # A head that is built from another class of config shares nothing with the others.
    config = common([recipe.config for recipe in recipes.values() if recipe.config_class == first.config_class])
    needs = [name for name in first.needs if all(name in recipe.needs for recipe in recipes.values())]
    row: Options = {
        "category": category_of(recipes),
        "hub": hub_checkpoint(first.model),
        "config_class": first.config_class,
        "config": config,
        "processor": next(iter(names.values())),
        "seed": first.seed,
        "needs": needs,
    }
    row["tasks"] = {}
    for task, recipe in recipes.items():
        head: Options = {
            "class": recipe.model_class,
            "config_class": recipe.config_class if recipe.config_class != first.config_class else "",
            "config": beyond(recipe.config, config if recipe.config_class == first.config_class else {}),
            "part": recipe.part,
            "inputs": dict(recipe.inputs),
            "needs": [name for name in recipe.needs if name not in needs],
        }
        head = {key: value for key, value in head.items() if value not in ({}, [], "")}
        if names[task] != row["processor"]:
            head["processor"] = names[task]
        if recipe.seed != first.seed:
            head["seed"] = recipe.seed
        row["tasks"][task] = head
    return {key: value for key, value in row.items() if value not in ("", [], {}, 0)}


def _named(recipe: Recipe, processors: dict[str, Any]) -> str:
    if recipe.processor is None:
        return ""
    processor = dict(recipe.processor)
    for name, known in processors.items():
        if known == processor:
            return name
    name = recipe_name(processor, processors)
    processors[name] = processor
    return name
