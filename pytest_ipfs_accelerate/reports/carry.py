"""Verdicts on their way from an item to whoever reports: as properties of the test, which JUnit and xdist carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..matrix import ROOT
from ..verdict import Verdict

if TYPE_CHECKING:
    import pytest

WHOLE = "ipfs.verdict"
"""Property that holds the whole verdict as JSON."""


def properties_of(verdict: Verdict) -> list[tuple[str, object]]:
    """The verdict as test properties: the parts that a reader of a JUnit file looks for, and the whole."""
    import msgspec

    parts = {
        "outcome": verdict.outcome.value,
        "stage": verdict.stage.value,
        "implementation": verdict.implementation.value if verdict.implementation else "",
        "device": verdict.device,
        "precision": verdict.precision,
    }
    whole = msgspec.json.encode(verdict, enc_hook=str).decode()
    return [*((f"ipfs.{name}", value) for name, value in parts.items()), (WHOLE, whole)]


def without_verdict(properties: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
    """The properties that are not of a verdict."""
    return [(name, value) for name, value in properties if not name.startswith("ipfs.")]


def verdict_of(report: pytest.TestReport) -> Verdict | None:
    """The verdict that a report carries, if any."""
    import msgspec

    for name, value in report.user_properties:
        if name == WHOLE:
            return msgspec.json.decode(str(value), type=Verdict)
    return None


def is_case(nodeid: str) -> bool:
    """Whether a node id is one of the matrix."""
    return nodeid.startswith(f"{ROOT}/") and "::" in nodeid
