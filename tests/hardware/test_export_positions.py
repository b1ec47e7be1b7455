"""Positions of any length and any batch: the numbers of the original."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from traces import both, check_needed, check_numbers, original_of, same, takes_another
from transformers import DynamicCache, FunnelConfig, ProphetNetConfig, ReformerConfig, TvpConfig
from transformers.models.funnel.modeling_funnel import FunnelAttentionStructure
from transformers.models.prophetnet.modeling_prophetnet import ProphetNetPositionalEmbeddings
from transformers.models.reformer.modeling_reformer import AxialPositionEmbeddings
from transformers.models.speech_to_text.modeling_speech_to_text import Speech2TextSinusoidalPositionalEmbedding
from transformers.models.tvp.modeling_tvp import TvpFramePadPrompter, TvpVisualInputEmbedding

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


PROPHET = "prophetnet.modeling_prophetnet.ProphetNetPositionalEmbeddings.forward"


def behind(function: Any) -> Any:
    """The position of one token behind what a cache holds."""
    module: Any = ProphetNetPositionalEmbeddings(ProphetNetConfig(hidden_size=8, max_position_embeddings=32))
    torch.nn.init.normal_(module.weight)

    def call(keys: Tensor) -> Any:
        cache = DynamicCache()
        cache.update(keys, keys, 0)
        return function(module, (keys.shape[0], 1), keys.device, past_key_values=cache)

    return call


def keys(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 1, length, 2),)


@torch.no_grad()
def test_prophetnet_stands_behind_its_past() -> None:
    expected, found = both(PROPHET, behind)
    for length in (1, 4, 9):
        given = keys(2, length)
        assert same(found(*given), expected(*given))
        assert not same(found(*keys(2, length + 1)), expected(*given))
    replaced, module = (
        PATCHES[PROPHET](original_of(PROPHET)),
        ProphetNetPositionalEmbeddings(ProphetNetConfig(hidden_size=8)),
    )
    first = replaced(module, (2, 3), "cpu", past_key_values=DynamicCache())
    assert first[1].tolist() == [[1, 2, 3]] * 2
    check_needed(PROPHET, behind, keys)


def framed(function: Any) -> Any:
    prompter: Any = TvpFramePadPrompter(TvpConfig(num_frames=2, max_img_size=8, visual_prompt_size=2))
    return lambda pixels: function(prompter, pixels)


def placed(function: Any) -> Any:
    embedding: Any = TvpVisualInputEmbedding(TvpConfig(hidden_size=4, max_grid_row_position_embeddings=6))
    return lambda grid: function(embedding, grid, interpolate_pos_encoding=False)


@pytest.mark.parametrize(
    ("name", "make", "inputs"),
    [
        ("TvpFramePadPrompter.forward", framed, lambda batch, length: (torch.randn(batch, 2, 3, 8, 8),)),
        (
            "TvpVisualInputEmbedding.add_2d_positional_embeddings",
            placed,
            lambda batch, length: (torch.randn(batch, length, 4, 4),),
        ),
    ],
)
@torch.no_grad()
def test_tvp_adds_the_same_to_each_picture(name: str, make: Any, inputs: Any) -> None:
    path = f"tvp.modeling_tvp.{name}"
    expected, found = both(path, make)
    (pictures,) = inputs(3, 5)
    one_by_one = torch.cat([expected(picture[None].clone()) for picture in pictures])
    assert same(found(pictures), one_by_one)
    assert not same(one_by_one, pictures)
    check_needed(path, make, inputs)


FUNNEL = "funnel.modeling_funnel.FunnelAttentionStructure.get_position_embeds"


def funnel(function: Any, **settings: Any) -> Any:
    """The positions of three blocks, as many as a text has tokens."""
    structure = FunnelAttentionStructure(FunnelConfig(d_model=8, block_sizes=[1, 1, 1], **settings)).eval()

    def call(text: Tensor) -> list[Tensor]:
        blocks = function(structure, text.shape[1], text.dtype, text.device)
        assert [pooling is None for _, pooling in blocks] == [True, False, False]
        return [table for block in blocks for table in block if table is not None]

    return call


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("truncate", [True, False])
def test_funnel_pools_the_positions_of_its_lists(separate: bool, truncate: bool) -> None:
    expected, found = both(FUNNEL, lambda function: funnel(function, separate_cls=separate, truncate_seq=truncate))
    for length in range(7, 24):
        text = torch.zeros(1, length)
        assert all(torch.equal(one, other) for one, other in zip(found(text), expected(text), strict=True))
        assert not same(found(torch.zeros(1, length + 8)), expected(text))


def test_the_lists_of_funnel_are_of_one_length() -> None:
    check_needed(FUNNEL, funnel, lambda batch, length: (torch.zeros(batch, 4 * length),))


def test_funnel_with_positions_of_another_kind_stays_as_it_is() -> None:
    structure = FunnelAttentionStructure(FunnelConfig(d_model=8, attention_type="factorized")).eval()
    found, expected = (
        function(structure, 9, torch.float32, "cpu") for function in both(FUNNEL, lambda function: function)
    )
    assert same(found, expected)


REFORMER = "reformer.modeling_reformer.AxialPositionEmbeddings.forward"


def axial(function: Any) -> Any:
    config = ReformerConfig(axial_pos_shape=[4, 8], axial_pos_embds_dim=[2, 6], hidden_size=8)
    embeddings = AxialPositionEmbeddings(config).eval()
    for weight in embeddings.weights:
        torch.nn.init.normal_(weight)
    return lambda positions: function(embeddings, positions)


@torch.no_grad()
def test_reformer_takes_any_batch() -> None:
    def inputs(batch: int, length: int) -> tuple[Tensor, ...]:
        return (torch.stack([torch.randperm(32)[: 4 * length] for _ in range(batch)]),)

    check_numbers(REFORMER, axial, inputs, [(1, 8), (2, 3), (3, 7)])
    check_needed(REFORMER, axial, inputs)


SPEECH = "speech_to_text.modeling_speech_to_text.Speech2TextSinusoidalPositionalEmbedding.forward"


def waves(function: Any, width: int = 6, longest: int = 18, past: int = 0) -> Any:
    """The positions of tokens by a table, 1 being padding."""
    return lambda tokens: function(Speech2TextSinusoidalPositionalEmbedding(longest, width, 1), tokens, past)


def padded_tokens(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, 3, (batch, 4 * length)),)


@pytest.mark.parametrize("width", [6, 7])
def test_the_waves_are_those_of_a_table_that_grew(width: int) -> None:
    check_numbers(SPEECH, lambda function: waves(function, width, 2), padded_tokens, [(1, 3), (2, 2), (3, 9)])
    expected, found = both(SPEECH, lambda function: waves(function, width, 60, past=7))
    given = padded_tokens(2, 3)
    assert same(found(*given), expected(*given))
    assert not same(found(*given), waves(PATCHES[SPEECH](original_of(SPEECH)), width, 60)(*given))


def test_a_table_of_waves_does_not_grow_in_a_trace() -> None:
    check_needed(SPEECH, waves, padded_tokens)
