"""Texts embedded at once: the numbers of the original, for another batch."""

from __future__ import annotations

from typing import Any

import torch
from cases import recipe
from torch import Tensor
from traces import same, takes_another

from pytest_ipfs_accelerate.hardware import export_texts  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint


def texts(pictures: int, length: int) -> tuple[Tensor, ...]:
    """Classes of each picture, of which there are more or fewer, and a task that fills its length in the first one alone."""
    classes = torch.tensor([2, 3, 1][:pictures])
    count = int(classes.sum())
    tokens = torch.randint(5, 90, (count + pictures, length))
    lengths = torch.tensor([length, *range(2, 2 + pictures)][:pictures])
    mask = (torch.arange(length) < lengths[:, None]).long()
    return tokens[:count], torch.ones(count, length, dtype=torch.long), tokens[count:], mask, classes


@torch.no_grad()
def test_texts_are_embedded_as_one_by_one() -> None:
    torch.manual_seed(7)
    model: Any = build_checkpoint(recipe("omdet-turbo", "feature-extraction")).model
    for pictures, length in ((2, 4), (3, 6)):
        given = texts(pictures, length)
        expected = model.get_language_embedding(*given)
        with patched():
            assert same(model.get_language_embedding(*given), expected)
            assert not same(model.get_language_embedding(*texts(pictures, length))[:1], expected[:1])


@torch.no_grad()
def test_the_cache_takes_no_other_texts() -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    model: Any = build_checkpoint(recipe("omdet-turbo", "feature-extraction")).model
    with patched():
        assert takes_another(model.get_language_embedding, texts)
    assert not takes_another(model.get_language_embedding, texts)
