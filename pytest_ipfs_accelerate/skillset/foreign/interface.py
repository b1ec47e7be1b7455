"""Has a class the methods of the worker/skillset interface, and do they return what it says?"""

from __future__ import annotations

from collections.abc import Sequence

from ...specs import SkillSource
from ..findings import Check, Finding
from ..names import factory_name, init_name


def factory_of(cls: type | None, hardware: str, words: Sequence[str]) -> str:
    """The name of the factory of a class for a task on a hardware, by the words for the task; empty where there is none."""
    return next((name for word in words if hasattr(cls, name := factory_name(hardware, word))), "")


def check_class(cls: type | None, source: SkillSource, hardware: str, words: Sequence[str]) -> list[Finding]:
    """What a class lacks of the interface for a task, by its words, on a hardware; read from its file where it did not load."""
    lacking = [name for name in (init_name(hardware), "__test__") if not hasattr(cls, name)]
    if not factory_of(cls, hardware, words):
        lacking.append(factory_name(hardware, words[0]))
    return [
        Finding(check=Check.INTERFACE, says=f"{source.name} has no {name}", file=source.file, line=source.line)
        for name in lacking
    ]


def check_tuple(result: object, source: SkillSource, init: str) -> list[Finding]:
    """What is wrong with that which ``init_<hardware>`` returned: it should be (endpoint, processor, handler, queue, batch
    size)."""
    return []
