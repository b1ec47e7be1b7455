"""Calls into a user's skill class, made by reading its signatures."""

from __future__ import annotations

from typing import Any

from ..findings import Finding
from ..names import init_name


class NotCallable(Exception):
    """No known convention fits the signature of a method; the finding says which parameter, and where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


def call_init(skill: Any, hardware: str, *, checkpoint: str, task: str, device: str) -> Any:
    """What ``init_<hardware>`` of a skill returns for a checkpoint.

    Raises:
        NotCallable: it has a parameter that no convention knows.
    """
    return getattr(skill, init_name(hardware))(checkpoint, device, f"{hardware}:0")


def call_factory(
    skill: Any, factory: str, *, checkpoint: str, device: str, label: str, endpoint: Any, processor: Any
) -> Any:
    """The handler that a factory of a skill makes of an endpoint.

    Raises:
        NotCallable: it has a parameter that no convention knows.
    """
    return getattr(skill, factory)(checkpoint, device, label, endpoint, processor)
