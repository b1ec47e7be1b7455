"""Tokens chosen at once: those that the loop over the queries chooses."""

from __future__ import annotations

from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traces import Call, both, check_needed, same, shapes_depend_on_data
from transformers import Glm5NextTextConfig, Qwen4ExpTextConfig
from transformers.models.glm5_next.modeling_glm5_next import Glm5NextTextIndexer
from transformers.models.qwen4_exp.modeling_qwen4_exp import Qwen4ExpTextQSAIndexer

from pytest_ipfs_accelerate.hardware import export_indexers  # noqa: F401 (registers what it replaces)

PATH = "qwen4_exp.modeling_qwen4_exp.Qwen4ExpTextQSAIndexer.forward"


def choosing(function: Any) -> Call:
    """Two blocks of two tokens are kept for each query."""
    sizes = {"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 8, "hidden_size": 6, "head_dim": 8}
    config: Any = Qwen4ExpTextConfig(**sizes, indexer_budget=4, indexer_compress_ratio=2)  # type: ignore[arg-type]
    indexer = Qwen4ExpTextQSAIndexer(config, 0)
    for parameter in indexer.parameters():
        nn.init.normal_(parameter)
    return lambda hidden, cos, sin, mask: function(indexer, hidden, (cos, sin), mask, None)


def texts(batch: int, length: int, *, as_numbers: bool = False) -> tuple[Tensor, ...]:
    """Texts that are padded on the left, under a causal mask."""
    angles = torch.rand(batch, length, 4)
    cos, sin = (torch.cat([turned, turned], dim=-1) for turned in (angles.cos(), angles.sin()))
    padding = torch.arange(length) >= torch.arange(batch)[:, None] % length
    mask = (torch.ones(length, length, dtype=torch.bool).tril() & padding[:, None])[:, None]
    numbers = torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    return torch.randn(batch, length, 6), cos, sin, numbers if as_numbers else mask


@pytest.mark.parametrize("as_numbers", [False, True])
@torch.no_grad()
def test_the_tokens_are_those_of_the_loop(as_numbers: bool) -> None:
    torch.manual_seed(7)
    expected, replaced = both(PATH, choosing)
    for batch, length in ((1, 1), (1, 2), (2, 9), (3, 17)):
        hidden, cos, sin, mask = texts(batch, length, as_numbers=as_numbers)
        chosen = expected(hidden, cos, sin, mask)
        assert same(replaced(hidden, cos, sin, mask), chosen)
        if length > 6:
            assert not same(replaced(hidden.flip(-1), cos, sin, mask), chosen)
            assert chosen.sum() < texts(batch, length)[3].sum()


@torch.no_grad()
def test_the_loop_takes_no_other_text() -> None:
    check_needed(PATH, choosing, texts)


POOLS = "glm5_next.modeling_glm5_next.Glm5NextTextIndexer.get_pooled_states"


def pooling(function: Any) -> Call:
    """Two pools of two tokens are kept for each query, and the tail; the tokens of a query are sorted."""
    sizes = {"index_n_heads": 2, "index_head_dim": 8, "hidden_size": 6, "q_lora_rank": 4}
    config: Any = Glm5NextTextConfig(**sizes, index_topk=4, index_kpool=2)  # type: ignore[arg-type]
    indexer: Any = Glm5NextTextIndexer(config, 0)
    for parameter in indexer.parameters():
        nn.init.normal_(parameter)
    indexer.get_pooled_states = MethodType(function, indexer)
    return lambda hidden, residual, mask: indexer(hidden, residual, mask, None).sort(-1).values


def padded(batch: int, length: int) -> tuple[Tensor, ...]:
    """Texts that are padded on the left, each by two tokens more than the one before."""
    mask = torch.arange(length) >= 2 * torch.arange(batch)[:, None] % length
    return torch.randn(batch, length, 6), torch.randn(batch, length, 4), mask


@torch.no_grad()
def test_no_query_chooses_a_pool_that_is_kept_and_not_complete() -> None:
    torch.manual_seed(7)
    expected, replaced = both(POOLS, pooling)
    for batch, length in ((1, 1), (2, 4), (2, 9), (3, 17)):
        hidden, residual, mask = padded(batch, length)
        chosen = expected(hidden, residual, mask)
        assert torch.equal(replaced(hidden, residual, mask), chosen)
        if length > 6:
            assert not torch.equal(replaced(hidden.flip(1), residual, mask), chosen)
    _, residual, mask = padded(2, 6)
    packed = torch.cat([torch.randn(2, 6, 16), (mask & (torch.arange(6) < 4))[..., None]], dim=-1)
    originals, kept = (call.__closure__[0].cell_contents.get_pooled_states(packed) for call in (expected, replaced))
    assert originals[2].shape == (2, 2)
    assert kept[2].tolist() == [[True, True, False], [True, False, False]]


def test_how_many_pools_are_complete_is_no_shape() -> None:
    """Where this fails for the original, transformers no longer leaves any out: the replacement can go."""
    assert [shapes_depend_on_data(call, padded(2, 6)) for call in both(POOLS, pooling)] == [True, False]
