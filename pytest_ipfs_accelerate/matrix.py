"""The case, the key of everything, and the selection of cases: pure functions, no pytest, no torch."""

from __future__ import annotations

from typing import NamedTuple

ROOT = "ipfs"
"""First part of every node id of the matrix."""


class Case(NamedTuple):
    """One (model type, task, hardware)."""

    model: str
    task: str
    hardware: str

    @property
    def leaf(self) -> str:
        """The item's name, ``fill-mask-cpu``. A hardware holds no hyphen, so the last one splits it."""
        return f"{self.task}-{self.hardware}"

    @property
    def nodeid(self) -> str:
        """The node id, ``ipfs/bert::fill-mask-cpu``."""
        return f"{ROOT}/{self.model}::{self.leaf}"
