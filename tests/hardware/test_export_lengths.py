"""The length of a tensor stays free in a trace, and everything else has the length that it has."""

from __future__ import annotations

import builtins

import pytest
import torch
from torch import Tensor
from traces import takes_another
from transformers.models.rt_detr import modeling_rt_detr

from pytest_ipfs_accelerate.hardware.export_lengths import length, lengths_kept_free
from pytest_ipfs_accelerate.hardware.export_patches import patched


def rows(batch: int, size: int) -> tuple[Tensor, ...]:
    return (torch.arange(batch * size).reshape(batch, size),)


def test_a_length_is_that_of_python() -> None:
    for value in ([1, 2], "abc", {}, torch.zeros(3, 2), torch.zeros(0)):
        assert length(value) == len(value)
    with pytest.raises(TypeError):
        length(torch.tensor(1))


def test_a_length_stays_free() -> None:
    """Where the second half fails, torch keeps it free itself, and this can go."""
    assert takes_another(lambda tensor: torch.zeros(length(tensor)) + 1, rows)
    assert not takes_another(lambda tensor: torch.zeros(builtins.len(tensor)) + 1, rows)


def test_it_is_put_back() -> None:
    with patched():
        assert modeling_rt_detr.len is length
    assert "len" not in vars(modeling_rt_detr)
    with pytest.raises(ZeroDivisionError), lengths_kept_free():
        raise ZeroDivisionError
    assert "len" not in vars(modeling_rt_detr)
