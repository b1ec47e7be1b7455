"""How the worker/skillset interface spells its names: ``hf_<type>``, ``init_<hardware>``,
``create_<hardware>_<task>_endpoint_handler``."""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFIX = "hf_"
"""What the name of a skill class begins with."""

_FACTORY = re.compile(r"create_(?P<hardware>[a-z0-9]+)_(?P<word>\w+?)_endpoint_handler")


def class_name(model: str) -> str:
    """``hf_bert`` for ``bert``. A model type that is no identifier (``data2vec-text``) has its other characters replaced."""
    return PREFIX + snake(model)


def snake(name: str) -> str:
    """``fill_mask`` for ``fill-mask``, and for a further class of a task (``image-classification:DeiT…``) its name in the same
    way."""
    return re.sub(r"\W", "_", name)


def init_name(hardware: str) -> str:
    """``init_cpu``."""
    return f"init_{hardware}"


def factory_name(hardware: str, word: str) -> str:
    """``create_cpu_fill_mask_endpoint_handler``; ``word`` is a task, or an older word for one."""
    return f"create_{hardware}_{snake(word)}_endpoint_handler"


def parse_factory(name: str) -> tuple[str, str] | None:
    """Hardware and task word of the name of a factory, ``("cpu", "fill_mask")``; ``None`` for any other name."""
    found = _FACTORY.fullmatch(name)
    return (found["hardware"], found["word"]) if found else None


def task_words(task: str, aliases: Mapping[str, str]) -> list[str]:
    """The words for a task in the names of factories: its own first, then the older ones. ``aliases`` maps older names to
    tasks."""
    return list(dict.fromkeys(snake(name) for name in (task, *(old for old, new in aliases.items() if new == task))))
