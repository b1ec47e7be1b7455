"""Relative positions of any length: the numbers of the table."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from traces import original_of, same, takes_another

from pytest_ipfs_accelerate.hardware import export_positions  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES

PATHS = [path for path in PATCHES if path.endswith("RelPositionalEmbedding.forward")]


def table(path: str, longest: int) -> Any:
    """The positions of a class as a model has them that has seen no more than ``longest`` frames."""
    module, name = path.removesuffix(".forward").rsplit(".", 1)
    kind = getattr(importlib.import_module(f"transformers.models.{module}"), name)
    return kind(SimpleNamespace(max_source_positions=longest, hidden_size=8))


def frames(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 4 * length, 8),)


@pytest.mark.parametrize("path", PATHS)
def test_the_positions_are_those_of_the_table(path: str) -> None:
    replaced, module = PATCHES[path](original_of(path)), table(path, 2)
    for length in (1, 2, 7):
        hidden = torch.zeros(2, length, 8)
        found = replaced(module, hidden)
        assert module.pe.shape[1] < 2 * length - 1 or length < 7  # it does not let the table grow
        assert found.shape == (1, 2 * length - 1, 8)
        assert same(found, table(path, 2)(hidden))
    assert len(PATHS) == 3


@pytest.mark.parametrize("path", PATHS)
def test_the_table_takes_no_longer_sound(path: str) -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    original = original_of(path)
    replaced = PATCHES[path](original)
    assert takes_another(lambda hidden: replaced(table(path, 2), hidden), frames)

    def seen(hidden: Tensor) -> Any:
        module = table(path, 2)
        module.pe = module.extend_pe(torch.zeros(1, 12), module.pe)  # as long as the sound that is traced
        return original(module, hidden)

    assert not takes_another(seen, frames)
