"""Where a replacement of a model type's own code is registered, whatever file it stands in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Factory = Callable[[Any], Any]

PATCHES: dict[str, Factory] = {}
"""For each dotted path that is replaced, what gives the replacement."""


def replaces(*paths: str) -> Callable[[Factory], Factory]:
    """Register the factory of a replacement for each of these paths, which begin below ``transformers.models``."""

    def decorator(factory: Factory) -> Factory:
        PATCHES.update(dict.fromkeys(paths, factory))
        return factory

    return decorator


def given(stand_in: Any, original: Any) -> Any:
    """The factory of a replacement that is there already."""
    return stand_in
