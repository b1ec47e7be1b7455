"""A user's skill class, loaded both ways: by import, and from its file as a worker does. It runs in the host."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from ...specs import SkillSource
from ..findings import Check, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What loading gave: the class, ``None`` where no way led to it, and what went wrong on the way."""

    cls: type | None
    findings: tuple[Finding, ...]


def load(source: SkillSource) -> Loaded:
    """The class of a source, and what keeps it from loading by import or as a worker does."""
    if source.root not in sys.path:
        sys.path.insert(0, source.root)
    try:
        cls = getattr(importlib.import_module(source.module), source.name)
    except Exception as error:
        says = f"{source.name} does not import: {type(error).__name__}: {error}"
        return Loaded(cls=None, findings=(Finding(check=Check.IMPORT, says=says, file=source.file, line=source.line),))
    return Loaded(cls=cls, findings=())
