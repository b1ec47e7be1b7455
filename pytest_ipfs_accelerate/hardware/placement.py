"""Where the nodes of a lowered graph run, held against where they belong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .base import NotOnHardware


def placed(nodes: Mapping[str, int], belongs: str, *, allow_fallback: bool) -> dict[str, Any]:
    """The evidence of one component: its nodes by provider, and how many are not on the one that they belong on.

    Raises:
        NotOnHardware: none is there, or some are not and the user allows no fallback.
    """
    elsewhere = sum(count for name, count in nodes.items() if name != belongs)
    if not nodes.get(belongs) or (elsewhere and not allow_fallback):
        raise NotOnHardware(f"nodes by provider: {dict(nodes)}; all of them belong on {belongs}")
    return {"nodes by provider": dict(nodes), "nodes elsewhere": elsewhere}


def fallback(components: Iterable[Mapping[str, Any]], by_torch: int) -> dict[str, int]:
    """What ran elsewhere over all components, counted under the words that a report prints; empty where nothing did."""
    parts = list(components)
    elsewhere = sum(part.get("nodes elsewhere", 0) for part in parts)
    if not elsewhere and not by_torch:
        return {}
    nodes = sum(sum(part.get("nodes by provider", {}).values()) for part in parts)
    return {"nodes elsewhere": elsewhere, "nodes in all": nodes, "matrices multiplied by torch": by_torch}
